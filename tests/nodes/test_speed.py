"""The speed widget without ComfyUI: which networks stay on the device, which weights have a token, what is freed."""

import gc
import weakref
from contextvars import ContextVar
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from personalive_core.media.ahead import ahead
from personalive_core.media.video import Frame

GIB = 1 << 30


class Patcher:
    """ComfyUI's ModelPatcher with all weights on the device."""

    def __init__(self, network, load_device, _offload_device=None):
        self.model, self.load_device, self.weight_wrapper_patches = network, load_device, {}
        network.model_lowvram, network.device, network.current_weight_patches_uuid = False, load_device, "base"


class DynamicPatcher(Patcher):
    """Newer ComfyUI's, with dynamic VRAM."""

    def is_dynamic(self):
        return True


@pytest.fixture
def memory(node_module, monkeypatch):
    module = node_module("host.memory")
    monkeypatch.setattr(module, "ResidentPatcher", Patcher)
    monkeypatch.setattr(module.comfy, "model_patcher", SimpleNamespace(CoreModelPatcher=DynamicPatcher))
    monkeypatch.setattr(module.mm, "get_torch_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(module.mm, "get_total_memory", lambda _: GIB)
    return module


@pytest.mark.parametrize(
    ("resident", "share", "expected"),
    [(True, 0.5, Patcher), (True, 0.7, DynamicPatcher), (False, 0.1, DynamicPatcher)],
)
def test_networks_stay_on_the_device_for_a_speed_where_there_is_room(memory, resident, share, expected):
    with torch.device("meta"):
        network = nn.Linear(1 << 14, int(share * GIB) >> 16, bias=False)
    placement = memory.place({"unet": network}, torch.float16, resident)
    assert type(placement.bring.of[id(network)]) is expected
    assert (placement.token((network,)) is None) == (expected is DynamicPatcher)


@pytest.mark.parametrize(
    "change",
    [
        lambda patcher: setattr(patcher.model, "model_lowvram", True),
        lambda patcher: setattr(patcher.model, "device", torch.device("cpu")),
        lambda patcher: setattr(patcher.model, "current_weight_patches_uuid", None),
        lambda patcher: patcher.weight_wrapper_patches.update(weight=[len]),
    ],
    ids=["in part", "elsewhere", "not loaded", "changed on use"],
)
def test_weights_that_do_not_lie_there_as_they_are_used_have_no_token(memory, change):
    network = nn.Linear(2, 2)
    placement = memory.place({"unet": network}, torch.float16, True)
    assert placement.token((network,)) == ("base",)
    network.current_weight_patches_uuid = "with a LoRA"
    assert placement.token((network,)) == ("with a LoRA",)
    change(placement.bring.of[id(network)])
    assert placement.token((network,)) is None


def test_a_network_of_someone_else_has_no_token(memory):
    network = nn.Linear(2, 2)
    placement = memory.place({"unet": network}, torch.float16, True)
    assert placement.token((network, object())) is None


def test_what_was_made_of_a_network_is_freed_only_when_its_weights_leave(node_module, monkeypatch):
    speed, network, emptied = node_module("host.speed"), nn.Linear(2, 2), []
    monkeypatch.setattr(speed.mm, "soft_empty_cache", lambda: emptied.append(True))

    class Runner:
        forgotten = ()

        def forget(self, network):
            self.forgotten = (*self.forgotten, network)
            return len(self.forgotten) == 1  # then there is nothing left

    runner = Runner()
    free = speed.freeing(runner, network)
    free(None, False)  # ComfyUI only asks for it again
    assert not runner.forgotten
    free(None, True)
    free(None, True)
    assert runner.forgotten == (network, network)
    assert emptied == [True]
    gone = weakref.ref(runner), weakref.ref(network)
    del runner, network
    gc.collect()
    assert [one() for one in gone] == [None, None], "the callback must keep neither alive"
    free(None, True)


def test_compiling_is_told_on_the_node_that_runs_and_can_be_cancelled(node_module, monkeypatch):
    speed, said = node_module("host.speed"), []
    monkeypatch.setattr(speed, "notify", lambda *line: said.append(line))
    monkeypatch.setattr(speed, "get_executing_context", lambda: SimpleNamespace(node_id="8"))
    speed.tell_compiling(2, 9)
    speed.tell_compiling(9, 9)
    assert said == [("8", "Compiling for this size, only the first time: 2 of 9 kinds of blocks"), ("8", "")]

    def cancelled():
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "check_interrupt", cancelled)
    with pytest.raises(KeyboardInterrupt):
        speed.tell_compiling(3, 9)
    assert said[-1] == ("8", "")


def test_auto_is_plain_whatever_the_device(node_module, monkeypatch):
    speed = node_module("host.speed")
    monkeypatch.setattr(speed.mm, "get_torch_device", lambda: torch.device("cuda"), raising=False)
    assert speed.speed_plan("auto").plain


def test_an_unknown_speed_is_refused(node_module):
    speed = node_module("host.speed")
    with pytest.raises(speed.InputError, match="unknown speed 'fast': choose auto, plain, compiled, fp8$"):
        speed.speed_plan("fast")


