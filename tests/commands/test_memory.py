"""What is said where memory is short: options that the system has."""

import re

import pytest

from personalive_core.backends.registry import HUNYUAN, SYSTEMS
from personalive_core.cli import build_parser
from personalive_core.commands.animate import job_of
from personalive_core.commands.memory import REMEDIES, out_of_memory_message


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_option_that_is_named_is_one_of_the_system(system):
    named = re.findall(r"--[a-z]+(?: [a-z0-9]+(?=[, ]|$))?", REMEDIES[system].replace(" or ", ", "))
    assert named
    for option in named:
        words = [*option.split(), *(["64"] if option == "--size" else [])]
        files = ("--reference", "a.png", "--driving", "a.mp4", "--output", "b.mp4", "--device", "cpu")
        own = ["--accept-hunyuan-licence"] if system == HUNYUAN else []
        job_of(build_parser(["animate"]).parse_args(["animate", "--system", system, *files, *own, *words]))


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_message_of_a_system(personalive, monkeypatch, system):
    def lacking(_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr("personalive_core.commands.info.run", lacking)
    outcome = personalive("info", "--system", system)
    assert outcome.code == 7
    told = out_of_memory_message(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), system)
    assert outcome.err == f"personalive: {told}\n"
    assert f"try {REMEDIES[system]} (CUDA" in told
