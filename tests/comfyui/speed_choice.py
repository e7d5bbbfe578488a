"""A program for test_speed.py: what ComfyUI does to weights, and what the speed choice makes of it.

    python speed_choice.py COMFYUI PACK WEIGHTS LORA

Blocks are compiled and graphs recorded by stand-ins, which a CPU can run. Prints facts
as a JSON object, whose keys say what they are.
"""

import importlib.util
import io
import json
import logging
import os
import sys
import weakref
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

comfyui, root, weights, file = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management as mm  # noqa: E402
import folder_paths  # noqa: E402, F401 - the pack looks for it
import torch  # noqa: E402
import utils.install_util  # noqa: E402, F401 - before ComfyUI puts another `utils` on the path

CPU, DTYPE = torch.device("cpu"), torch.float32
ALIVE = weakref.WeakSet()  # outputs of recordings, which stand for the memory of graphs
NETWORKS = ("denoising_unet", "pose_guider", "vae")


def load_pack():
    """The pack under a name of its own, as ComfyUI does it."""
    spec = importlib.util.spec_from_file_location("pack", f"{root}/__init__.py", submodule_search_locations=[root])
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)


class Recorder:
    """Records as CUDA graphs do: the outputs lie in the same memory at every replay."""

    def __init__(self, _device):
        pass

    def record(self, run):
        outputs = run()
        ALIVE.add(outputs)
        return lambda: outputs.copy_(run()), outputs

    def in_turn(self):
        return nullcontext()


def load():
    """The model under ComfyUI's memory management, plain and at a speed."""
    from pack.nodes.host import memory, speed
    from pack.personalive_core.backends.personalive.loader import Host, load_model
    from pack.personalive_core.backends.personalive.speed.choice import SpeedPlan
    from pack.personalive_core.backends.personalive.speed.prepare import Tools

    speed.Tools = lambda **given: Tools(compile=lambda call: call, recorder=Recorder, kept=False, **given)
    model = load_model(Path(weights), CPU, DTYPE, "full", Host(ops=memory.layers("auto", fused=True)))
    networks = {name: getattr(model, name) for name in NETWORKS}
    plain = replace(model, placement=memory.place(networks, DTYPE, resident=True))
    return plain, speed.sped_up(plain, SpeedPlan("compiled", compiles=True, graphs=True), "auto")


def run(model, times=1):
    """What the UNet predicts and what the decoder makes of it: [the same], as often as asked."""
    from pack.personalive_core.backends.personalive.types import Reference
    from pack.personalive_core.modules.inputs import MotionFeatures

    drawn = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    features, clip = model.project_tokens(drawn[:, 0], torch.ones(1, 1, 768)), torch.ones(1, 1, 768)
    reference = Reference(drawn[:, 0], clip, model.project_image(clip), features, None, None)
    motion = MotionFeatures(torch.ones(1, 4, 32, 16), model.pose_guider(torch.ones(4, 3, 64, 64))[None])
    levels = torch.arange(4) * 333
    noises = [model.denoise(drawn, levels, reference, motion, features) for _ in range(times)]
    return [torch.cat([noise.flatten(), model.decode(noise).flatten()]) for noise in noises]


def distance(made, expected):
    return max(float((one - expected).abs().max()) for one in made)


def where_it_is(model):
    """`model` whose networks stay as they are in memory."""
    return replace(model, placement=replace(model.placement, bring=lambda _networks: None))


def readable(model):
    """Share of the UNet's attention layers whose weights a fused kernel may read."""
    from pack.personalive_core.modules.kernels.compiler import is_readable

    layers = [m for name, m in model.denoising_unet.named_modules() if name.endswith("attn1.to_k")]
    return sum(is_readable(layer, torch.ones(1)) for layer in layers) / len(layers)


def with_lora(facts, plain, fast, before):
    """Adds a LoRA, and takes it away again."""
    from pack.nodes.host import memory
    from pack.personalive_core.backends.personalive.lora import read_lora

    unets, lora = (fast.denoising_unet,), read_lora(Path(file))
    first, held = fast.placement.token(unets), len(fast.run.prepared)
    run(fast, 2)
    facts["kept when ComfyUI is asked again"] = len(fast.run.prepared) == held > 0
    expected = run(memory.with_lora_patches(plain, lora, 1.0))[0]
    styled = memory.with_lora_patches(fast, lora, 1.0)
    facts["the LoRA: change, error"] = distance([before], expected), distance(run(styled, 3), expected)
    facts["the LoRA has a token of its own"] = styled.placement.token(unets) not in (first, None)
    facts["without it again: error"] = distance(run(fast, 3), before)
    facts["and the first token"] = fast.placement.token(unets) == first
    facts["readable: in full"] = readable(fast)
    for share in (2.0, 0.0):
        patcher = styled.placement.bring.of[id(fast.denoising_unet)]
        patcher.detach()
        patcher.partially_load(CPU, share * patcher.model_size())
        facts[f"readable: LoRA, share {share}"] = readable(fast)
        facts[f"token: LoRA, share {share}"] = styled.placement.token(unets) is not None
    facts["in part: error"] = distance(run(where_it_is(styled), 3), expected)
    facts["in part: prepared"] = sum(key[1] == (id(fast.denoising_unet),) for key in fast.run.prepared)


def without_compiler(facts, model):
    """What is chosen, and said, on a machine that has no C compiler."""
    from pack.nodes.host import speed

    said = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(said)
    with patch.dict(os.environ, {"PATH": "", "CC": ""}):
        plan = speed.speed_plan("compiled")
    facts["without a compiler"] = speed.sped_up(model, plan, "auto").run is None, said.stream.getvalue()


@torch.inference_mode()
def main():
    """Everything, one after the other."""
    load_pack()
    plain, fast = load()
    facts, before = {}, run(plain)[0]
    facts["at a speed: error"] = distance(run(fast, 3), before)
    facts["prepared"] = sorted(key[0].__name__ for key in fast.run.prepared)
    with_lora(facts, plain, fast, before)
    run(fast, 2)
    facts["graphs"] = len(ALIVE)
    fast.placement.bring.of[id(fast.denoising_unet)].partially_unload(CPU, 1000)
    facts["graphs after the UNet was unloaded in part"] = len(ALIVE)
    facts["second networks then"] = len(fast.run.work.twins)
    facts["token then"] = fast.placement.token((fast.denoising_unet,))
    run(fast, 3)
    mm.unload_all_models()
    facts["graphs after all was unloaded"] = len(ALIVE)
    facts["after that: error"] = distance(run(fast, 3), before)
    without_compiler(facts, plain)
    print(json.dumps(facts))  # noqa: T201


if __name__ == "__main__":
    main()
