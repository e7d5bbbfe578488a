"""The choice of speed, and the runner: prepared when a shape repeats, never stale, plain after any failure."""

import copy
import logging
import os
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from personalive_core.backends.personalive.lora import Lora, with_lora
from personalive_core.backends.personalive.model import PersonaLive
from personalive_core.backends.personalive.speed import cache, fp8, prepare
from personalive_core.backends.personalive.speed.choice import (
    AS_IT_IS,
    COMPILED,
    GRAPHS,
    IN_FP8,
    RTX,
    SPEEDS,
    Machine,
    choose_speed,
)
from personalive_core.backends.personalive.speed.graphs import Recording
from personalive_core.backends.personalive.speed.prepare import Tools
from personalive_core.backends.personalive.speed.runner import MOST_PREPARED, Runner, with_speed
from personalive_core.backends.personalive.speed.units import opaque_kernels
from personalive_core.backends.personalive.speed.values import fewer_frames, shape_of
from personalive_core.backends.personalive.stages import guide, predict_noise, read_faces
from personalive_core.backends.personalive.types import Reference
from personalive_core.backends.placement import Placement
from personalive_core.errors import InputError
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.unet import UNet, UNetConfig
from personalive_core.text import warn_once

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
WIDTHS = (32, 32)
FRAMES, SIDE = 4, 4
ABLE = Machine(lambda _: (9, 0), lambda: True, lambda: "", lambda: True, "2.11.0+cu130", None)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _said_anew():
    warn_once.cache_clear()


