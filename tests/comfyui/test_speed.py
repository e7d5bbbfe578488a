"""The speed choice in a real ComfyUI: right films, never stale weights, nothing kept that ComfyUI took away."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from personalive_core.backends.personalive.lora import Lora, save_lora
from tests.comfyui.server import ROOT

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(300)]

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_k"


@pytest.fixture(scope="module")
def facts(standin_folder, tmp_path_factory):
    """What speed_choice.py prints."""
    drawn = torch.Generator().manual_seed(0)
    pair = torch.randn(2, 64, generator=drawn), 0.1 * torch.randn(64, 2, generator=drawn)
    lora = tmp_path_factory.mktemp("lora") / "style.safetensors"
    save_lora(lora, Lora({"denoising_unet": {QUERY: pair}}, 4.0))
    program = Path(__file__).parent / "speed_choice.py"
    arguments = [os.environ["COMFYUI_DIR"], ROOT, standin_folder, lora]
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), program, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_networks_under_comfyuis_memory_management_are_sped_up(facts):
    assert facts["prepared"] == ["decode_full", "predict_noise"]
    assert facts["at a speed: error"] == 0
    assert facts["kept when ComfyUI is asked again"]


def test_a_lora_is_used_as_soon_as_comfyui_adds_it_and_gone_when_it_is_removed(facts):
    change, error = facts["the LoRA: change, error"]
    assert error == 0
    assert change > 0.01
    assert facts["the LoRA has a token of its own"]
    assert facts["without it again: error"] == 0
    assert facts["and the first token"]


def test_what_comfyui_loads_in_part_runs_plain(facts):
    assert facts["token: LoRA, share 2.0"]
    assert not facts["token: LoRA, share 0.0"]
    assert facts["in part: error"] == facts["in part: prepared"] == 0


def test_fused_kernels_read_only_weights_that_comfyui_does_not_change_on_use(facts):
    assert facts["readable: in full"] == facts["readable: LoRA, share 2.0"] == 1
    assert facts["readable: LoRA, share 0.0"] == 15 / 16  # the LoRA is of one layer of the 16


def test_what_a_speed_takes_is_freed_with_the_weights(facts):
    assert facts["graphs"] == 2
    assert facts["graphs after the UNet was unloaded in part"] == 1
    assert facts["second networks then"] == 1
    assert facts["token then"] is None
    assert facts["graphs after all was unloaded"] == 0
    assert facts["after that: error"] == 0


def test_without_a_compiler_all_runs_plain_and_the_log_says_why(facts):
    plain, said = facts["without a compiler"]
    assert plain
    assert "speed plain is used: there is no C compiler" in said