@pytest.mark.parametrize("attention", ["auto", "pytorch"])
def test_on_a_gpu_comfyuis_layers_get_the_fused_kernels_or_a_reason(node_module, monkeypatch, caplog, attention):
    memory, fused = node_module("host.memory"), object()
    monkeypatch.setattr(memory.mm, "get_torch_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(memory, "fast_ops", lambda device, ops: ((device.type, ops, fused), ""))
    plain = memory.ComfyOps if attention == "auto" else memory.PytorchOps
    assert memory.layers(attention, fused=True) == ("cuda", plain, fused)
    assert memory.layers(attention) is plain, "by choice alone"
    memory.warn_once.cache_clear()
    monkeypatch.setattr(memory, "fast_ops", lambda _, ops: (ops, "The fused kernels need Triton."))
    assert memory.layers(attention, fused=True) is memory.layers(attention, fused=True) is plain
    assert caplog.text.count("need Triton") == 1
    monkeypatch.setattr(memory.mm, "get_torch_device", lambda: torch.device("cpu"))
    memory.warn_once.cache_clear()
    caplog.clear()
    assert memory.layers(attention, fused=True) is plain
    assert not caplog.text, "nobody expects them on a CPU"


@pytest.mark.parametrize(
    ("chosen", "fused"), [("auto", False), ("plain", False), ("compiled", True)], ids=["auto", "plain", "compiled"]
)
def test_the_fused_kernels_come_only_with_a_speed_chosen_by_name(node_module, monkeypatch, chosen, fused):
    load, plan = node_module("load"), node_module("host.speed").SpeedPlan
    asked = []

    def layers(_attention, fused=False):
        asked.append(fused)
        raise KeyboardInterrupt  # the networks need not be loaded

    monkeypatch.setattr(load, "weights_folder", lambda _: None)
    monkeypatch.setattr(load, "types", lambda _: (torch.float16, None))
    monkeypatch.setattr(load, "speed_plan", lambda _: plan("compiled", graphs=True) if fused else plan("plain"))
    monkeypatch.setattr(load, "layers", layers)
    with pytest.raises(KeyboardInterrupt):
        load.LoadPersonaLive.execute("personalive", "auto", "full", "auto", False, speed=chosen)
    assert asked == [fused]


@pytest.mark.parametrize("plain", [True, False])
def test_liveportraits_networks_stay_on_the_device_for_a_speed(node_module, monkeypatch, plain):
    """Otherwise they have no token beside dynamic VRAM, and nothing is sped up."""
    load, live, asked = node_module("load_liveportrait"), node_module("host.liveportrait"), []

    def place(_networks, _dtype, resident=False):
        asked.append(resident)
        raise KeyboardInterrupt  # that is all

    monkeypatch.setattr(live.mm, "get_torch_device", lambda: torch.device("cpu"), raising=False)
    monkeypatch.setattr(live.mm, "unet_offload_device", lambda: torch.device("cpu"), raising=False)
    monkeypatch.setattr(live, "load_live", lambda *_: SimpleNamespace(networks=[None] * len(live.LIVE_NETWORKS)))
    monkeypatch.setattr(live, "place", place)
    monkeypatch.setattr(load, "chosen_live_folder", lambda _: None)
    monkeypatch.setattr(load, "fetch_live", lambda *_: None)
    monkeypatch.setattr(load.LoadLivePortrait, "hidden", SimpleNamespace(unique_id="1"), raising=False)
    monkeypatch.setattr(load, "types", lambda _: (torch.float16, None))
    monkeypatch.setattr(load, "live_plan", lambda _: SimpleNamespace(plain=plain))
    with pytest.raises(KeyboardInterrupt):
        load.LoadLivePortrait.execute("liveportrait", "human", "auto", False)
    assert asked == [not plain]


def test_frames_taken_in_a_thread_move_the_bar_of_their_node_and_can_be_cancelled(node_module, monkeypatch):
    """On a GPU the driving's frames are taken ahead in a thread."""
    extract, node, bars = node_module("extract"), ContextVar("node"), []

    class Bar:
        def __init__(self, _total):
            pass

        def update_absolute(self, value, _total):
            bars.append((node.get(), value))

    def in_a_thread(_model, frames, *_):
        yield from ahead(frames, 4)

    def check():
        if len(bars) == limit:
            raise RuntimeError("cancelled")

    monkeypatch.setattr(extract.comfy.utils, "ProgressBar", Bar)
    monkeypatch.setattr(extract, "film_motion", in_a_thread)
    monkeypatch.setattr(extract, "check_interrupt", check)
    monkeypatch.setattr(extract, "concat_motion", list)
    frames = [Frame(None, Fraction(n, 25), Fraction(1, 25)) for n in range(8)]
    source = SimpleNamespace(first=frames[0], frames=iter(frames[1:]), total=8, rate=Fraction(25))
    node.set("4")
    limit = 5
    with pytest.raises(RuntimeError, match="cancelled"):
        extract.extract_frames(SimpleNamespace(networks=None), source, None, None)
    assert bars == [("4", n) for n in range(5)]
    limit, bars[:] = 99, []
    source.frames = iter(frames[1:])
    motion, times = extract.extract_frames(SimpleNamespace(networks=None), source, None, None)
    assert motion == frames
    assert len(times) == 9
    assert bars == [("4", n) for n in range(8)]