@pytest.fixture(scope="module")
def model(standin):
    """With a denoising UNet of few layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return replace(standin, denoising_unet=UNet(UNetConfig(WIDTHS, layers=1)).eval())


class Tape:
    """Records as CUDA does, by running anew into the outputs of the recording."""

    def __init__(self, _device=CPU):
        self.recorded = self.replayed = self.turns = 0

    def record(self, run):
        self.recorded += 1
        outputs = run()

        def replay():
            self.replayed += 1
            for old, new in zip(flat(outputs), flat(run()), strict=True):
                old.copy_(new)

        return replay, outputs

    @contextmanager
    def in_turn(self):
        self.turns += 1
        yield


def flat(value):
    return [value] if isinstance(value, torch.Tensor) else [leaf for part in value for leaf in flat(part)]


class Compiler:
    """Compiles nothing, and counts what it was asked for."""

    def __init__(self):
        self.asked = 0

    def __call__(self, function):
        self.asked += 1
        return function


def tools(**more):
    return Tools(**{"compile": Compiler(), "recorder": Tape, "kept": False, **more})


def fast(model, speed=COMPILED, progress=None, **more):
    return with_speed(model, speed, progress, tools(**more))


def denoising(model, keyframes=1, batch=1, side=SIDE, seed=0):
    """The model's predicted noise for a small input of its own."""
    draw = lambda *shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))  # noqa: E731
    motion = MotionFeatures(draw(batch, FRAMES, 32, 16), draw(batch, FRAMES, WIDTHS[0], side, side))
    lengths = [side**2, side**2 // 4, side**2, side**2]  # of its transformers: down, middle, up
    features = tuple((draw(batch, keyframes * n, 32), draw(batch, keyframes * n, 32)) for n in lengths)
    context = tuple(draw(batch, 1, 32) for _ in lengths)
    reference = Reference(draw(batch, 4, side, side), draw(batch, 1, 768), context, features, None, None)
    levels = torch.arange(FRAMES) * 333
    with torch.inference_mode():
        return model.denoise(draw(batch, FRAMES, 4, side, side), levels, reference, motion, features)


def prepared(model):
    return model.run.prepared


# the choice


@pytest.mark.parametrize(
    ("name", "device", "machine", "expected"),
    [
        ("auto", CPU, ABLE, AS_IT_IS),
        ("auto", CUDA, ABLE, COMPILED),
        ("auto", torch.device("mps"), ABLE, AS_IT_IS),
        ("auto", CUDA, replace(ABLE, hip="6.2"), AS_IT_IS),
        ("auto", CUDA, replace(ABLE, triton=lambda: False), GRAPHS),
        ("plain", CUDA, ABLE, AS_IT_IS),
        ("compiled", CUDA, ABLE, COMPILED),
        ("compiled", CUDA, replace(ABLE, compiler=lambda: "there is no C compiler, install gcc"), GRAPHS),
        ("compiled", CUDA, replace(ABLE, version="2.5.1"), GRAPHS),
        ("compiled", CUDA, replace(ABLE, capability=lambda _: (6, 1)), GRAPHS),
        ("compiled", CPU, ABLE, replace(COMPILED, graphs=False)),
        ("compiled", CPU, replace(ABLE, compiler=lambda: "there is no C compiler, install gcc"), AS_IT_IS),
        ("compiled", torch.device("mps"), ABLE, AS_IT_IS),
        ("fp8", CUDA, ABLE, IN_FP8),
        ("fp8", CUDA, replace(ABLE, capability=lambda _: (8, 6)), COMPILED),
        ("fp8", CPU, ABLE, AS_IT_IS),
        ("rtx", CUDA, ABLE, RTX),
        ("rtx", CPU, ABLE, AS_IT_IS),
    ],
)
def test_choice(name, device, machine, expected, caplog):
    """What was asked for and cannot be had is said; what auto leaves out on a CPU is not."""
    wanted = {
        "auto": COMPILED if device == CUDA and not machine.hip else AS_IT_IS,
        "plain": AS_IT_IS,
        "compiled": COMPILED,
    }
    wanted |= {"fp8": IN_FP8, "rtx": RTX}
    assert choose_speed(name, device, machine) == expected
    quiet = expected == wanted[name] or ((name, device) == ("compiled", CPU) and expected.compiles)
    assert len(caplog.records) == (0 if quiet else 1)


def test_the_reason_is_said_once(caplog):
    for _ in range(2):
        choose_speed("fp8", CUDA, replace(ABLE, capability=lambda _: (8, 6)))
    (record,) = caplog.records
    assert record.getMessage() == (
        "speed fp8 needs an NVIDIA card of compute capability 8.9, this one has 8.6: speed compiled is used"
    )


def test_an_unknown_speed():
    with pytest.raises(InputError, match="unknown speed 'fast': use auto, plain, compiled, fp8, rtx"):
        choose_speed("fast", CPU)


def test_rtx_without_its_package():
    with pytest.raises(InputError, match=r"run `pip install \.\[rtx\]`"):
        choose_speed("rtx", CUDA, replace(ABLE, rtx=lambda: False))


@pytest.mark.parametrize("name", ["auto", "plain"])
def test_plain_is_no_runner(model, name):
    assert with_speed(model, choose_speed(name, CPU)).run is None
    assert set(SPEEDS) == {"auto", "plain", "compiled", "fp8", "rtx"}


# the runner


def test_a_shape_runs_plain_once_then_it_is_prepared(model):
    sped, expected = fast(model), denoising(model)
    assert torch.equal(denoising(sped), expected)
    assert not prepared(sped)
    second, third = denoising(sped), denoising(sped)
    (ready,) = prepared(sped).values()
    assert ready.call.recorder.recorded == 1
    assert ready.call.recorder.replayed == 2
    assert torch.allclose(second, expected, atol=1e-5)
    assert torch.equal(second, third)


def test_networks_and_model_stay_as_they_are(model):
    before = [type(module) for module in model.denoising_unet.modules()]
    sped = fast(model)
    for _ in range(2):
        denoising(sped)
    assert [type(module) for module in model.denoising_unet.modules()] == before
    assert model.run is None
    assert sped.denoising_unet is model.denoising_unet


def test_results_are_of_their_own_memory(model):
    sped = fast(model)
    denoising(sped)
    first = denoising(sped)
    kept = first.clone()
    other = denoising(sped, seed=7)
    assert torch.equal(first, kept)
    assert not torch.allclose(first, other)
    assert torch.allclose(other, denoising(model, seed=7), atol=1e-5)


def test_blocks_of_a_kind_are_compiled_once_for_any_number_of_keyframes(model):
    compiler = Compiler()
    sped = fast(model, compile=compiler)
    for keyframes in (1, 2, 3):
        for _ in range(2):
            result = denoising(sped, keyframes)
        assert torch.allclose(result, denoising(model, keyframes), atol=1e-5)
        if keyframes == 1:
            asked = compiler.asked
    layers = [m for m in model.denoising_unet.modules() if type(m).__name__ in ("Resnet", "MotionTransformer")]
    assert 0 < compiler.asked == asked < len(layers)
    assert len(prepared(sped)) == 3


def test_progress_counts_the_kinds_and_ends(model):
    told = []
    sped = fast(model, progress=lambda done, total: told.append((done, total)))
    for _ in range(3):
        denoising(sped)
    assert [done for done, _ in told] == list(range(len(told)))
    assert told[-1][0] == told[-1][1]
    assert all(one < total for one, total in told[:-1])


def test_cancel_ends_the_call_and_the_next_one_goes_on(model):
    told = []

    def progress(done, _total):
        told.append(done)
        if len(told) == 3:
            raise KeyboardInterrupt

    compiler = Compiler()
    sped = fast(model, progress=progress, compile=compiler)
    denoising(sped)
    with pytest.raises(KeyboardInterrupt):
        denoising(sped)
    assert compiler.asked == 2
    assert torch.allclose(denoising(sped), denoising(model), atol=1e-5)
    assert told[:4] == [0, 1, 2, 2]


def test_what_cannot_be_compiled_runs_plain_and_says_so_once(model, caplog):
    def broken(_function):
        def run(*_):
            raise RuntimeError("no kernel for this\nand a long trace")

        return run

    sped = fast(model, compile=broken)
    for _ in range(3):
        assert torch.allclose(denoising(sped), denoising(model), atol=1e-5)
    said = {record.getMessage() for record in caplog.records}
    assert "blocks of the kind Resnet run without a compiler, which failed: RuntimeError: no kernel for this" in said
    assert len(said) == len(caplog.records) == 4  # one for each class


def test_what_cannot_be_compiled_anew_runs_plain_and_says_so_once(model, caplog):
    """A later call may need other code, as for another number of keyframes."""
    tried = []

    def once(function):
        calls = []

        def run(layer, *inputs, **named):
            calls.append(layer)
            if len(calls) > 1:
                tried.append(layer)
                raise RuntimeError("no other kernel")
            return function(layer, *inputs, **named)

        return run

    sped = fast(model, compile=once)
    for _ in range(4):
        assert torch.allclose(denoising(sped), denoising(model), atol=1e-5)
    said = {record.getMessage() for record in caplog.records}
    assert "blocks of the kind Resnet run without a compiler, which failed: RuntimeError: no other kernel" in said
    assert len(said) == len(caplog.records)
    assert tried
    assert len(tried) <= len(sped.run.work.kinds.compiled)


def test_what_cannot_be_recorded_runs_without_a_graph_and_says_so_once(model, caplog):
    class Jammed(Tape):
        def record(self, _run):
            raise RuntimeError("operation not permitted when stream is capturing")

    sped = fast(model, recorder=Jammed)
    for _ in range(3):
        assert torch.allclose(denoising(sped), denoising(model), atol=1e-5)
    (record,) = caplog.records
    assert "predict_noise runs without a CUDA graph, which failed: RuntimeError: operation not" in record.getMessage()


@dataclass(frozen=True)
class Functions:
    """A set of fused functions, as `ops` may bring one."""

    frames: Callable = lambda *_: "plain"
    attention: Callable = lambda *_: "plain"
    add: Callable = lambda *_: "plain"


def over_frames(q, k, v, heads, frames, attend):
    return q + k + v + heads + frames + attend(q, k, v)


def over_tokens(q, k, v, heads, attend):
    return q - k - v - heads - attend(q, k, v)


def test_fused_attention_stays_one_operator_and_the_rest_is_left_to_the_compiler():
    fused = Functions(over_frames, over_tokens, lambda *_: "fused")
    made = opaque_kernels(fused, lambda q, *_: q * 100)
    q, k, v = torch.ones(2, 3, 4), torch.full((2, 3, 4), 2.0), torch.full((2, 3, 4), 3.0)
    assert made.frames(q, k, v, 10, 20, None).unique().tolist() == [6 + 30 + 100]
    assert made.attention(q, k, v, 10, None).unique().tolist() == [-4 - 10 - 100]
    assert made.add() == "plain"
    with FakeTensorMode():
        empty = torch.empty(5, 3, 8)
        assert made.frames(empty, empty, empty, 2, 5, None).shape == (5, 3, 8)


def test_other_stages_run_in_graphs_alone(model):
    compiler = Compiler()
    sped, crops = fast(model, compile=compiler), torch.rand(1, 3, 224, 224) * 2 - 1
    with torch.inference_mode():
        results = [sped.embed_faces(crops) for _ in range(3)]
        assert torch.equal(results[2], model.embed_faces(crops))
    assert [key[0] for key in prepared(sped)] == [read_faces]
    assert compiler.asked == 0


@pytest.mark.parametrize("decoder", ["full", "tiny"])
def test_decoders(model, decoder):
    model = model if decoder == "tiny" else replace(model, tiny_vae=None)
    sped, latents = fast(model), torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        results = [sped.decode(latents) for _ in range(3)]
        assert torch.allclose(results[2], model.decode(latents), atol=1e-5)
        few = sped.decode(latents[:, :2]), sped.decode(latents[:, :2])
        assert torch.allclose(few[1], model.decode(latents[:, :2]), atol=1e-5)
    assert len(prepared(sped)) == 1  # the last frames of a clip are not worth it


def test_fewer_frames_that_go_on_coming_are_no_end_of_a_clip(model):
    """A live session's single frames, after the windows of a film."""
    sped = fast(model)
    with torch.inference_mode():
        for frames in (4, 4, 1, 1, 4, 1, 1, 4):  # two parts of a window that does not fit into memory, too
            sped.run(guide, (sped.pose_guider,), (torch.zeros(frames, 3, 8, 8),), ())
        assert len(prepared(sped)) == 1
        for _ in range(3):
            sped.run(guide, (sped.pose_guider,), (torch.zeros(1, 3, 8, 8),), ())
    assert len(prepared(sped)) == 2


def test_fewer_frames():
    four, two = torch.zeros(4, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    shapes = [shape_of((tensor,)) for tensor in (four, two, torch.zeros(2, 3, 8, 4), four.double())]
    assert fewer_frames(shapes[1], shapes[0])
    assert not any(fewer_frames(shape, shapes[0]) for shape in (shapes[0], shapes[2], shapes[3]))
    assert not fewer_frames(shapes[0], shapes[1])
    assert not fewer_frames(shape_of((two, 3)), shape_of((four, 4)))


def test_training_runs_plain(model):
    sped, drawing = fast(model), torch.zeros(1, 3, 8, 8)
    for _ in range(3):
        made = sped.run(guide, (sped.pose_guider,), (drawing,), ())
    assert made.requires_grad == any(weight.requires_grad for weight in model.pose_guider.parameters())
    assert not prepared(sped)


def test_results_outside_of_inference_mode_are_usual_tensors(model):
    drawing = torch.zeros(1, 3, 8, 8)
    for speed in (COMPILED, replace(COMPILED, graphs=False)):
        sped = fast(model, speed)
        with torch.no_grad():
            made = [sped.run(guide, (sped.pose_guider,), (drawing,), ()) for _ in range(3)]
        assert not made[2].is_inference()


# never stale


def changed(weight, by):
    """A new tensor with other values."""
    return nn.Parameter(weight.detach() + by, requires_grad=weight.requires_grad)


@pytest.fixture
def own(model):
    """A model whose weights a test may change."""
    return replace(model, denoising_unet=copy.deepcopy(model.denoising_unet))


def in_place(conv):
    with torch.no_grad():
        conv.bias.add_(0.5)


def by_data(conv):
    conv.bias.data = conv.bias.data + 0.5


def by_parameter(conv):
    conv.bias = changed(conv.bias, 0.5)


def test_fp8_quantises_changed_weights_anew(own, monkeypatch):
    """A change in place, which graphs see by themselves, but a copy does not."""
    monkeypatch.setattr(fp8, "NARROWEST", 32)
    monkeypatch.setattr(fp8, "WIDEST_SIDE", 128)
    sped = fast(own, IN_FP8)
    before = [denoising(sped) for _ in range(3)][2]
    (_, (made,)) = next(iter(sped.run.work.twins.values()))
    wide = [module for module in made.modules() if isinstance(module, fp8.Fp8Linear)]
    assert wide
    assert all(module.weight8 is not None for module in wide)
    with torch.no_grad():
        for module in own.denoising_unet.modules():
            if type(module).__name__ == "FeedForward":
                module.net[2].weight.mul_(-3)
    after, expected = denoising(sped), denoising(own)
    assert (after - expected).std() < 0.1 * expected.std()
    assert (before - expected).std() > 0.3 * expected.std()


@pytest.mark.parametrize("change", [in_place, by_data, by_parameter])
@pytest.mark.parametrize(
    "speed", [COMPILED, IN_FP8, replace(COMPILED, graphs=False)], ids=["graphs", "fp8", "compiled"]
)
def test_changed_weights_are_seen(own, change, speed):
    """As ComfyUI changes them for a LoRA; the layer is in a compiled block."""
    sped = fast(own, speed)
    before = [denoising(sped) for _ in range(3)][2]
    change(own.denoising_unet.down_blocks[0].resnets[0].conv2)
    after = [denoising(sped) for _ in range(3)]
    expected = denoising(own)
    assert not torch.allclose(before, expected, atol=1e-2)
    assert all(torch.allclose(one, expected, atol=1e-5) for one in after)


def test_a_lora_has_networks_of_its_own(model):
    path = "mid_block.attentions.0.transformer_blocks.0.ff.net.2"
    weight = model.denoising_unet.get_parameter(f"{path}.weight")
    pair = torch.linspace(-1, 1, weight.shape[1])[None], torch.linspace(-1, 1, len(weight))[:, None]
    sped = fast(model)
    adapted = with_lora(sped, Lora({"denoising_unet": {path: pair}}, 1.0), 0.1)
    for _ in range(3):
        plain, with_it = denoising(sped), denoising(adapted)
    assert torch.allclose(plain, denoising(model), atol=1e-5)
    assert torch.allclose(with_it, denoising(replace(adapted, run=None)), atol=1e-5)
    assert not torch.allclose(plain, with_it, atol=1e-3)
    assert len(sped.run.work.twins) == 2, "both are compiled"


def placed(model, token):
    return replace(model, placement=Placement(CPU, torch.float32, lambda _: None, token))


def test_a_new_token_prepares_anew(own):
    """A host's word that values changed where no address shows it."""
    tokens = ["one"]
    sped = placed(fast(own), lambda _: tokens[0])
    for _ in range(3):
        denoising(sped)
    (first,) = prepared(sped).values()
    tokens[0] = "two"
    denoising(sped)
    (second,) = prepared(sped).values()
    assert first is not second
    assert second.token == "two"


def test_what_was_made_of_old_weights_is_gone_before_it_is_made_anew(own):
    """Otherwise both graphs would take memory at once."""
    living, found = weakref.WeakSet(), []

    class Noted(Tape):
        def record(self, run):
            found.append(len(living))
            replay, outputs = super().record(run)
            living.add(replay)
            return replay, outputs

    tokens = ["one"]
    sped = placed(fast(own, recorder=Noted), lambda _: tokens[0])
    for token in ("one", "one", "two"):
        tokens[0] = token
        denoising(sped)
    assert found == [0, 0]


def test_weights_elsewhere_run_plain_until_they_are_back(own, caplog):
    """ComfyUI's partial load: None for weights that are not there."""
    tokens = [None]
    sped = placed(fast(own), lambda _: tokens[0])
    for _ in range(3):
        denoising(sped)
    assert not prepared(sped)
    (record,) = caplog.records
    assert record.getMessage() == (
        "predict_noise runs plain: the host program has weights elsewhere, or adds to them as it uses them"
    )
    tokens[0] = "there"
    for _ in range(2):
        denoising(sped)
    assert prepared(sped)
    tokens[0] = None
    denoising(sped)
    assert not prepared(sped)


def test_weights_of_another_device_run_plain(model, caplog):
    sped = fast(model)
    elsewhere = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, device="meta")])

    def stage(network, x):
        return network[0](x)

    with torch.inference_mode():
        for _ in range(3):
            sped.run(stage, (elsewhere,), (torch.zeros(1, 2),), ())
    assert not prepared(sped)
    assert "weights are on meta, its input is on cpu" in caplog.text


