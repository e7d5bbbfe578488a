"""The networks loaded in part by ComfyUI, as on a GPU too small for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comfyui.server import ROOT

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("share", "storage", "decoder", "split"),
    [
        (0.0, "same", "full", False),  # --novram
        (0.4, "same", "full", True),  # --lowvram
        (0.4, "float8_e4m3fn", "tiny", True),
        (0.9, "same", "tiny", True),
        (2.0, "same", "full", False),  # all of it fits
        (2.0, "float8_e4m3fn", "full", False),
        ("dynamic", "same", "full", True),  # dynamic VRAM: what is not one of ComfyUI's layers goes over in full
        ("dynamic", "float8_e4m3fn", "tiny", True),
    ],
)
def test_networks_loaded_in_part_compute_on_one_device(standin_folder, share, storage, decoder, split):
    if share == "dynamic" and not has_dynamic():
        pytest.skip("this ComfyUI has no dynamic VRAM: run it with 0.30 or newer")
    program = Path(__file__).parent / "partial_load.py"
    arguments = [os.environ["COMFYUI_DIR"], ROOT, standin_folder, share, storage, decoder]
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), program, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (int(done.stdout.split()[0]) > 0) == split


def has_dynamic():
    source = Path(os.environ["COMFYUI_DIR"]) / "comfy" / "model_patcher.py"
    return "class ModelPatcherDynamic" in source.read_text(encoding="utf-8")
