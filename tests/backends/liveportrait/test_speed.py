"""LivePortrait's choice of speed, and its network calls recorded: the same pictures, prepared when a shape repeats."""

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from personalive_core.animation import liveportrait_engine
from personalive_core.animation.liveportrait_engine import LivePortraitEngine
from personalive_core.backends.liveportrait.loader import arranged
from personalive_core.backends.liveportrait.networks import build_live
from personalive_core.backends.liveportrait.speed import LIVE_SPEEDS, choose_live_speed, with_live_speed
from personalive_core.backends.liveportrait.stages import draw_frames, extract_volume, read_heads
from personalive_core.backends.personalive.speed.choice import AS_IT_IS, GRAPHS
from personalive_core.backends.personalive.speed.prepare import Tools
from personalive_core.backends.placement import Placement
from personalive_core.errors import InputError
from personalive_core.modules.spade import SpadeConfig, SpadeDecoder
from personalive_core.text import warn_once
from tests.backends.liveportrait.tiny import CPU, SIZES
from tests.backends.personalive.test_speed import Tape

CUDA = torch.device("cuda")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _said_anew():
    warn_once.cache_clear()


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_live(SIZES)


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def calls(model, frames=2, seed=0):
    """What each network makes of inputs of their own."""
    volume, points = drawn(1, 4, 4, 16, 16, seed=seed), drawn(frames + 1, 21, 3, seed=seed) - 0.5
    pose, canonical, expression = model.read_motion(drawn(frames, 3, 64, 64, seed=seed))
    parts = pose.angles, pose.translation, pose.scale, canonical, expression
    return *parts, model.appearance(drawn(1, 3, 64, 64, seed=seed)), model.render(volume, points[:1], points[1:])


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", CPU, AS_IT_IS),
        ("auto", CUDA, GRAPHS),
        ("auto", torch.device("mps"), AS_IT_IS),
        ("plain", CUDA, AS_IT_IS),
        ("compiled", CUDA, GRAPHS),
        ("compiled", CPU, AS_IT_IS),
    ],
)
def test_the_choice(name, device, expected, caplog, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", None)
    with caplog.at_level(logging.WARNING):
        assert choose_live_speed(name, device) == expected
    told = "speed compiled of LivePortrait needs a CUDA device, this is cpu: plain is used"
    assert caplog.messages == ([told] if (name, device) == ("compiled", CPU) else [])


def test_rocm_is_compiled_by_name_alone(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert [choose_live_speed(name, CUDA) for name in LIVE_SPEEDS] == [AS_IT_IS, AS_IT_IS, GRAPHS]


@pytest.mark.parametrize("name", ["fp8", "rtx", ""])
def test_speeds_of_the_other_system_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=f"LivePortrait runs at speed auto, plain, compiled, got '{name}': choose"):
        LivePortraitEngine(tmp_path, CPU, torch.float32, speed=name).load()


def test_graphs_give_the_same_numbers(model):
    """Recorded at the second call of a shape, replayed from then on, with the values of each call."""
    fast = with_live_speed(model, GRAPHS, Tools(recorder=Tape))
    for seed in range(4):
        for ours, plain in zip(calls(fast, seed=seed), calls(model, seed=seed), strict=True):
            assert torch.equal(ours, plain)
    tapes = fast.run.work.recorders
    assert set(tapes) == {extract_volume, read_heads, draw_frames}
    assert [tape.recorded for tape in tapes.values()] == [1, 1, 1]
    assert [tape.replayed for tape in tapes.values()] == [3, 3, 3]


def test_results_are_not_changed_by_later_calls(model):
    fast = with_live_speed(model, GRAPHS, Tools(recorder=Tape))
    kept = [calls(fast, seed=seed) for seed in range(3)]
    for seed, found in enumerate(kept):
        assert all(torch.equal(ours, plain) for ours, plain in zip(found, calls(model, seed=seed), strict=True))


def test_the_last_frames_of_a_clip_run_plain(model):
    fast = with_live_speed(model, GRAPHS, Tools(recorder=Tape))
    for frames in (4, 4, 1, 1):
        calls(fast, frames=frames)
    assert fast.run.work.recorders[draw_frames].recorded == 1


def test_weights_that_a_host_has_elsewhere_run_plain(model):
    placed = replace(model, placement=Placement(CPU, torch.float32, lambda _: None))
    fast = with_live_speed(placed, GRAPHS, Tools(recorder=Tape))
    for _ in range(3):
        calls(fast)
    assert not fast.run.prepared


def test_plain_is_as_it_is(model):
    assert with_live_speed(with_live_speed(model, GRAPHS), AS_IT_IS).run is None


def test_the_engine_runs_at_its_speed(model, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(liveportrait_engine, "load_live", lambda *_: model)
    monkeypatch.setattr(liveportrait_engine, "choose_live_speed", lambda *given: asked.append(given) or GRAPHS)
    assert LivePortraitEngine(tmp_path, CPU, torch.float32, speed="compiled").load().run.work.speed == GRAPHS
    assert asked == [("compiled", CPU)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_decoder_with_its_channels_last(dtype):
    """As half precision runs on CUDA: convolutions and norms keep the order."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = SpadeDecoder(SpadeConfig(features=6, middle=8, blocks=2, widths=(6, 4), hidden=4, folded=True)).eval()
    features = drawn(2, 6, 8, 8)
    with torch.inference_mode():
        expected = decoder(features)
        last = arranged(decoder.to(dtype), CUDA)
        assert last.fc.weight.is_contiguous(memory_format=torch.channels_last)
        seen = []
        last.fc.register_forward_hook(lambda _layer, _given, made: seen.append(made.stride(1)))
        found = last(features.to(dtype, memory_format=torch.channels_last))
    assert seen == [1]
    assert (found.float() - expected).abs().max() < 0.03


def test_what_is_not_rearranged():
    layer = nn.Conv2d(4, 4, 3)
    assert arranged(layer.half(), CUDA) is layer
    assert layer.weight.is_contiguous()
    decoder = SpadeDecoder(SpadeConfig(features=4, middle=4, blocks=1, widths=(4,), hidden=4, folded=True))
    assert arranged(decoder, CUDA).fc.weight.is_contiguous()
    assert arranged(decoder.half(), CPU).fc.weight.is_contiguous()