def test_weights_in_fewer_bits_run_plain(model, caplog):
    sped = fast(model)
    small = nn.Linear(2, 2).to(torch.float8_e4m3fn)
    with torch.inference_mode():
        for _ in range(3):
            sped.run(lambda_stage, (small,), (torch.zeros(1, 2),), ())
    assert "stored in fewer bits" in caplog.text


def lambda_stage(_network, x):
    return x + 1


def test_a_hosts_own_vae_runs_plain(model):
    class Vae:
        pass

    sped = fast(model)
    with torch.inference_mode():
        for _ in range(3):
            assert sped.run(lambda_stage, (Vae(),), (torch.zeros(1),), ()) == 1
    assert not prepared(sped)


def test_each_size_batch_and_number_of_keyframes_has_its_own(model):
    sped = fast(model)
    for more in ({}, {"side": 8}, {"batch": 2}, {"keyframes": 2}):
        for _ in range(2):
            result = denoising(sped, **more)
        assert torch.allclose(result, denoising(model, **more), atol=1e-5)
    assert len(prepared(sped)) == 4


def test_the_oldest_is_dropped(model):
    sped = fast(model)
    with torch.inference_mode():
        for frames in range(1, MOST_PREPARED + 3):
            for _ in range(2):
                sped.run(guide, (sped.pose_guider,), (torch.zeros(frames, 3, 8, 8),), ())
    assert len(prepared(sped)) == MOST_PREPARED
    frames = [key[2][0][0][0] for key in prepared(sped)]
    assert frames == list(range(3, MOST_PREPARED + 3))


