"""What a live session says to people: each word with its sentence, and which one holds now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..backends.placement import out_of_memory
from ..errors import PersonaLiveError
from .types import Captured, Performed

PAUSES = ("user", "hidden")
UNSEEN = 1.0  # seconds without the face, or with several, before it is said
QUIET = 2.0  # seconds without a driving frame before it is said
LONGER = 2.0  # seconds that a step takes more than usual before it is said
MOST_DELAY = 10.0  # seconds: what follows later is not live

# States hold until the next one, and each session is in one of them.
STATES: Mapping[str, str] = {
    "waiting": "Waiting for the camera.",
    "starting": "The first step is being taken; it is longer than the later ones.",
    "running": "Live.",
    "no_face": "There is no face in the camera's picture, so the portrait holds still: move into the picture.",
    "several_faces": "{faces} faces are in the camera's picture, and the portrait follows one of them.",
    "paused_prompt": "ComfyUI is running a prompt, live goes on after it.",
    "paused_hidden": "The page is hidden, live goes on when it is seen again.",
    "paused_user": "Paused.",
    "stalled": "This step takes over {seconds:g} s longer than usual, live goes on with the newest picture after it.",
    "too_slow": "A step takes {seconds:.1f} s with the {model} model on {device}, so the portrait follows "
    "{delay:.0f} s later: {remedy}.",
    "camera_lost": "The camera gives no picture: plug it in again, or close the program that uses it.",
    "film_over": "The driving film has ended.",
    "failed": "{text}",
    "ended": "Live has ended.",
}
# Notices happen; the state stays what it was.
NOTICES: Mapping[str, str] = {
    "reference_changed": "The new portrait is in use.",
    "reference_refused": "{text}",
}
BY_SOURCE = ("camera_lost", "film_over")  # states that a source tells
RECORD = "record the camera now and animate the film afterwards"
SMALLER = f"use the small model, or {RECORD}"


@dataclass(frozen=True)
class Said:
    """A word, its English sentence, and the values in it."""

    word: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


def say(word: str, **values: Any) -> Said:  # noqa: ANN401 - of the word's own sentence
    """The word with its sentence. Raises KeyError for a word that is not in `STATES` or `NOTICES`."""
    sentence = STATES.get(word) or NOTICES[word]
    return Said(word, sentence.format(**values), values)


@dataclass(frozen=True)
class Situation:
    """Everything that decides what a session says."""

    ended: bool = False
    failed: Said | None = None
    gate: bool = True  # False: the device belongs to somebody else
    paused: frozenset[str] = frozenset()  # of PAUSES
    source: str = ""  # one of BY_SOURCE
    quiet: float | None = None  # seconds since the last driving frame arrived; None: there was none
    taking: float | None = None  # seconds that the present step has taken
    usual: float | None = None  # seconds of a step as a rule
    delay: float | None = None  # seconds from capture to display that must be expected
    unseen: float = 0.0  # seconds without the followed face
    several: float = 0.0  # seconds with several faces
    faces: int = 1
    model: str = "small"
    device: str = "cpu"


def state_word(now: Situation) -> Said:
    """The state that holds, the most pressing first."""
    if now.ended:
        return say("ended")
    if now.failed is not None:
        return now.failed
    if not now.gate:
        return say("paused_prompt")
    for reason in PAUSES:
        if reason in now.paused:
            return say(f"paused_{reason}")
    return _of_the_steps(now) or _of_the_driving(now) or _of_the_faces(now)


def _of_the_steps(now: Situation) -> Said | None:
    if now.taking is None:
        return None
    if now.usual is None:
        # a step of this length already says it, whatever the later ones will take
        return too_slow(now, now.taking, 5 * now.taking) if now.taking > MOST_DELAY else say("starting")
    return say("stalled", seconds=LONGER) if now.taking > now.usual + LONGER else None


def _of_the_driving(now: Situation) -> Said | None:
    if now.source:
        return say(now.source)
    return say("waiting") if now.quiet is None or (now.taking is None and now.quiet > QUIET) else None


def _of_the_faces(now: Situation) -> Said:
    if now.usual is None:
        return say("starting")
    if now.unseen >= UNSEEN:
        return say("no_face")
    if now.delay is not None and now.delay > MOST_DELAY:
        return too_slow(now, now.usual, now.delay)
    return say("several_faces", faces=now.faces) if now.several >= UNSEEN else say("running")


def too_slow(now: Situation, seconds: float, delay: float) -> Said:
    """The word for a machine that is too slow for live: with its figures, and what it can do instead."""
    remedy = RECORD if now.model == "small" else SMALLER
    values = {"seconds": round(seconds, 2), "delay": round(delay, 1), "model": now.model, "device": now.device}
    return say("too_slow", **values, remedy=remedy, offers=["record"] if now.model == "small" else ["small", "record"])


def is_same(one: Said | None, other: Said) -> bool:
    """Whether the other need not be said after the one. Figures of a slow machine vary a little with every step."""
    if one is None or one.word != other.word:
        return False
    return other.word == "too_slow" or one == other


@dataclass(frozen=True)
class FacesSeen:
    """Which faces the newest driving frame showed, and since when; times are the frames' own."""

    time: float = 0.0
    found: float | None = None  # when the followed face was last there, or the first frame without it
    single: float | None = None  # when there was last no other
    faces: int = 1
    keyframes: int = 0

    def then(self, newest: Captured, done: Performed) -> FacesSeen:
        """After a step whose newest driving frame was `newest`."""
        anew = newest.time < self.time
        found = newest.time if done.found or anew or self.found is None else self.found
        single = newest.time if done.faces <= 1 or anew or self.single is None else self.single
        return FacesSeen(newest.time, found, single, done.faces, done.keyframes)


def sentence_of(error: Exception) -> str:
    """The error's own sentence if it has one for people; else its kind alone, as its text may name files."""
    if isinstance(error, PersonaLiveError):
        return str(error)
    if out_of_memory(error):
        return "the device ran out of memory: close other programs that use it, or use a smaller size, then press Start"
    return f"live stopped with {type(error).__name__}, which the log tells more about: press Start to go on"
