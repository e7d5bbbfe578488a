"""Creates an environment next to this file and runs demo, live or tests in it; needs only Python 3.10 or newer."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

OLDEST_PYTHON = (3, 10)
THIS_PYTHON = ".".join(map(str, sys.version_info[:2]))
TESTED, NEWEST = ".venv", ".venv-newest"  # environments: the versions of constraints.txt, the newest ones
REQUIREMENT_FILES = ("requirements.txt", "constraints.txt", "pyproject.toml")
STAMP = "personalive-requirements.sha256"  # inside .venv: fingerprint of the last successful installation
INTERRUPTED = 130  # exit code that shells use for Ctrl-C
# One process per core, at most four, as each takes 1.5 GB. A file stays in one process: its tests share slow fixtures.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
HELP = """usage: python run.py demo [options of `personalive demo`]   animate the bundled sample into output/demo.mp4
       python run.py live [options of `personalive live`]   your camera drives a portrait, on a page in the browser
       python run.py test [pytest arguments]               run the tests
       python run.py newest [pytest arguments]             run the tests with the newest packages, in .venv-newest

The first run makes .venv beside run.py and installs what is needed (several minutes, a few GB)."""
# Pattern in the output of pip or venv -> message for the user; the first match is used.
CAUSES = (
    ("No space left on device|not enough space on the disk", "the disk is full: free about 8 GB and run this again"),
    ("Permission denied|Access is denied", "this folder cannot be written: put the project where you may write"),
    (
        "Failed to establish a new connection|NameResolutionError|Network is unreachable|Read timed out"
        "|Temporary failure in name resolution|getaddrinfo failed|nodename nor servname",
        "the package index cannot be reached: check the network or proxy and run this again",
    ),
    (
        "No matching distribution found|ResolutionImpossible",
        f"no set of packages fits Python {THIS_PYTHON} here: try another version, 3.11 is the best tested",
    ),
)


class RunError(Exception):
    """An expected failure; its text is one sentence for the user."""


def environment_python(root: Path, folder: str = TESTED) -> Path:
    """Path of the interpreter of the environment in `folder`, which need not exist yet."""
    return root / folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(root: Path) -> str:
    """Hash of the requirement files and the folder's path, which matters as the project is installed in place."""
    texts = [(root / name).read_bytes() for name in REQUIREMENT_FILES]
    return hashlib.sha256(b"\0".join([os.fsencode(root), *texts])).hexdigest()


def finish(process: subprocess.Popen[str]) -> int:
    """Waits for the process to end and returns its exit code.

    A first Ctrl-C does not stop the wait: the child gets it as well and may have something to save. A second kills it.
    """
    try:
        code = process.wait()
    except KeyboardInterrupt:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
        return INTERRUPTED
    return code if code >= 0 else 128 - code  # ended by a signal: exit code as in shells


def run(command: list[str], root: Path) -> int:
    """Runs `command` in `root` on this terminal and returns its exit code."""
    return finish(subprocess.Popen(command, cwd=root, text=True))


def must_run(command: list[str], root: Path, task: str) -> None:
    """Runs `command` and shows its output as it arrives. Raises RunError with the cause where `task` fails."""
    process = subprocess.Popen(command, cwd=root, text=True, errors="replace", stderr=subprocess.PIPE)
    last: deque[str] = deque(maxlen=60)
    try:
        for line in process.stderr or ():
            sys.stderr.write(line)
            last.append(line)
    except KeyboardInterrupt:
        finish(process)
        raise
    code = finish(process)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise RunError(f"{task} failed: {cause(''.join(last), code)}")


def cause(output: str, code: int) -> str:
    """The message of the first pattern in CAUSES that `output` matches; else one that gives the exit `code`."""
    for words, sentence in CAUSES:
        if re.search(words, output):
            return sentence
    return f"it ended with code {code}; its last lines above say why"