def test_release_frees_and_works_on(model):
    sped = fast(model)
    for _ in range(2):
        denoising(sped)
    sped.run.release()
    assert not prepared(sped)
    assert not sped.run.work.twins
    for _ in range(2):
        assert torch.allclose(denoising(sped), denoising(model), atol=1e-5)


def test_what_was_made_of_one_network_can_be_freed_alone(model):
    sped = fast(model)
    for _ in range(2):
        denoising(sped)
        with torch.inference_mode():
            sped.decode(torch.ones(1, 1, 4, SIDE, SIDE))
    assert len(prepared(sped)) == len(sped.run.work.twins) == 2
    assert sped.run.forget(model.denoising_unet)
    assert [key[0].__name__ for key in prepared(sped)] == ["decode_tiny"]
    assert [key[0].__name__ for key in sped.run.work.twins] == ["decode_tiny"]
    assert not sped.run.forget(model.denoising_unet), "there is nothing left of it"
    for expected in (1, 2):
        assert torch.allclose(denoising(sped), denoising(model), atol=1e-5)
        assert len(prepared(sped)) == expected, "plain once, as at first"


def test_old_weights_are_not_kept_when_a_host_takes_them_away(model):
    tokens = ["loaded"] * 2 + [None]
    placement = Placement(CPU, torch.float32, lambda _: None, lambda _: tokens.pop(0))
    sped = fast(replace(model, placement=placement))
    for expected in (0, 1, 0):
        denoising(sped)
        assert len(prepared(sped)) == len(sped.run.work.twins) == expected


