"""The command line's frame: which command runs, where its result goes, and what every error says and ends with."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence

from . import commands, evaluate_command, submit_command, train_command, weight_commands
from .arguments import build_parser
from .commands import Command, Result
from .errors import OutputError, PersonaLiveError

OUT_OF_MEMORY = 7
INTERRUPTED = 130  # what shells expect after Ctrl-C
NO_MEMORY = ("out of memory", "allocate memory", "not enough memory")  # what torch says on CUDA and MPS, Linux, Windows

COMMANDS: Mapping[str, Command] = {
    "animate": commands.animate,
    "demo": commands.demo,
    "motion": commands.motion,
    "download": weight_commands.download,
    "convert": weight_commands.convert,
    "info": weight_commands.info,
    "bench": commands.bench,
    "check": commands.check,
    "submit": submit_command.submit,
    "train": train_command.train,
    "evaluate": evaluate_command.evaluate,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 1 for a finding or a bug, an error's own, 7 or 130."""
    given = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        arguments = build_parser().parse_args(given)
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not the result
            result = COMMANDS[arguments.command](arguments)
        show(result, as_json=getattr(arguments, "json", None) is True)
        return result.code
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given:
            traceback.print_exc()
        code, message = explain(error)
        tell(f"personalive: {message}")
        return code


def show(result: Result, as_json: bool) -> None:
    """The result for people on standard output; with `as_json` as one line of JSON, and the words beside it."""
    (tell if as_json else answer)(result.text)
    if as_json:
        answer(json.dumps(result.values, allow_nan=False))


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the words for an error, whether it was foreseen or not."""
    first_line = next(iter(str(error).splitlines()), "no message")
    if isinstance(error, PersonaLiveError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, MemoryError) or any(words in first_line for words in NO_MEMORY):
        return OUT_OF_MEMORY, f"out of memory: try --decoder tiny, --precision fp16 or a smaller --size ({first_line})"
    if isinstance(error, OSError):
        where, why = error.filename or "a file", error.strerror or first_line
        return OutputError.exit_code, f"{where} cannot be read or written ({why}): check the path and the free space"
    return 1, f"this is a bug ({type(error).__name__}: {first_line}): run it again with --debug and report what it says"


def answer(line: str) -> None:
    """A result, on standard output."""
    sys.stdout.write(line + "\n")


def tell(line: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(line + "\n")
