"""README's `personalive` lines and its library example, run on the small model that ships, made small."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.backends.personalive.loader import load_model
from personalive_core.cli import build_parser
from personalive_core.drawn.sample import write_sample
from tests.batch import fake_comfyui

# The beginning of a line -> the options that are added at its end, so that it takes little time. The first that fits
# counts, and every line needs one. argparse takes the last of a repeated option.
SMALL = "--size 64 --device cpu --precision fp32"
ADDED = {
    "submit": "--quiet",
    "download": "--offline --quiet",
    "info": "",
    "convert": "",
    "animate": f"{SMALL} --frames 2 --quiet",
    "motion": f"{SMALL} --frames 2 --quiet",
    "check": SMALL,
    "bench": f"{SMALL} --widths 32,64,64,64 --frames 20 --repeats 1",
    "train prepare --videos": "--size 128 --frames 28 --device cpu --quiet",  # the fewest frames that stage 3 takes
    "train prepare --drawn": "--drawn 1 --size 128 --device cpu",
    "train --stage": "--preset small --steps 1 --clips 1 --quiet",
}
# `check` ends with 1 if a figure is outside its range: at 64 pixels the small model's may be.
CODES = {"check": (0, 1)}
OTHER_PROGRAMS = {"pip install", "python run.py"}  # their lines are not run here
SERVER = "http://127.0.0.1:8188"
FILM_SECONDS = 29 / 25  # one clip of 28 frames


def blocks():
    """The lines of each fenced block of commands, in README's order; a line that ends with a backslash goes on."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [body.split("\n")[:-1] for language, body in fenced if language != "python"]


def lines(*, training):
    """Every `personalive` line of the blocks that train, or of the others."""
    chosen = [block for block in blocks() if any("personalive train" in line for line in block) == training]
    return [line for block in chosen for line in block if line.startswith("personalive ")]


@pytest.fixture
def folder(repository, tmp_path, monkeypatch):
    """The working directory that README's lines assume."""
    shutil.copytree(SHIPPED["small"], tmp_path / "pretrained_weights")
    (tmp_path / "workflows").symlink_to(repository / "workflows")
    reference, driving = write_sample(tmp_path, FILM_SECONDS, size=128)
    for place in ("me.png", "photo.jpg", "portraits/me.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.open(reference).save(tmp_path / place)
    for place in ("talk.mp4", "films/talk.mp4"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(driving, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(personalive, folder):
    """Runs one line of README, smaller; what it says it writes must be there afterwards."""

    def run(line):
        line = line.removeprefix("personalive ")
        begin = next((begin for begin in ADDED if line.startswith(begin)), None)
        assert begin is not None, f"ADDED has no row for: {line}"
        words = shlex.split(f"{line} {ADDED[begin]}")
        outcome = personalive(*words)
        assert outcome.code in CODES.get(begin, (0,)), f"{line}\n{outcome.err}"
        parsed = build_parser(words).parse_args(words)
        for name in ("output", "sheet", "json"):
            path = getattr(parsed, name, None)
            if isinstance(path, Path):
                assert size_of(folder / path) > 0, f"{path} is missing or empty after: {line}"

    return run


def size_of(path):
    """Bytes of a file, or of all files in a folder."""
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in paths if each.is_file())


def test_every_line_is_run_or_known():
    """A line of a new kind needs a decision: run it, or name its program in OTHER_PROGRAMS."""
    every = [line for block in blocks() for line in block]
    others = {" ".join(line.split()[:2]) for line in every if not line.startswith("personalive ")}
    assert others == OTHER_PROGRAMS
    used = {line.removeprefix("personalive ") for training in (False, True) for line in lines(training=training)}
    assert not [begin for begin in ADDED if not any(line.startswith(begin) for line in used)]


# @pytest.mark.usefixtures("one_thread")
def test_command_lines_run(run, monkeypatch):
    """All blocks but those that train; `submit` against a server that knows the workflow's nodes."""
    nodes = Path("workflows/api/batch.json").read_text(encoding="utf-8")
    monkeypatch.setattr(fake_comfyui, "KNOWN", set(re.findall(r'"class_type": "(\w+)"', nodes)))
    small = load_model(SHIPPED["small"], torch.device("cpu"), torch.float32)
    monkeypatch.setattr("personalive_core.bench.run.random_model", lambda *_: small)
    server = fake_comfyui.FakeComfyUI()
    try:
        for line in lines(training=False):
            import time

            t = time.perf_counter()
            run(line.replace(SERVER, server.url))
            print(f"{time.perf_counter() - t:6.2f} {line}", file=sys.__stderr__)
        assert len(server.posted) == 1
    finally:
        server.stop()


@pytest.mark.slow
def test_training_lines_run(run):
    """One step of each stage, in order: a later line starts from an earlier line's weights."""
    for line in lines(training=True):
        import time

        t = time.perf_counter()
        run(line)
        print(f"{time.perf_counter() - t:6.2f} {line}", file=sys.__stderr__)


def test_library_example_runs(repository, folder):
    """Its loop prints one line for each frame of the driving."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert '"cuda"' in example
    example = example.replace('"cuda"', '"cpu"').replace("torch.float16", "torch.float32").replace("512", "64")
    write_sample(folder, seconds=0.04, size=64)[1].rename("talk.mp4")
    command = [sys.executable, "-c", example]
    environment = {"PYTHONPATH": str(repository), "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "(64,", "64,", "3)"]