def test_dropped_networks_are_not_taken_for_others(model):
    """Even if a new network got the identity of one that is gone."""
    sped = fast(model)
    for _ in range(2):
        denoising(sped)
    other = copy.deepcopy(model.denoising_unet)
    (ready,) = prepared(sped).values()
    assert ready.fits((model.denoising_unet,), ())
    assert not ready.fits((other,), ())


def test_recording_copies_in_and_out():
    tape = Tape()
    recording = Recording(
        lambda x, pair: (x + pair[0], pair[1] * 2), (torch.zeros(2), (torch.ones(2), torch.ones(1))), tape
    )
    added, doubled = recording((torch.full((2,), 3.0), (torch.ones(2), torch.full((1,), 5.0))))
    assert added.tolist() == [4, 4]
    assert doubled.tolist() == [10]
    assert (tape.recorded, tape.replayed, tape.turns) == (1, 1, 2)


def test_two_stages_share_no_memory(model):
    """They may run at the same time, on two streams."""
    sped = fast(model)
    for _ in range(2):
        denoising(sped)
        with torch.inference_mode():
            sped.run(guide, (sped.pose_guider,), (torch.zeros(1, 3, 8, 8),), ())
    tapes = sped.run.work.recorders
    assert tapes[predict_noise] is not tapes[guide]


