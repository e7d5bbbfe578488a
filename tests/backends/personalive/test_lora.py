"""LoRA: peft's format read and written, weights added without touching the given model, and adapters for training."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from personalive_core.animation.engine import Engine
from personalive_core.backends.personalive.lora import Lora, read_lora, save_lora, with_lora
from personalive_core.errors import InputError, WeightsError
from personalive_core.media.video import read_frames
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.training.adapters import Adapted, attach, trained_pairs

UNET, POSE = "denoising_unet", "pose_guider"
QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"  # Linear(64, 64) of the stand-in
KERNEL = "mid_block.resnets.0.conv1"  # Conv2d(64, 64, 3)
RANK, ALPHA = 3, 6.0  # a scale of 2

pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(kernel=False, seed=0):
    sides = ((3, 3), (1, 1)) if kernel else ((), ())
    return noise(RANK, 64, *sides[0], seed=seed), noise(64, RANK, *sides[1], seed=seed + 1)


@pytest.fixture
def lora():
    return Lora({UNET: {QUERY: pair(), KERNEL: pair(kernel=True)}}, ALPHA)


def keys(network, path):
    return [f"base_model.model.{network}.{path}.lora_{half}.weight" for half in "AB"]


def write(path, tensors, metadata=None):
    if tensors:
        save_file(tensors, path, metadata)
    else:  # safetensors before 0.4.4 writes a header that is no JSON then
        header = json.dumps({"__metadata__": metadata}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


@pytest.fixture
def tensors():
    """One pair, as peft names it in its files."""
    return dict(zip(keys(UNET, QUERY), pair(), strict=True))


def weight(model, path, network=UNET):
    return getattr(model, network).get_parameter(f"{path}.weight")


def moved(model, changed, path, network=UNET):
    return (weight(changed, path, network) - weight(model, path, network)).detach()


# --- adding


def test_a_matrix_gets_scaled_b_times_a(standin, lora):
    a, b = lora.pairs[UNET][QUERY]
    difference = moved(standin, with_lora(standin, lora, 0.5), QUERY)
    torch.testing.assert_close(difference, 0.5 * 2 * torch.einsum("or,ri->oi", b, a), atol=1e-5, rtol=1e-4)


def test_a_kernel_gets_what_the_two_convolutions_do(standin, lora):
    """The changed convolution against the unchanged one plus lora_A's and then lora_B's."""
    a, b = lora.pairs[UNET][KERNEL]
    x = noise(1, 64, 5, 5, seed=9)
    plain, changed = (weight(model, KERNEL) for model in (standin, with_lora(standin, lora, 1)))
    expected = functional.conv2d(x, plain, padding=1) + 2 * functional.conv2d(functional.conv2d(x, a, padding=1), b)
    torch.testing.assert_close(functional.conv2d(x, changed, padding=1), expected, atol=1e-3, rtol=1e-4)


def test_each_pairs_own_rank_counts(standin):
    """peft's rank_pattern: alpha is one number, ranks differ."""
    a, b = noise(1, 64), noise(64, 1, seed=1)
    wide = Lora({UNET: {QUERY: (torch.cat([a, 0 * a]), torch.cat([b, 0 * b], 1))}}, 1.0)
    narrow = Lora({UNET: {QUERY: (a, b)}}, 1.0)
    once, half = (moved(standin, with_lora(standin, lora, 1), QUERY) for lora in (narrow, wide))
    torch.testing.assert_close(once, 2 * half, atol=1e-6, rtol=1e-4)


def test_the_given_model_stays_and_shares_what_is_untouched(standin, lora):
    before = {key: value.clone() for key, value in standin.denoising_unet.state_dict().items()}
    changed = with_lora(standin, lora, 1)
    own, new = standin.denoising_unet.state_dict(), changed.denoising_unet.state_dict()
    assert all(torch.equal(own[key], value) for key, value in before.items())
    assert {key for key in own if own[key].data_ptr() != new[key].data_ptr()} == {
        f"{QUERY}.weight",
        f"{KERNEL}.weight",
    }
    assert changed.reference_unet is standin.reference_unet
    assert not changed.denoising_unet.training


def test_two_loras_on_one_model_do_not_disturb_each_other(standin, lora):
    other = Lora({UNET: {QUERY: pair(seed=5)}}, ALPHA)
    first = with_lora(standin, lora, 1)
    kept = weight(first, QUERY).clone()
    with_lora(standin, other, 1)
    both = with_lora(first, other, 1)
    assert torch.equal(weight(first, QUERY), kept)
    total = moved(standin, first, QUERY) + moved(standin, with_lora(standin, other, 1), QUERY)
    torch.testing.assert_close(moved(standin, both, QUERY), total, atol=1e-4, rtol=1e-4)


