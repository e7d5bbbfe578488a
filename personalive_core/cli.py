"""The command line: picks the command, prints its result, and gives every error its message and exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from .backends.registry import PERSONALIVE
from .commands.memory import out_of_memory_message
from .commands.result import Result
from .errors import InputError, OutputError, PersonaLiveError, lacks_memory
from .version import __version__

EXIT_OUT_OF_MEMORY = 7
EXIT_INTERRUPTED = 130  # what shells expect after Ctrl-C

# Each name is a module of `commands`. It is imported only when used, so that `submit` loads no torch.
COMMANDS: Mapping[str, str] = {
    "animate": "animate a portrait with the motion of a driving video",
    "demo": "animate the bundled sample, without a download",
    "live": "a camera or film drives a portrait while it happens",
    "serve": "live sessions for many visitors on a Ray cluster, one a GPU, behind one address",
    "motion": "extract a driving video's motion to a small, reusable file",
    "download": "download the missing weights",
    "convert": "convert .pth and .bin weights to one safetensors file per network",
    "info": "list the weights found and missing, the places searched, licences, memory",
    "bench": "measure time, FLOPs and memory of each stage, on random weights",
    "check": "check trained weights: each figure beside its expected range",
    "train": "train the paper's stages on your own clips or on drawn people",
    "evaluate": "compare a model with the true frames, on held-out drawn people",
    "metrics": "measure results against the true or driving films, and compare systems",
    "batch": "animate many portraits with many films on the GPUs of one machine or a Ray cluster",
    "submit": "run a workflow for many portraits and films on ComfyUI servers",
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors become InputError, so that they print as one line like all other errors."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError with argparse's `message`."""
        raise InputError(f"{message}: `{self.prog} --help` says what is possible")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code.

    0: success. 1: a failed check or batch row, or a bug. 7: out of memory. 130: interrupted. Else the error's own code.
    """
    given, system = sys.argv[1:] if argv is None else list(argv), PERSONALIVE
    open_streams()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        arguments = build_parser(given).parse_args(given)
        system = getattr(arguments, "system", system)
        with contextlib.redirect_stdout(sys.stderr):  # a library's prints are not the result
            result: Result = command(arguments.command).run(arguments)
        show(result, as_json=getattr(arguments, "json", None) is True)
        return result.code
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given:
            traceback.print_exc()
        code, message = explain(error, system)
        tell(f"personalive: {message}")
        return code


def open_streams() -> None:
    """Makes the standard streams take any text: file names hold letters that the terminal's code page lacks.

    Such letters are written as escapes (\\u03a9). Where there are no streams (pythonw) the text is dropped.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stream that a host put there may lack it
        if reconfigure:
            reconfigure(errors="backslashreplace")


def build_parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Builds the parser; only commands named in `given` are imported and get their arguments."""
    parser = Parser(prog="personalive", description="Animates a portrait with the motion of a driving video.")
    parser.add_argument("--version", action="version", version=f"personalive {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        own: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        own.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name in given:
            command(name).add_arguments(own)
    return parser


def command(name: str) -> ModuleType:
    """Imports a command's module, which has `add_arguments` and `run`."""
    return importlib.import_module(f".commands.{name}", __package__)


def show(result: Result, as_json: bool) -> None:
    """Prints the text to standard output; with `as_json`, one line of JSON there and the text to standard error."""
    (tell if as_json else answer)(result.text)
    if as_json:
        answer(json.dumps(result.values, allow_nan=False))


def explain(error: BaseException, system: str = PERSONALIVE) -> tuple[int, str]:
    """The exit code and the message for any error, expected or not, of a command for this `system`."""
    first_line = next(iter(str(error).splitlines()), "no message")
    if isinstance(error, PersonaLiveError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "interrupted"
    if lacks_memory(error):
        return EXIT_OUT_OF_MEMORY, out_of_memory_message(error, system)
    if isinstance(error, OSError):
        where, why = error.filename or "a file", error.strerror or first_line
        return OutputError.exit_code, f"{where} cannot be read or written ({why}): check the path and the free space"
    return 1, f"this is a bug ({type(error).__name__}: {first_line}): run it again with --debug and report what it says"


def answer(line: str) -> None:
    """Prints a result line to standard output."""
    sys.stdout.write(line + "\n")


def tell(line: str) -> None:
    """Prints a line for people to standard error."""
    sys.stderr.write(line + "\n")
