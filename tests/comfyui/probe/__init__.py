"""A pack for tests only: tells what ComfyUI still holds, and makes motion longer than anyone would film."""

import gc
from dataclasses import replace

import comfy.model_management as mm
from aiohttp import web
from server import PromptServer


class Double:
    """HYBRID_MOTION twice as long."""

    RETURN_TYPES = ("HYBRID_MOTION",)
    FUNCTION = "double"
    CATEGORY = "PersonaLive tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"motion": ("HYBRID_MOTION",)}}

    def double(self, motion):
        frames = motion.frames
        return (
            replace(motion, frames=replace(frames, **{name: twice(value) for name, value in vars(frames).items()})),
        )


def twice(value):
    """A tensor, or the poses made of tensors, twice along the frames."""
    import torch

    if isinstance(value, torch.Tensor):
        return torch.cat([value, value])
    return replace(value, **{name: twice(part) for name, part in vars(value).items()})


@PromptServer.instance.routes.get("/personalive_test/held")
async def held(_request):
    """How many models ComfyUI has loaded, and how many of the pack's networks exist at all."""
    gc.collect()
    networks = [thing for thing in gc.get_objects() if type(thing).__name__ in ("UNet", "PoseGuider", "FaceEncoder")]
    return web.json_response({"loaded": len(mm.current_loaded_models), "networks": len(networks)})


NODE_CLASS_MAPPINGS = {"PersonaLiveTestDouble": Double}
