"""docs/library.md names everything public, and its examples run as one program."""

import re
import shutil
import subprocess
import sys

import pytest

from personalive_core import PUBLIC
from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.drawn.sample import write_sample

FRAMES = 6  # the most that an example reads
WRITTEN = ("talk.safetensors", "paused.safetensors", "out.mp4")


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "library.md").read_text(encoding="utf-8")


def test_every_public_name_is_on_the_page(page):
    """In backticks; a call may follow the name."""
    assert [name for name in PUBLIC if not re.search(rf"`{name}\b[^`\n]*`", page)] == []


@pytest.mark.slow
def test_the_examples_run_from_top_to_bottom(page, repository, tmp_path):
    """On the small model, in a process of its own, as a reader would run them."""
    shutil.copytree(SHIPPED["small"], tmp_path / "pretrained_weights")
    reference, driving = write_sample(tmp_path, FRAMES / 25, size=128)
    reference.rename(tmp_path / "me.png")
    driving.rename(tmp_path / "talk.mp4")
    program = "".join(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    environment = {"PYTHONPATH": str(repository), "PATH": "", "OMP_NUM_THREADS": "1"}  # other tests keep the cores busy
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "download the weights first:" in done.stdout
    assert [name for name in WRITTEN if not (tmp_path / name).stat().st_size] == []
