"""A program for test_memory.py: loads a share of each network onto the meta device, then runs them all.

    python partial_load.py COMFYUI PACK WEIGHTS SHARE STORAGE DECODER

The meta device stands for a GPU. Prints how many networks lie on both devices; fails where one operation meets tensors
of both, as it would on a real GPU. SHARE "dynamic" stands for newer ComfyUI's dynamic VRAM, with no room for weights.
"""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

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
DYNAMIC = share == "dynamic"
NETWORKS = ("image_encoder",) if DYNAMIC else ()
NETWORKS += ("reference_unet", "denoising_unet", "pose_guider", "motion_encoder", "motion_extractor", "vae", "tiny_vae")


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


def pretend_dynamic():
    """Puts stand-ins where comfy-aimdo needs a GPU: there is never room there, so a weight is copied for each use."""
    import comfy.memory_management
    import comfy.model_patcher
    import comfy.pinned_memory
    from comfy_aimdo import host_buffer, model_vbar

    model_vbar.ModelVBAR = lambda *_: MagicMock(loaded_size=lambda: 0, free_memory=lambda _: 0)
    model_vbar.vbar_fault, model_vbar.vbar_signature_compare = lambda _: None, lambda *_: False
    host_buffer.HostBuffer = lambda *_: SimpleNamespace(size=0)
    comfy.pinned_memory.pin_memory = lambda *_, **__: None
    comfy.memory_management.aimdo_enabled = True
    kind = comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    kind._load_list = with_loose_ones_moved(kind._load_list)
    mm.vram_state = mm.VRAMState.NORMAL_VRAM
    mm.get_free_memory = lambda _=None, torch_free_too=False: (1 << 40, 0) if torch_free_too else 1 << 40


def with_loose_ones_moved(list_modules):
    """ComfyUI moves parameters beside submodules by assignment to `data`, which the meta device does not take."""

    def moved(patcher, for_dynamic=False, default_device=None):
        for module in patcher.model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if any(True for _ in module.children()):
                    setattr(module, name, torch.nn.Parameter(parameter.to(default_device), requires_grad=False))
        return list_modules(patcher, for_dynamic, default_device)

    return moved


def looks_like_a_model(loaded, networks):
    """To the parts of ComfyUI that free main memory: they find the patcher of each of so many networks."""
    from comfy.model_patcher import PromptModelTracker, is_model_patcher_output
    from comfy_execution.caching import all_outputs_dynamic

    tracker = PromptModelTracker()
    tracker.add((loaded,))
    return is_model_patcher_output(loaded) and all_outputs_dynamic((loaded,)) and len(tracker.models) == networks


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
    if DYNAMIC:
        pretend_dynamic()
    load_pack()
    from pack.nodes.host import memory, sockets
    from pack.personalive_core.backends.personalive.loader import Host, load_model

    mm.get_torch_device = lambda: GPU
    host = Host(ops=memory.layers("pytorch"), storage=getattr(torch, storage, None))
    model = load_model(Path(weights), CPU, DTYPE, decoder, host)
    networks = {name: network for name in NETWORKS if (network := getattr(model, name)) is not None}
    placement = memory.place(networks, DTYPE)
    if DYNAMIC:
        placement.bring(tuple(networks.values()))
        assert {parameter.device.type for parameter in model.image_encoder.parameters()} == {"meta"}
        loaded = sockets.LoadedModel(replace(model, placement=placement), Path(weights))
        assert looks_like_a_model(loaded, len(networks))
    else:
        for patcher in placement.bring.of.values():
            patcher.partially_load(GPU, float(share) * patcher.model_size())
    with torch.inference_mode(), OneDevice():
        run(replace(model, placement=replace(placement, bring=lambda _networks: None)))
    devices = [{parameter.device.type for parameter in network.parameters()} for network in networks.values()]
    print(sum(len(kinds) == 2 for kinds in devices), "on both")  # noqa: T201


if __name__ == "__main__":
    main()
