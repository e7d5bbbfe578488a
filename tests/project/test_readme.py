"""The README's library example, run as it stands but for the device and the size."""

import re
import subprocess
import sys

from personalive_core.bench.standin import write_standin
from personalive_core.drawn.sample import write_sample


def test_library_example_runs(repository, tmp_path):
    """Its loop prints one line for each frame of the driving."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert '"cuda"' in example
    example = example.replace('"cuda"', '"cpu"').replace("torch.float16", "torch.float32").replace("512", "64")
    write_standin(tmp_path / "pretrained_weights")
    reference, driving = write_sample(tmp_path, seconds=0.04, size=64)
    reference.rename(tmp_path / "me.png")
    driving.rename(tmp_path / "talk.mp4")
    command = [sys.executable, "-c", example]
    environment = {"PYTHONPATH": str(repository), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "(64,", "64,", "3)"]