# rtx, and the kernels on disk


def test_rtx_runs_the_whole_stage_and_falls_back(model, caplog):
    sped = fast(model, RTX, rtx=lambda body: body)
    for _ in range(3):
        assert torch.equal(denoising(sped), denoising(model))
    assert prepared(sped)

    def broken(_body):
        def run(*_):
            raise RuntimeError("no engine")

        return run

    sped = fast(model, RTX, rtx=broken)
    for _ in range(3):
        assert torch.equal(denoising(sped), denoising(model))
    (record,) = caplog.records
    assert record.getMessage() == "predict_noise runs plain, TensorRT-RTX failed: RuntimeError: no engine"


def test_kernels_are_loaded_before_compiling_and_saved_after_it(model, monkeypatch, tmp_path):
    """Saved even if some were loaded, for those may be of other settings; one file for any number of keyframes."""
    monkeypatch.setenv("PERSONALIVE_CACHE", str(tmp_path))
    done, compiler = [], Compiler()
    monkeypatch.setattr(prepare, "load_kernels", lambda path: done.append(("load", path, compiler.asked)) or True)
    monkeypatch.setattr(prepare, "save_kernels", lambda path: done.append(("save", path, compiler.asked)))
    sped = fast(model, kept=True, compile=compiler)
    for keyframes in (1, 2):
        for _ in range(3):
            denoising(sped, keyframes)
    assert [(what, asked) for what, _, asked in done] == [
        ("load", 0),
        ("save", compiler.asked),
        ("load", compiler.asked),
    ]
    assert len({path for _, path, _ in done}) == 1


