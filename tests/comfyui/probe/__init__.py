"""A pack for tests only: tells what ComfyUI still holds, and makes what no workflow has or should have."""

import gc
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import comfy.model_management as mm
import torch
from aiohttp import web
from comfy.clip_vision import ClipVisionModel
from comfy.sd import VAE
from comfy.taesd.taesd import TAESD
from server import PromptServer

CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "quick_gelu",
    "image_size": 224,
    "patch_size": 32,
    "num_channels": 3,
}


class Probe:
    """What the nodes have in common."""

    FUNCTION = "run"
    CATEGORY = "PersonaLive tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": cls.TAKES}


class Double(Probe):
    """PERSONALIVE_MOTION twice as long."""

    RETURN_TYPES = ("PERSONALIVE_MOTION",)
    TAKES: ClassVar = {"motion": ("PERSONALIVE_MOTION",)}

    def run(self, motion):
        frames = motion.frames
        both = {name: torch.cat([value, value]) for name, value in frames.tensors().items()}
        return (replace(motion, frames=frames.of(both)),)


class Cast(Probe):
    """An IMAGE of another number type."""

    RETURN_TYPES = ("IMAGE",)
    TAKES: ClassVar = {"image": ("IMAGE",), "dtype": ("STRING",)}

    def run(self, image, dtype):
        return (image.to(getattr(torch, dtype)),)


class TinyVae(Probe):
    """A VAE of ComfyUI's own with random weights."""

    RETURN_TYPES = ("VAE",)
    TAKES: ClassVar = {}

    def run(self):
        return (VAE(sd=filled(TAESD().state_dict())),)


class SmallClipVision(Probe):
    """A CLIP_VISION of ComfyUI's own with random weights, for embeddings of `dim` numbers."""

    RETURN_TYPES = ("CLIP_VISION",)
    TAKES: ClassVar = {"dim": ("INT", {"default": 768})}

    def run(self, dim):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config.json"
            file.write_text(json.dumps({**CLIP, "projection_dim": dim}))
            clip = ClipVisionModel(str(file))
        clip.load_sd(filled(clip.get_sd()))
        return (clip,)


class NoMemory(Probe):
    """A model whose networks never fit."""

    RETURN_TYPES = ("PERSONALIVE_MODEL",)
    TAKES: ClassVar = {"model": ("PERSONALIVE_MODEL",)}

    def run(self, model):
        def bring(*_):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        networks = model.networks
        return (replace(model, networks=replace(networks, placement=replace(networks.placement, bring=bring))),)


def filled(state):
    """The same names and shapes, small values that are always the same."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(value.shape, generator=generator) * 0.05 if value.is_floating_point() else value
        for name, value in state.items()
    }


@PromptServer.instance.routes.get("/personalive_test/live")
async def live(_request):
    """How many objects of live sessions exist, by class."""
    gc.collect()
    names = ("LiveSession", "LiveHub", "LiveState", "StreamState", "PersonaLivePerformer")
    ours = [type(thing) for thing in gc.get_objects() if "personalive_core" in str(type(thing).__module__)]
    kinds = [kind.__name__ for kind in ours]  # a node's class has the session's name
    return web.json_response({name: kinds.count(name) for name in names})


@PromptServer.instance.routes.get("/personalive_test/held")
async def held(_request):
    """How many models ComfyUI has loaded, and how many of the pack's networks exist at all."""
    gc.collect()
    networks = [thing for thing in gc.get_objects() if type(thing).__name__ in ("UNet", "PoseGuider", "FaceEncoder")]
    return web.json_response({"loaded": len(mm.current_loaded_models), "networks": len(networks)})


NODE_CLASS_MAPPINGS = {
    "PersonaLiveTestDouble": Double,
    "PersonaLiveTestCast": Cast,
    "PersonaLiveTestVae": TinyVae,
    "PersonaLiveTestClipVision": SmallClipVision,
    "PersonaLiveTestNoMemory": NoMemory,
}
