"""Load PersonaLive LoRA in a real ComfyUI: the same sum as the core's, in whatever part the networks are loaded."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from personalive_core.backends.personalive.lora import Lora, save_lora
from personalive_core.media.video import read_frames
from tests.comfyui.server import ROOT
from tests.comfyui.test_nodes import change, first_line, key_of, made, small

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(300)]

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_k"
SHALLOW = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k"
KERNEL = "down_blocks.0.resnets.0.conv1"


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A LoRA that changes what the stand-in's networks do a good deal."""
    generator = torch.Generator().manual_seed(0)

    def pair(width, *sides):
        a = torch.randn(2, width, *sides, generator=generator)
        return a, 0.1 * torch.randn(width, 2, *(1 for _ in sides), generator=generator)

    unet = {QUERY: pair(64), SHALLOW: pair(32)}
    path = tmp_path_factory.mktemp("lora") / "style.safetensors"
    save_lora(path, Lora({"denoising_unet": unet, "reference_unet": {KERNEL: pair(32, 3, 3)}}, 4.0))
    return path


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("storage", "most"), [("same", 1e-5), ("float8_e4m3fn", 0.1)])
def test_comfyui_adds_what_the_core_adds(standin_folder, lora, share, storage, most):
    """In fp8 ComfyUI rounds up or down by chance, the core to the nearest."""
    program = Path(__file__).parent / "lora_patches.py"
    arguments = [os.environ["COMFYUI_DIR"], ROOT, standin_folder, lora, share, storage]
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), program, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    error, effect, left = map(float, done.stdout.split())
    assert error < most < 0.3 * effect
    assert left == 0


def with_node(workflow, **inputs):
    """The workflow with the LoRA between the loader and everything else."""
    workflow, loader = copy.deepcopy(workflow), key_of(workflow, "LoadPersonaLive")
    for node in workflow.values():
        node["inputs"] = {k: ["70", 0] if v == [loader, 0] else v for k, v in node["inputs"].items()}
    inputs = {"model": [loader, 0], "lora": "style.safetensors", "strength": 1.0, **inputs}
    return workflow | {"70": {"class_type": "LoadPersonaLiveLoRA", "inputs": inputs}}


@pytest.fixture(scope="module")
def loras(comfyui, lora):
    """ComfyUI's folder of LoRAs, with that one and one for another model."""
    folder = comfyui.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / lora.name).write_bytes(lora.read_bytes())
    other = Lora({"denoising_unet": {QUERY: (torch.zeros(2, 1280), torch.zeros(1280, 2))}}, 4.0)
    save_lora(folder / "large.safetensors", other)
    return folder


@pytest.mark.usefixtures("loras")
def test_the_lora_changes_the_film_and_leaves_the_base_alone(comfyui):
    def film(workflow):
        run = comfyui.run(workflow)
        assert not run.error
        return [frame.image for frame in read_frames(made(comfyui, run)[0])]

    def same(one, other):
        return all((a == b).all() for a, b in zip(one, other, strict=True))

    workflow = small("long_video", count=4)
    plain, styled = film(workflow), film(with_node(workflow))
    assert not same(plain, styled)
    sampler = "PersonaLiveStreamingSamplerVideo"
    assert same(film(change(workflow, sampler, filename_prefix="again")), plain)
    assert same(film(change(with_node(workflow, strength=0.0), sampler, filename_prefix="nothing")), plain)
    assert same(film(change(with_node(workflow), sampler, filename_prefix="styled")), styled)


@pytest.mark.usefixtures("loras")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.safetensors", "Put it into ComfyUI's models/loras folder and press R: there is no LoRA gone.safetens"),
        ("../../personalive/taesd/config.json", "Put it into ComfyUI's models/loras folder and press R"),
        ("large.safetensors", "Choose one that was trained for weights of this size: the LoRA large does not fit"),
    ],
)
def test_a_lora_that_cannot_be_used(comfyui, name, words):
    run = comfyui.run(with_node(small("long_video", count=4), lora=name))
    assert words in (run.error if run.error.startswith("{") else first_line(run))
