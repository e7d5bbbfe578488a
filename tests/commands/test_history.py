"""The experimental options of `animate`: what job they ask for, whom they belong to, and journals of before."""

from dataclasses import fields

import pytest

from personalive_core.animation.job import AnimationJob
from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.commands.animate import job_of
from personalive_core.commands.batch_options import common_options, defaults, row_options, row_parser
from personalive_core.modules.fusion import Fusion

ANIMATE = ("--reference", "me.png", "--driving", "talk.mp4", "--output", "out.mp4", "--device", "cpu")


def job(*arguments):
    return job_of(row_parser().parse_args([*ANIMATE, *arguments]))


def test_without_the_options_the_job_is_the_one_of_before():
    plain = job()
    assert plain.config == StreamConfig()
    assert plain.told == {"seed": "0", "steps": "4"}
    assert [field.name for field in fields(AnimationJob)][-2:] == ["history", "fusion"]


def test_the_options_reach_the_sampler_and_the_labels():
    asked = job("--history", "3", "--fusion", "2,2.5,1", "--steps", "8")
    assert (asked.config.history, asked.config.fusion, asked.config.substeps) == (3, Fusion(2.0, 2.5, 1.0), 2)
    assert asked.told == {"seed": "0", "steps": "8", "history": "3", "fusion": "2,2.5,1"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--system", "liveportrait", "--history", 3), "--history belongs to personalive, got --system liveportrait"),
        (("--system", "hunyuan", "--fusion", "2,2,1"), "--fusion belongs to personalive, got --system hunyuan"),
        (("--history", 17), "argument --history: a history of 17 frames with 16 in flight does not fit"),
        (("--history", -1), "expected a number 0 or more"),
        (("--fusion", "2,2"), "expected 3 numbers with commas between, got '2,2'"),
        (("--fusion", "2,2,nan"), "expected a number 0 or more, got 'nan'"),
    ],
)
def test_what_is_refused(personalive, arguments, said):
    outcome = personalive("animate", *ANIMATE, *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_help_says_that_they_are_experimental():
    text = " ".join(row_parser().format_help().split())
    assert "experimental: for models that were trained with history --history N keep the last N frames in sight" in text


def test_a_batch_has_them_and_its_journals_of_before_stay_valid():
    base = dict(defaults())
    assert {"history", "fusion"} <= row_options()
    assert "history" not in common_options(base)
    assert "fusion" not in common_options(base)
    assert "('history', '3')" in common_options({**base, "history": 3})
    assert common_options({**base, "fusion": (2.0, 2.5, 1.0)}) != common_options(base)
