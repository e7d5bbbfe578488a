"""README's `personalive` lines and its library example are run, made small, on the model that ships."""

import functools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from personalive_core.animation import engine
from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.backends.personalive.loader import load_model
from personalive_core.bench import run as bench
from personalive_core.cli import build_parser
from personalive_core.commands import live
from personalive_core.drawn.sample import write_sample
from personalive_core.live.app import serve
from tests.batch import fake_comfyui

# How a line begins -> the options added at its end, which make it small; the first row that fits counts. argparse takes
# the last of a repeated option. A line without a row is not run: the test fails until one is added.
SMALL = "--size 64 --device cpu --precision fp32"
ADDED = {
    "batch": "--dry-run",  # the tests' environment may lack ray
    "submit": "--quiet",
    "download": "--offline --quiet",
    "info": "",
    "convert": "",
    "animate": f"{SMALL} --frames 2 --quiet",
    "motion": f"{SMALL} --frames 2 --quiet",
    "check": f"{SMALL} --quiet",
    "bench --system liveportrait": "--widths 32 --device cpu --precision fp32 --frames 2 --repeats 1",
    "bench": f"{SMALL} --widths 32,64,64,64 --frames 20 --repeats 1",
    "metrics": "--first 2 --size 64",
    "live": f"{SMALL} --port 0 --no-browser --quiet",
    "train prepare --videos": "--size 128 --frames 28 --stride 1 --device cpu --quiet",  # the fewest that stage 3 takes
    "train prepare --drawn": "--drawn 1 --size 128 --device cpu",
    "train --stage": "--preset small --steps 1 --clips 1 --quiet",
}
# `check` exits with 1 if a figure is outside its range, as the small model's are at 64 pixels.
CODES = {"check": (0, 1)}
SLOW = ("bench", "train")  # a block with one of these commands takes more than ten seconds
OTHER_PROGRAMS = {"pip install", "python run.py"}  # lines that are not run here
SERVER = "http://127.0.0.1:8188"  # README's ComfyUI
FILM_SECONDS = 29 / 25  # enough for one clip of 28 frames


def blocks():
    """The lines of each fenced block of commands, in README's order. A backslash at the end joins two lines."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [[line for line in body.splitlines() if line] for language, body in fenced if language != "python"]


def lines(slow=None):
    """The `personalive` lines, without that word, of all blocks with the command `slow`, or with none of SLOW."""
    for block in blocks():
        own = [line.removeprefix("personalive ") for line in block if line.startswith("personalive ")]
        if slow in ({line.split()[0] for line in own} & {*SLOW} or {None}):
            yield from own


@pytest.fixture
def folder(repository, tmp_path, monkeypatch):
    """The working directory, with all files and folders that README's lines name."""
    shutil.copytree(SHIPPED["small"], tmp_path / "pretrained_weights")
    (tmp_path / "workflows").symlink_to(repository / "workflows")
    reference, driving = write_sample(tmp_path, FILM_SECONDS, size=128)
    for name in ("portraits", "films"):
        (tmp_path / name).mkdir()
    for name in ("me.png", "photo.jpg", "portraits/me.png"):
        Image.open(reference).save(tmp_path / name)
    for name in ("talk.mp4", "films/talk.mp4"):
        shutil.copy(driving, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(personalive, folder, one_thread):  # noqa: ARG001 - one thread: other tests may keep the cores busy
    """Runs one line, made small. Its exit code must be right, and the files that it names must be written."""

    def run(line):
        begin = next((begin for begin in ADDED if line.startswith(begin)), None)
        assert begin is not None, f"ADDED has no row for this line: {line}"
        words = shlex.split(f"{line} {ADDED[begin]}")
        outcome = personalive(*words)
        assert outcome.code in CODES.get(begin, (0,)), f"{line}\n{outcome.err}"
        parsed = vars(build_parser(words).parse_args(words))
        written = () if begin in ("live", "batch") else ("output", "sheet", "json")  # live: for what the page records
        for path in map(parsed.get, written):
            assert not isinstance(path, Path) or size_of(folder / path), f"{path} is missing or empty: {line}"

    return run


def size_of(path):
    """Bytes of a file, or of all files in a folder; 0 if there is none."""
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())


async def served_briefly(hub, token, at, ready):
    """The page's server, which ends once it says its address."""

    def told(*addresses):
        ready(*addresses)
        hub.close()

    await serve(hub, token, at, told)


def test_every_line_is_run_or_known():
    """A new kind of line needs a decision: a row of ADDED, or its program's name in OTHER_PROGRAMS."""
    others = {" ".join(line.split()[:2]) for block in blocks() for line in block if line.split()[0] != "personalive"}
    assert others == OTHER_PROGRAMS
    run = [line for slow in (None, *SLOW) for line in lines(slow)]
    assert len(run) == sum(line.startswith("personalive ") for block in blocks() for line in block)
    assert not [begin for begin in ADDED if not any(line.startswith(begin) for line in run)]


def test_command_lines_run(run, monkeypatch):
    """The blocks that are quick; `submit` uses a server that knows the workflow's nodes."""
    nodes = Path("workflows/api/batch.json").read_text(encoding="utf-8")
    monkeypatch.setattr(fake_comfyui, "KNOWN", set(re.findall(r'"class_type": "(\w+)"', nodes)))
    monkeypatch.setattr(engine, "load_model", functools.cache(load_model))  # the same folder in most lines
    monkeypatch.setattr(live, "serve", served_briefly)
    server = fake_comfyui.FakeComfyUI()
    try:
        for line in lines():
            run(line.replace(SERVER, server.url))
    finally:
        server.stop()
    assert len(server.posted) == 1


@pytest.mark.slow
def test_bench_lines_run(run, monkeypatch):
    """The small model is measured instead of random weights, whose motion networks have the published size."""
    small = load_model(SHIPPED["small"], torch.device("cpu"), torch.float32)
    monkeypatch.setattr(bench, "random_model", lambda *_: small)
    for line in lines("bench"):
        run(line)


@pytest.mark.slow
def test_training_lines_run(run):
    """One step of each stage, in order: later lines start from the weights of earlier ones."""
    for line in lines("train"):
        run(line)


@pytest.mark.slow
def test_library_example_runs(repository, folder):
    """Its loop prints one line for each frame of the driving."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert '"cuda"' in example
    example = example.replace('"cuda"', '"cpu"').replace("torch.float16", "torch.float32").replace("512", "64")
    write_sample(folder, seconds=0.04, size=64)[1].rename("talk.mp4")
    command = [sys.executable, "-c", example]
    environment = {"PYTHONPATH": str(repository), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "(64,", "64,", "3)"]
