"""A program for test_lora.py: a LoRA added by ComfyUI against the same LoRA added by the core, and what the base gives.

    python lora_patches.py COMFYUI PACK WEIGHTS LORA SHARE STORAGE

SHARE of each network is patched as a whole, the rest layer by layer while it runs. Prints three relative differences:
ComfyUI's sum to the core's, the LoRA's effect, and what is left of it when the base model runs again.
"""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

comfyui, root, weights, file, share, storage = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import folder_paths  # noqa: E402, F401 - the pack looks for it
import torch  # noqa: E402
import utils.install_util  # noqa: E402, F401 - before ComfyUI puts another `utils` on the path

CPU, DTYPE = torch.device("cpu"), torch.float32


def load_pack():
    """The pack under a name of its own, as ComfyUI does it."""
    spec = importlib.util.spec_from_file_location("pack", f"{root}/__init__.py", submodule_search_locations=[root])
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)


@torch.inference_mode()
def run(model):
    """A number for each key and value of a reference: both UNets have a part in them."""
    latent, clip = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8), torch.ones(1, 1, 768)
    return torch.cat([part.flatten() for layer in model.project_tokens(latent, clip) for part in layer])


def distance(a, b):
    return float((a - b).norm() / b.norm())


def main():
    """One configuration."""
    load_pack()
    from pack.nodes.host import memory
    from pack.personalive_core.backends.personalive.loader import Host, load_model
    from pack.personalive_core.backends.personalive.lora import LORA_NETWORKS, read_lora, with_lora

    lora = read_lora(Path(file))
    host = Host(ops=memory.layers("pytorch"), storage=getattr(torch, storage, None))
    plain = load_model(Path(weights), CPU, DTYPE, "full", host)
    placement = memory.place({name: getattr(plain, name) for name in LORA_NETWORKS}, DTYPE)
    base = replace(plain, placement=placement)
    expected = run(replace(with_lora(plain, lora, 0.5), placement=replace(placement, bring=lambda _: None)))
    before = run(base)
    stronger = memory.with_lora_patches(base, lora, 1.5)
    chosen = memory.with_lora_patches(base, lora, 0.5)
    run(stronger)
    for name in LORA_NETWORKS:
        patcher = chosen.placement.bring.of[id(getattr(base, name))]
        patcher.partially_load(CPU, float(share) * patcher.model_size())
    got = run(replace(chosen, placement=replace(chosen.placement, bring=lambda _: None)))
    print(distance(got, expected), distance(expected, before), distance(run(base), before))  # noqa: T201


if __name__ == "__main__":
    main()
