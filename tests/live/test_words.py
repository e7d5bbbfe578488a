"""What a session says in each situation, and that every word is reached."""

import re
from dataclasses import replace

import pytest

from personalive_core.errors import InputError
from personalive_core.live.words import (
    NOTICES,
    STATES,
    Situation,
    is_same,
    say,
    sentence_of,
    state_word,
)

RUNNING = Situation(quiet=0.1, usual=0.1, delay=0.6)
SLOW = {"usual": 3.0, "delay": 14.0}


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("running", {}),
        ("running", {"taking": 1.0}),
        ("running", {"unseen": 0.9, "several": 0.9}),
        ("waiting", {"quiet": None, "usual": None}),
        ("waiting", {"quiet": 2.5}),
        ("running", {"quiet": 2.5, "taking": 2.0}),  # a long step: frames are not asked for
        ("starting", {"usual": None}),
        ("starting", {"usual": None, "taking": 9.0}),
        ("too_slow", {"usual": None, "taking": 11.0}),
        ("too_slow", SLOW),
        ("no_face", {**SLOW, "unseen": 1.0}),
        ("several_faces", {"several": 1.0, "faces": 2}),
        ("stalled", {"taking": 2.2}),
        ("stalled", {**SLOW, "taking": 5.1}),
        ("too_slow", {**SLOW, "taking": 4.9}),
        ("camera_lost", {"source": "camera_lost", "quiet": 9.0}),
        ("film_over", {"source": "film_over", "unseen": 3.0}),
        ("paused_hidden", {"paused": {"hidden"}, "taking": 9.0}),
        ("paused_user", {"paused": {"hidden", "user"}}),
        ("paused_prompt", {"paused": {"user"}, "gate": False}),
        ("failed", {"failed": say("failed", text="no"), "gate": False}),
        ("ended", {"ended": True, "failed": say("failed", text="no")}),
    ],
)
def test_the_most_pressing_word(word, changes):
    assert state_word(replace(RUNNING, **changes)).word == word


def test_every_word_has_a_sentence_for_people():
    values = {"faces": 2, "seconds": 2.0, "model": "small", "device": "cpu", "delay": 14.0, "remedy": "wait"}
    for word in (*STATES, *NOTICES):
        text = say(word, **values, text="The words of an error.").text
        assert re.fullmatch(r"[A-Z2].*\.", text), text
    assert not set(STATES) & set(NOTICES)


@pytest.mark.parametrize(("model", "offers"), [("small", ["record"]), ("published", ["small", "record"])])
def test_too_slow_names_the_figure_and_what_can_be_done(model, offers):
    said = state_word(replace(RUNNING, **SLOW, model=model, device="cpu, 2 threads"))
    assert f"A step takes 3.0 s with the {model} model on cpu, 2 threads" in said.text
    assert "follows 14 s later" in said.text
    assert ("use the small model" in said.text) == (model != "small")
    assert said.values["offers"] == offers
    assert (said.values["seconds"], said.values["delay"]) == (3.0, 14.0)


def test_a_word_is_said_again_with_another_meaning_only():
    slow = state_word(replace(RUNNING, **SLOW))
    assert is_same(slow, state_word(replace(RUNNING, usual=3.1, delay=14.4)))
    assert not is_same(say("several_faces", faces=2), say("several_faces", faces=3))
    assert not is_same(None, say("running"))


def test_sentences_of_errors_name_no_file():
    assert sentence_of(InputError("too small: use a larger picture")) == "too small: use a larger picture"
    assert "OSError" in sentence_of(OSError("/home/me/secret.png"))
    assert "secret" not in sentence_of(OSError("/home/me/secret.png"))
    assert "ran out of memory" in sentence_of(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