def test_kernels_file_depends_on_all_that_matters(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSONALIVE_CACHE", str(tmp_path))
    one = cache.kernels_file(CPU, ("denoise", 512))
    assert one.parent == tmp_path
    assert one == cache.kernels_file(CPU, ("denoise", 512))
    assert one != cache.kernels_file(CPU, ("denoise", 256))
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert one != cache.kernels_file(CPU, ("denoise", 512))


def test_kernels_are_written_whole_and_the_oldest_go(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "KEPT", 2)
    monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: (b"kernels", None))
    given = []
    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", given.append)
    paths = [tmp_path / "new" / f"{i}{cache.KERNELS_SUFFIX}" for i in range(3)]
    for age, path in enumerate(paths):
        cache.save_kernels(path)
        for old in paths[: age + 1]:
            if old.exists():
                os.utime(old, (100 + int(old.stem), 100 + int(old.stem)))
    assert [path.exists() for path in paths] == [False, True, True]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [path.name for path in paths[1:]]
    cache.load_kernels(paths[1])
    assert given == [b"kernels"]
    assert not cache.load_kernels(paths[0])


def test_damaged_kernels_are_removed(monkeypatch, tmp_path, caplog):
    def load(_data):
        raise ValueError("damaged")

    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", load)
    path = tmp_path / "a.kernels"
    path.write_bytes(b"x")
    assert not cache.load_kernels(path)
    assert not path.exists()
    assert "made anew" in caplog.text