def test_strength_zero_changes_no_bit_and_the_sign_turns_round(standin, lora):
    assert with_lora(standin, lora, 0).denoising_unet is standin.denoising_unet
    plus, minus = (moved(standin, with_lora(standin, lora, s), QUERY) for s in (1, -1))
    torch.testing.assert_close(plus, -minus, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("held", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_sums_are_made_in_float32_and_held_as_before(standin, lora, held):
    a, b = lora.pairs[UNET][QUERY]
    network = copy.deepcopy(standin.denoising_unet)
    network.load_state_dict({f"{QUERY}.weight": weight(standin, QUERY).to(held)}, strict=False, assign=True)
    coarse = type(standin)(**{**vars(standin), UNET: network})
    changed = weight(with_lora(coarse, lora, 0.1), QUERY)
    assert changed.dtype == held
    expected = (weight(coarse, QUERY).float() + 0.1 * 2 * b @ a).to(held).float()
    step = torch.finfo(held).eps  # the order of summation may tip a value to its neighbour
    torch.testing.assert_close(changed.float(), expected, atol=1e-6, rtol=2 * step)
    assert (changed.float() != expected).float().mean() < 0.01


def test_kernels_keep_their_channels_last(standin, lora):
    assert weight(standin, KERNEL).is_contiguous(memory_format=torch.channels_last)
    assert weight(with_lora(standin, lora, 1), KERNEL).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("network", "path", "shapes", "words"),
    [
        (UNET, "mid_block.nothing", ((3, 64), (64, 3)), "has no layer mid_block.nothing"),
        (UNET, "mid_block.resnets.0.norm1", ((3, 64), (64, 3)), "with a matrix"),
        (UNET, QUERY, ((3, 1280), (1280, 3)), "lora_A [3, 1280]"),
        (UNET, QUERY, ((3, 64), (32, 3)), "lora_B [32, 3]"),
        (UNET, KERNEL, ((3, 64), (64, 3)), "[64, 64, 3, 3]"),
        (POSE, QUERY, ((3, 64), (64, 3)), "pose_guider has no layer"),
    ],
)
def test_a_lora_for_other_networks_is_refused_by_name(standin, network, path, shapes, words):
    lora = Lora({network: {path: tuple(map(torch.zeros, shapes))}}, ALPHA, "smile")
    with pytest.raises(WeightsError) as caught:
        with_lora(standin, lora, 0)
    assert words in str(caught.value)
    assert "LoRA smile does not fit" in str(caught.value)
    assert "choose one that was trained for" in str(caught.value)


# --- files


def test_a_folder_of_peft_is_read(tmp_path, tensors):
    """Keys, shapes and settings as peft 0.21 writes them."""
    tensors |= dict(zip(keys(UNET, KERNEL), pair(kernel=True), strict=True))
    tensors |= dict(zip(keys(POSE, "blocks.1"), (noise(2, 16, 3, 3), noise(32, 2, 1, 1)), strict=True))
    write(tmp_path / "adapter_model.safetensors", tensors, {"format": "pt"})
    settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "alpha_pattern": {}, "use_rslora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    for place in (tmp_path, tmp_path / "adapter_model.safetensors"):
        lora = read_lora(place)
        assert lora.alpha == 6
        assert {network: set(modules) for network, modules in lora.pairs.items()} == {
            UNET: {QUERY, KERNEL},
            POSE: {"blocks.1"},
        }
        assert torch.equal(lora.pairs[UNET][KERNEL][1], tensors[keys(UNET, KERNEL)[1]])


def test_what_is_saved_is_read_again(tmp_path, lora):
    save_lora(tmp_path / "smile.safetensors", lora)
    again = read_lora(tmp_path / "smile.safetensors")
    assert (again.alpha, again.name) == (ALPHA, "smile")
    for path, halves in lora.pairs[UNET].items():
        assert all(torch.equal(*both) for both in zip(again.pairs[UNET][path], halves, strict=True))
    assert set(load_file(tmp_path / "smile.safetensors")) == {*keys(UNET, QUERY), *keys(UNET, KERNEL)}


SAID = {"lora_alpha": "6"}


@pytest.mark.parametrize(
    ("change", "metadata", "words"),
    [
        (lambda t: t.clear(), SAID, "is empty"),
        (lambda t: t.update({"lora_unet_down.lora_up.weight": torch.zeros(2, 2)}), SAID, "lora_unet_down"),
        (lambda t: t.update({keys("vae", "x")[0]: torch.zeros(2, 2)}), SAID, "model.vae.x"),
        (lambda t: t.update({keys(UNET, "x")[0] + "s": torch.zeros(2, 2)}), SAID, "weights came"),
        (lambda t: t.pop(keys(UNET, QUERY)[1]), SAID, f"lacks lora_B of {UNET}.{QUERY}"),
        (lambda t: t.update({keys(UNET, QUERY)[0]: torch.zeros(2, 64)}), SAID, "lora_A [2, 64] and lora_B [64, 3]"),
        (lambda t: t.update({keys(UNET, QUERY)[0]: torch.zeros(64)}), SAID, "lora_A [64]"),
        (lambda t: t, None, "does not say its lora_alpha"),
        (lambda t: t, {"lora_alpha": "much"}, "not readable JSON"),
        (lambda t: t, {"lora_alpha": "null"}, "does not say its lora_alpha"),
        (lambda t: t, {"lora_alpha": "NaN"}, "does not say its lora_alpha"),
        (lambda t: t, {**SAID, "use_rslora": "true"}, "use_rslora, which is not supported"),
        (lambda t: t, {**SAID, "alpha_pattern": '{"to_q": 2}'}, "alpha_pattern, which is not supported"),
    ],
)
def test_a_broken_file_is_refused_with_a_remedy(tmp_path, tensors, change, metadata, words):
    change(tensors)
    path = write(tmp_path / "bad.safetensors", tensors, metadata)
    with pytest.raises(WeightsError) as caught:
        read_lora(path)
    assert words in str(caught.value)
    assert ": " in str(caught.value)


def test_settings_that_are_no_settings(tmp_path, tensors):
    path = write(tmp_path / "adapter_model.safetensors", tensors)
    (tmp_path / "adapter_config.json").write_text("[6]", encoding="utf-8")
    with pytest.raises(WeightsError, match="not readable JSON: save it again"):
        read_lora(path)


def test_no_lora_file(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"")
    for path in (tmp_path, tmp_path / "gone.safetensors", tmp_path / "weights.pth"):
        with pytest.raises(WeightsError, match="is no LoRA file: name a .safetensors file, or a folder that holds"):
            read_lora(path)
    (tmp_path / "cut.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_lora(tmp_path / "cut.safetensors")


# --- training


@pytest.fixture
def unet(standin):
    return copy.deepcopy(standin.denoising_unet)


def test_attach_starts_from_the_network_and_trains_the_lora_only(unet):
    x = noise(1, 64, 5, 5)
    layer = unet.get_submodule(KERNEL)
    before = layer(x).detach()
    attached = attach(unet, ("to_q", "conv1"), RANK, ALPHA, seed=1)
    assert attached is unet
    assert torch.equal(unet.get_submodule(KERNEL)(x), before)
    trained = {name for name, value in unet.named_parameters() if value.requires_grad}
    expected = {name for name, module in unet.named_modules() if isinstance(module, Adapted)}
    assert trained == {f"{name}.lora_{half}" for name in expected for half in "AB"}
    assert {name.rpartition(".")[2] for name in expected} == {"to_q", "conv1"}
    assert unet.get_submodule(KERNEL).weight is layer.weight


def test_targets_are_whole_parts_of_names():
    network = nn.ModuleDict(
        {"to_q": nn.Linear(2, 2), "q": nn.Linear(2, 2), "deep": nn.ModuleDict({"q": nn.Identity()})}
    )
    assert set(trained_pairs(attach(network, ("q",), 1, 1.0, 0))) == {"q"}


def test_the_seed_decides_how_it_starts(standin):
    def started(seed):
        return trained_pairs(attach(copy.deepcopy(standin.pose_guider), ("blocks.1", "blocks.3"), 2, 1.0, seed))

    before = torch.get_rng_state()
    one, again, other = started(1), started(1), started(2)
    assert torch.equal(torch.get_rng_state(), before)
    for path, (a, b) in one.items():
        assert torch.equal(a, again[path][0])
        assert not torch.equal(a, other[path][0])
        assert not b.any()
        assert 0 < a.abs().max() <= 1 / a[0].numel() ** 0.5  # kaiming-uniform with slope sqrt(5)
    assert len({tuple(a.flatten()[:4].tolist()) for a, _ in one.values()}) == 2


@pytest.mark.parametrize(("targets", "rank", "words"), [(("nobody",), 4, "named nobody"), (("to_q",), 0, "not 0")])
def test_attach_refuses(unet, targets, rank, words):
    with pytest.raises(InputError, match=words):
        attach(unet, targets, rank, 1.0, 0)


@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
def test_an_adapted_layer_answers_in_its_layers_type(held):
    network = attach(nn.ModuleDict({"layer": nn.Linear(4, 4)}).to(held), ("layer",), 2, 1.0, 0)
    assert network["layer"](torch.ones(1, 4, dtype=held)).dtype == held
    assert network["layer"].lora_A.dtype == torch.float32


def test_trained_saved_read_and_added_is_what_was_trained(standin, tmp_path):
    """Attached networks after a few steps against the same LoRA added to the weights; compared in float64."""
    attached = {
        POSE: attach(copy.deepcopy(standin.pose_guider), ("blocks.1", "blocks.2", "conv_out_modify"), 2, 4.0, 0),
        UNET: attach(copy.deepcopy(standin.denoising_unet), ("to_q", "conv_shortcut", "conv_in"), 2, 4.0, 0),
    }
    drawing, latents = noise(4, 3, 64, 64), noise(1, 4, 4, 8, 8)
    reference = noise(1, 1, 768)
    with torch.no_grad():
        tokens = standin.reference_unet.reference_tokens(latents[:, 0], reference)

    def run(model, dtype=torch.float32):
        unet, pose = model[UNET], model[POSE](drawing.to(dtype))[None]
        conditions = MotionFeatures(noise(1, 4, 32, 16).to(dtype), pose)
        keys = unet.project_reference([part.to(dtype) for part in tokens])
        return unet(latents.to(dtype), torch.zeros(4), unet.project_image(reference.to(dtype)), conditions, keys)

    with torch.no_grad():
        untrained = run(attached)
    trained = [value for network in attached.values() for value in network.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(trained, 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        run(attached).square().mean().backward()
        optimiser.step()
    save_lora(
        tmp_path / "lora.safetensors", Lora({name: trained_pairs(network) for name, network in attached.items()}, 4.0)
    )
    exact = {name: copy.deepcopy(getattr(standin, name)).double() for name in attached}
    added = with_lora(replace(standin, **exact), read_lora(tmp_path / "lora.safetensors"), 1)
    with torch.no_grad():
        expected = run({name: network.double() for name, network in attached.items()}, torch.float64)
        got = run(vars(added), torch.float64)
    assert (expected - untrained).abs().max() > 1e-2
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


# --- the command line


@pytest.mark.usefixtures("loaded")
def test_an_engine_adds_its_loras_in_turn(standin, standin_folder, lora):
    model = Engine(standin_folder, torch.device("cpu"), torch.float32, loras=((lora, 0.5), (lora, 1.0))).load()
    a, b = lora.pairs[UNET][QUERY]
    torch.testing.assert_close(moved(standin, model, QUERY), 1.5 * 2 * b @ a, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("loaded")
def test_animate_with_a_lora(personalive, standin_folder, sample, lora, tmp_path):
    save_lora(tmp_path / "smile.safetensors", lora)
    reference, driving = sample

    def animated(*options):
        made = ("--reference", reference, "--driving", driving, "--output", tmp_path / "out.mp4", "--lossless")
        outcome = personalive(
            "animate", "--weights", standin_folder, "--size", 64, "--frames", 1, "--device", "cpu", *made, *options
        )
        assert outcome.code == 0, outcome.err
        return next(read_frames(tmp_path / "out.mp4")).image

    plain = animated()
    chosen = ("--lora", tmp_path / "smile.safetensors")
    assert (animated(*chosen) != plain).any()
    assert (animated(*chosen, "--lora-strength", 0) == plain).all()


@pytest.fixture
def _no_work(monkeypatch):
    """Networks are not loaded, the driving and the portrait not opened."""
    for work in ("engine.load_model", "job.open_source", "job.open_portrait"):
        monkeypatch.setattr(f"personalive_core.animation.{work}", lambda *_, work=work, **__: pytest.fail(work))


@pytest.mark.parametrize(
    "wrong",
    [
        (("--lora", "gone.safetensors"), 4, "gone.safetensors is no LoRA file: name"),
        (("--lora-strength", "1"), 2, "--lora was given 0 times and --lora-strength 1 times: give one"),
        (("--lora", "a", "--lora", "b", "--lora-strength", "-1"), 2, "2 times and --lora-strength 1 times"),
        (("--lora", "a", "--lora-strength", "nan"), 2, "from -10 to 10"),
    ],
)
@pytest.mark.usefixtures("_no_work")
def test_a_wrong_lora_is_refused_before_any_work(personalive, sample, standin_folder, tmp_path, wrong):
    """Nothing is written either."""
    options, code, words = wrong
    reference, driving = sample
    output = tmp_path / "never.mp4"
    files = ("--reference", reference, "--driving", driving, "--output", output, "--weights", standin_folder)
    outcome = personalive("animate", *files, *options)
    assert outcome.code == code
    assert words in outcome.err
    assert not list(tmp_path.iterdir())
