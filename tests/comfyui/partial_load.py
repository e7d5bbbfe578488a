"""A program for test_memory.py: loads a share of each network onto the meta device, then runs them all.

    python partial_load.py COMFYUI PACK WEIGHTS SHARE STORAGE DECODER

The meta device stands for a GPU. Prints how many networks lie on both devices; fails where one operation meets tensors
of both, as it would on a real GPU.
"""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

comfyui, root, weights, share, storage, decoder = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management as mm  # noqa: E402
import folder_paths  # noqa: E402, F401 - the pack looks for it
import torch  # noqa: E402
import utils.install_util  # noqa: E402, F401 - before ComfyUI puts another `utils` on the path
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_flatten  # noqa: E402

GPU, CPU, DTYPE = torch.device("meta"), torch.device("cpu"), torch.float16
NETWORKS = ("reference_unet", "denoising_unet", "pose_guider", "motion_encoder", "motion_extractor", "vae", "tiny_vae")


class OneDevice(TorchDispatchMode):
    """Refuses an operation on tensors of both devices; copies from one to the other are what is wanted."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [t for t in tree_flatten((args, kwargs or {}))[0] if isinstance(t, torch.Tensor) and t.dim()]
        devices = {t.device.type for t in tensors}
        if len(devices) > 1 and "copy" not in func.__name__:
            raise RuntimeError(f"{func} on {devices}: {[tuple(t.shape) for t in tensors]}")
        return func(*args, **(kwargs or {}))


def load_pack():
    """The pack under a name of its own, as ComfyUI does it."""
    spec = importlib.util.spec_from_file_location("pack", f"{root}/__init__.py", submodule_search_locations=[root])
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)


def zeros(*shape):
    return torch.zeros(shape, device=GPU, dtype=DTYPE)


def run(model):
    """Everything the nodes ask of the networks that ComfyUI may load in part."""
    from pack.personalive_core.backends.personalive.types import Reference
    from pack.personalive_core.motion.types import HeadPose, HybridMotion

    latent, clip, frames = zeros(1, 4, 8, 8), zeros(1, 1, 768), 16
    features, context = model.project_tokens(latent, clip), model.project_image(clip)
    pose = HeadPose(torch.zeros(frames, 3), torch.zeros(frames, 3), torch.ones(frames, 1))
    motion = HybridMotion(
        torch.zeros(frames, 32, 16), torch.zeros(frames, 21, 3), pose, zeros(frames, 4), zeros(frames)
    )
    model.denoise(
        latent[:, None].expand(-1, frames, -1, -1, -1),
        torch.zeros(frames, device=GPU, dtype=torch.long),
        Reference(latent, clip, context, features, motion, zeros(21, 3)),
        model.embed_motion(motion, 64),
        features,
    )
    model.motion_extractor(zeros(2, 3, 256, 256))
    model.motion_encoder(zeros(2, 3, 224, 224))
    model.encode(zeros(1, 3, 64, 64))
    model.decode(latent[None])


def main():
    """One configuration."""
    load_pack()
    from pack.nodes.host import memory
    from pack.personalive_core.backends.personalive.loader import Host, load_model

    mm.get_torch_device = lambda: GPU
    host = Host(ops=memory.layers("pytorch"), storage=getattr(torch, storage, None))
    model = load_model(Path(weights), CPU, DTYPE, decoder, host)
    networks = {name: network for name in NETWORKS if (network := getattr(model, name)) is not None}
    placement = memory.place(networks, DTYPE)
    for patcher in placement.bring.of.values():
        patcher.partially_load(GPU, float(share) * patcher.model_size())
    with torch.inference_mode(), OneDevice():
        run(replace(model, placement=replace(placement, bring=lambda _networks: None)))
    devices = [{parameter.device.type for parameter in network.parameters()} for network in networks.values()]
    print(sum(len(kinds) == 2 for kinds in devices), "on both")  # noqa: T201


if __name__ == "__main__":
    main()