def test_kernels_that_cannot_be_written_only_warn(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: (b"kernels", None))
    (tmp_path / "file").write_bytes(b"")
    cache.save_kernels(tmp_path / "file" / "a.kernels")
    assert "compiled kernels are not kept" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_a_runner_is_a_run(model):
    assert isinstance(fast(model).run, Runner)


# really compiled, and on a GPU


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_inductor_gives_the_same_numbers(model, monkeypatch, tmp_path):
    """On the CPU, where it needs a C++ compiler; nothing is compiled again for more keyframes, or for new weights."""
    if not choose_speed("compiled", CPU).compiles:
        pytest.skip("no C compiler, or no Python.h: install gcc and python3-dev")
    monkeypatch.setenv("PERSONALIVE_CACHE", str(tmp_path))
    told = []
    sped = with_speed(model, choose_speed("compiled", CPU), lambda done, total: told.append((done, total)))
    torch._dynamo.utils.counters.clear()
    for keyframes in (1, 2):
        for _ in range(3):
            assert torch.allclose(denoising(sped, keyframes), denoising(model, keyframes), atol=1e-4)
        if keyframes == 1:
            graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    other = replace(sped, denoising_unet=copy.deepcopy(model.denoising_unet))
    for _ in range(3):
        denoising(other)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs == told[-1][1]
    assert not torch._dynamo.utils.counters["graph_break"]
    assert list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["compiled", "fp8"])
def test_on_a_gpu(synth, cases, name):
    """The small UNet of the recorded outputs in fp16: as plain within rounding, for one to three keyframes."""
    speed = choose_speed(name, CUDA)
    unet = synth.load_synth(UNet(UNetConfig(cases.SMALL_WIDTHS)), "denoising_unet.").to(CUDA, torch.float16)
    before = torch.cuda.memory_allocated()
    x, face = torch.randn(1, 16, 4, 16, 16), torch.randn(1, 16, 32, 16)
    pose, levels = torch.randn(1, 16, cases.SMALL_WIDTHS[0], 16, 16), torch.arange(16) * 62

    def placed(*tensors):
        return tuple(tensor.to(CUDA, torch.float16) for tensor in tensors)

    with torch.inference_mode():
        runner = with_speed(stub(unet), speed, tools=Tools(kept=False)).run
        for keyframes in (1, 2, 3, 1):
            tokens = [layer.block.attn1.to_k.in_features for layer in unet.transformers()]
            features = tuple(
                placed(torch.randn(1, 16 * keyframes, c), torch.randn(1, 16 * keyframes, c)) for c in tokens
            )
            context = placed(*(torch.randn(1, 1, c) for c in tokens))
            inputs = *placed(x), levels.to(CUDA), context, placed(face, pose), features
            plain = predict_noise(unet, *inputs).float()
            for _ in range(3):
                made = runner(predict_noise, (unet,), inputs, ()).float()
            error = (made - plain).square().mean().sqrt() / plain.std()
            assert error < (0.02 if name == "compiled" else 0.2), keyframes
        assert all(isinstance(ready.call, Recording) for ready in runner.prepared.values())
        assert len(runner.prepared) == 3
        runner.release()
    assert torch.cuda.memory_allocated() - before < 64 * 2**20


def stub(unet):
    """A model of which only the denoising UNet is used."""
    rest = ("reference_unet", "pose_guider", "motion_encoder", "motion_extractor", "vae", "image_encoder")
    return PersonaLive(denoising_unet=unet, **dict.fromkeys(rest))