def is_usable(python: Path, root: Path) -> bool:
    """Whether the environment can install packages; an interrupted creation leaves one without interpreter or pip."""
    if not python.exists():
        return False
    check = subprocess.run([str(python), "-m", "pip", "--version"], cwd=root, capture_output=True, check=False)
    return check.returncode == 0


def make_environment(root: Path, folder: str) -> None:
    """Creates the environment in `folder` and replaces an incomplete one. Raises RunError where that fails."""
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        raise RunError(
            "this Python cannot make environments: install its venv module (Debian, Ubuntu: "
            f"sudo apt install python3-venv or python{THIS_PYTHON}-venv) and run this again"
        )
    print(f"making {folder}", flush=True)
    must_run([sys.executable, "-m", "venv", "--clear", str(root / folder)], root, f"making {folder}")
    if folder != TESTED:
        borrow(root / TESTED, root / folder)


def borrow(source: Path, target: Path) -> None:
    """Links the packages of the environment `source`, if there is one, into `target`: pip then fetches what is newer.

    pip never writes into a file that is there, it makes a new one: `source` stays as it is.
    """
    for packages in source.glob("lib/python*/site-packages"):
        place = target / packages.relative_to(source)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(packages, place, copy_function=os.link, symlinks=True)


def versions(root: Path, folder: str) -> list[str]:
    """pip's arguments that say which versions go into `folder`.

    The newest take all but torch as the index has it: another build of torch brings gigabytes for a GPU.
    """
    if folder == TESTED:
        return ["-c", "constraints.txt"]
    pins = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return ["--upgrade", "--upgrade-strategy", "eager", *(pin.strip() for pin in pins if pin.startswith("torch=="))]


def ensure_environment(root: Path, folder: str = TESTED) -> Path:
    """Returns the interpreter of an environment with all requirements; creates and installs it if needed.

    Starts no process if it is up to date. Raises RunError where creation or installation fails.
    """
    python, stamp, wanted = environment_python(root, folder), root / folder / STAMP, fingerprint(root)
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return python
    stamp.unlink(missing_ok=True)
    if not is_usable(python, root):
        make_environment(root, folder)
    which = "the versions of constraints.txt" if folder == TESTED else "the newest versions"
    print(f"installing what requirements.txt asks for, in {which}", flush=True)
    install = ["-m", "pip", "install", "--disable-pip-version-check", *versions(root, folder), "-e", ".[dev]"]
    must_run([str(python), *install], root, "the installation")
    stamp.write_text(wanted)
    return python


def open_streams() -> None:
    """Makes the standard streams take any text: letters that their code page lacks are written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def main(arguments: list[str], root: Path) -> int:
    """Runs the command in `arguments` in the project folder `root` and returns the exit code."""
    open_streams()
    if sys.version_info[:2] < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        print(f"run.py needs Python {oldest} or newer, this is {THIS_PYTHON}", file=sys.stderr)
        return 2
    commands = {
        "demo": ["-m", "personalive_core", "demo", "--output", "output/demo.mp4", "--sheet", "output/demo.png"],
        "live": ["-m", "personalive_core", "live"],
        "test": ["-m", "pytest", *PARALLEL],
        "newest": ["-m", "pytest", *PARALLEL],
    }
    if not arguments or arguments[0] not in commands:
        asked = not arguments or arguments[0] in ("-h", "--help", "help")
        print(
            HELP
            if asked
            else f"run.py knows demo, live, test, newest, not {arguments[0]!r}; python run.py shows the help"
        )
        return 0 if asked else 2
    try:
        folder = NEWEST if arguments[0] == "newest" else TESTED
        return run([str(ensure_environment(root, folder)), *commands[arguments[0]], *arguments[1:]], root)
    except RunError as error:
        print(f"run.py: {error}", file=sys.stderr)
    except OSError as error:
        print(f"run.py: {error.strerror or error}: {error.filename or root}", file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent))
