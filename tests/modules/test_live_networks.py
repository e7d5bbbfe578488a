"""LivePortrait's networks: published keys and outputs, the folded form, sampling without grid_sample, hosts, types."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.modules import volumes, winograd
from personalive_core.modules.appearance import AppearanceConfig, AppearanceExtractor
from personalive_core.modules.dense_motion import WarpingConfig
from personalive_core.modules.folding import fold_masks, folded
from personalive_core.modules.fourier import FourierConv3d, plane_spectrum
from personalive_core.modules.keypoints import KeypointExtractor, rotation_matrix
from personalive_core.modules.repeated import interleaved, repeated_bias, summed_taps
from personalive_core.modules.retargeting import Perceptron, RetargetingConfig
from personalive_core.modules.spade import SpadeConfig, SpadeDecoder
from personalive_core.modules.spade_folding import fold_decoder
from personalive_core.modules.volumes import gather_volume, sample_volume, voxel_grid
from personalive_core.modules.warping import WarpingNetwork
from personalive_core.modules.winograd import (
    WinogradConv2d,
    WinogradConv3d,
    transform_weights,
    winograd_ops,
    winograd_weight,
)

PARITY = Path(__file__).parents[1] / "parity"
EXPECTED = np.load(PARITY / "liveportrait.npz")
TOLERANCE = 1e-4  # of the case's standard deviation
PREFIX = "liveportrait."
MLPS = {"stitching": 126, "lip": 65, "eye": 66}

SMALL = {
    "appearance_feature_extractor": (
        AppearanceExtractor,
        AppearanceConfig(widths=(4, 8, 8), depth=4, channels=4, blocks=2),
        lambda state, _: folded(state),
    ),
    "warping_module": (
        WarpingNetwork,
        WarpingConfig(channels=4, depth=4, keypoints=3, compressed=2, width=4, most=16, levels=2, out=8),
        lambda state, _: folded(state),
    ),
    "spade_generator": (
        SpadeDecoder,
        SpadeConfig(features=6, middle=8, blocks=2, widths=(6, 4), hidden=4),
        fold_decoder,
    ),
}
FULL = {
    "appearance_feature_extractor": AppearanceConfig(),
    "warping_module": WarpingConfig(),
    "spade_generator": SpadeConfig(),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module", autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def error(actual, expected):
    """The largest difference in standard deviations of `expected`."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / max(expected.std(), 1e-9)


def both_forms(synth, name, config=None, dtype=torch.float32):
    """The network as the checkpoint holds it and as it runs, with the same stand-in weights."""
    kind, small, fold = SMALL[name]
    config = config or small
    published = synth.load_synth(kind(config), f"{PREFIX}{name}.").to(dtype)
    runs = kind(replace(config, folded=True)).to(dtype).eval()
    runs.load_state_dict(fold(published.state_dict(), config))
    return published, runs


def small_inputs(synth, name, dtype=torch.float32):
    if name == "appearance_feature_extractor":
        return (synth.synth_input("small.picture", (2, 3, 32, 32), 0, 1).to(dtype),)
    if name == "spade_generator":
        return (synth.synth_input("small.features", (2, 6, 8, 8)).to(dtype),)
    points = synth.synth_input("small.points", (2, 3, 3), -0.5, 0.5)
    moved = points + 0.2 * synth.synth_input("small.moved", (2, 3, 3))
    return synth.synth_input("small.volume", (2, 4, 4, 16, 16)).to(dtype), points, moved


def tensor_of(result):
    return result if isinstance(result, torch.Tensor) else result.features


# --- published keys and outputs


@pytest.mark.parametrize("name", [*SMALL, "motion_extractor", *(f"stitching_retargeting_{mlp}" for mlp in MLPS)])
def test_keys_and_shapes_are_the_published_ones(name):
    config = RetargetingConfig()
    mlps = {"stitching": config.stitching, "lip": config.lips, "eye": config.eyes}
    with torch.device("meta"):
        if name in SMALL:
            network = SMALL[name][0](FULL[name])
        else:
            network = KeypointExtractor() if name == "motion_extractor" else Perceptron(mlps[name.rpartition("_")[2]])
    ours = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    ours.pop("idx_tensor", None)  # computed; PersonaLive's file holds it, this one does not
    assert ours == json.loads((PARITY / "keys" / f"{PREFIX}{name}.json").read_text())


@pytest.mark.parametrize("mlp", MLPS)
def test_published_perceptron(mlp, synth):
    config = RetargetingConfig()
    widths = {"stitching": config.stitching, "lip": config.lips, "eye": config.eyes}[mlp]
    network = synth.load_synth(Perceptron(widths), f"{PREFIX}stitching_retargeting_{mlp}.")
    found = network(synth.synth_input(f"lp.{mlp}", (3, MLPS[mlp])))
    assert error(found, EXPECTED[f"retarget/{mlp}"]) <= 1e-5


def test_published_rotation():
    angles = torch.tensor([[10.0, 30, -15], [-20, 5, 40]])
    assert np.abs(rotation_matrix(angles).numpy() - EXPECTED["rotation"]).max() < 1e-6


def test_published_motion(synth):
    extractor = synth.load_synth(KeypointExtractor(), f"{PREFIX}motion_extractor.")
    heads = extractor.detector
    for name, shape in (("source", (1, 3, 256, 256)), ("driving", (2, 3, 256, 256))):
        features = heads(synth.synth_input(f"lp.{name}", shape, 0, 1))
        for head in ("pitch", "yaw", "roll", "t", "exp", "scale", "kp"):
            expected = EXPECTED[f"motion/{name}/{head}"]
            found = getattr(heads, f"fc_{head}")(features)
            assert np.abs(found.numpy() - expected).max() <= 2e-5 * max(expected.std(), 1), (name, head)
        assert torch.equal(extractor.expression(features).flatten(1), heads.fc_exp(features))


def test_published_feature_volume(synth):
    picture = synth.synth_input("lp.source", (1, 3, 256, 256), 0, 1)
    _, runs = both_forms(synth, "appearance_feature_extractor", AppearanceConfig())
    volume = runs(picture)
    assert error(volume[:, :8, ::4, ::8, ::8], EXPECTED["feature_volume/patch"]) <= TOLERANCE / 10
    assert error(volume.mean((3, 4)), EXPECTED["feature_volume/mean"]) <= TOLERANCE / 10


@pytest.mark.slow
@pytest.mark.parametrize("on_cpu", [False, True], ids=["as on a GPU", "as on a CPU"])
def test_published_picture(on_cpu, synth):
    """The warping network and the decoder in published sizes, as they run."""
    volume = synth.synth_input("lp.feature_volume", (1, 32, 16, 64, 64))
    source = synth.synth_input("lp.kp_source", (1, 21, 3), -0.5, 0.5)
    driving = source + 0.1 * synth.synth_input("lp.kp_delta", (1, 21, 3))
    published, _ = both_forms(synth, "warping_module", WarpingConfig())
    ops = winograd_ops() if on_cpu else nn
    warping = WarpingNetwork(WarpingConfig(folded=True, fourier=on_cpu), ops).eval()
    state = folded(published.state_dict())
    warping.load_state_dict(transform_weights(warping, fold_masks(state)) if on_cpu else state)
    warped = warping(volume, source, driving)
    found = {
        "warp/out_patch": warped.features[:, ::16, ::8, ::8],
        "warp/out_mean": warped.features.mean((2, 3)),
        "warp/occlusion_map": warped.occlusion[..., ::4, ::4],
        "warp/deformation": warped.deformation[:, ::4, ::8, ::8],
    }
    for name, value in found.items():
        assert error(value, EXPECTED[name]) <= TOLERANCE / 2, name
    published = synth.load_synth(SpadeDecoder(), f"{PREFIX}spade_generator.").state_dict()
    decoder = SpadeDecoder(SpadeConfig(folded=True), ops).eval()
    decoder.load_state_dict(transform_weights(decoder, fold_decoder(published, SpadeConfig())))
    image = decoder(warped.features)
    assert error(image[..., ::16, ::16], EXPECTED["image/patch"]) <= TOLERANCE
    assert error(image.mean((2, 3)), EXPECTED["image/mean"]) <= TOLERANCE


# --- the folded form


@pytest.mark.parametrize("name", SMALL)
def test_the_folded_network_is_the_published_one(name, synth):
    """In float64 there is no rounding behind which a wrong fold could hide."""
    published, runs = both_forms(synth, name, dtype=torch.float64)
    expected = tensor_of(published(*small_inputs(synth, name, torch.float64)))
    found = tensor_of(runs(*small_inputs(synth, name, torch.float64)))
    assert expected.std() > 1e-3
    assert error(found, expected) < 2e-6  # the keypoints' heat maps are float32 in both


def test_masks_through_fourier_transforms(synth):
    """Sides that tiles do not divide, and depths below and above the kernel's."""
    published, _ = both_forms(synth, "warping_module")
    config = replace(SMALL["warping_module"][1], folded=True, fourier=True)
    runs = WarpingNetwork(config).eval()
    runs.load_state_dict(fold_masks(folded(published.state_dict())))
    expected, found = (net(*small_inputs(synth, "warping_module")) for net in (published, runs))
    assert error(found.deformation, expected.deformation) < 1e-6
    assert error(found.features, expected.features) < 2e-5


@pytest.mark.parametrize("size", [(1, 5, 7), (4, 22, 23), (9, 45, 50)])
def test_a_wide_convolution_through_fourier_transforms(size, synth):
    weight, bias = synth.synth_input("fourier.w", (3, 2, 7, 7, 7)), synth.synth_input("fourier.b", (3,))
    x = synth.synth_input("fourier.x", (2, 2, *size))
    network = FourierConv3d(2, 3, 7)
    network.load_state_dict({"spectrum": plane_spectrum(weight), "bias": bias})
    expected = functional.conv3d(x.double(), weight.double(), bias.double(), padding=3)
    assert error(network(x), expected) < 2e-6


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("at_once", [1, 256])
def test_the_network_with_winograd_transforms(name, at_once, synth, monkeypatch):
    """The whole network with every convolution that has a transform, however narrow, in float64."""
    monkeypatch.setattr(winograd, "_AT_ONCE", at_once)
    published, runs = both_forms(synth, name, dtype=torch.float64)
    config = replace(SMALL[name][1], folded=True)
    fast = SMALL[name][0](config, winograd_ops(narrowest=1)).double().eval()
    fast.load_state_dict(transform_weights(fast, runs.state_dict()))
    kinds = Counter(type(module) for module in fast.modules())
    assert kinds[WinogradConv2d] + kinds[WinogradConv3d] > 3
    given = small_inputs(synth, name, torch.float64)
    found, expected = (tensor_of(network(*given)) for network in (fast, published))
    assert found.shape == expected.shape
    assert error(found, expected) < 2e-6


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("size", [(64, 100), (7, 10), (1, 1)])
def test_convolutions_through_winograd_transforms(size, side, threads, synth, monkeypatch):
    """Tiles that fill the map and that do not, several rows of tiles at a time and all at once, two pictures."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    bias = synth.synth_input("winograd.b", (4,)).double()
    for deep, kind, plain in (((), WinogradConv2d, functional.conv2d), ((3,), WinogradConv3d, functional.conv3d)):
        weight = synth.synth_input(f"winograd.w{side}{deep}", (4, 3, *deep, side, side)).double()
        x = synth.synth_input(f"winograd.x{deep}", (2, 3, *deep, *size)).double()
        network = kind(3, 4, side).double()
        network.load_state_dict({"weight": winograd_weight(weight), "bias": bias})
        expected = plain(x, weight, bias, padding=1)
        for given in (x, x.movedim(1, -1).contiguous().movedim(-1, 1)):
            assert torch.allclose(network(given), expected, atol=1e-12)


@pytest.mark.parametrize("size", [(64, 300), (7, 10)])
def test_a_convolution_is_finished_some_rows_at_a_time(size, synth):
    weight, bias = synth.synth_input("rows.w", (4, 3, 3, 3)).double(), synth.synth_input("rows.b", (4,)).double()
    x = synth.synth_input("rows.x", (2, 3, *size)).double()
    network = WinogradConv2d(3, 4, 3).double()
    network.load_state_dict({"weight": winograd_weight(weight), "bias": bias})
    expected, parts = functional.conv2d(x, weight, bias, padding=1), []

    def finish(made, part):
        parts.append(part)
        return made[:, :2] * expected[part][:, 2:]

    assert torch.allclose(network.by_rows(x, finish), expected[:, :2] * expected[:, 2:], atol=1e-12)
    assert (len(parts) > 2) == (size == (64, 300))


def test_winograd_transforms_round_as_little_as_sums_one_by_one(synth):
    """Not as torch's convolution: how it adds up, and so how it rounds, depends on the CPU (AVX-512: 2.3e-7)."""
    weight, x = synth.synth_input("round.w", (32, 256, 3, 3)), synth.synth_input("round.x", (1, 256, 32, 32))
    network = WinogradConv2d(256, 32, 3)
    network.load_state_dict({"weight": winograd_weight(weight), "bias": torch.zeros(32)})
    expected = functional.conv2d(x.double(), weight.double(), padding=1)
    summed = torch.zeros(32, 32 * 32)
    for column, patch in zip(weight.flatten(1).T, functional.unfold(x, 3, padding=1)[0], strict=True):
        summed += column[:, None] * patch
    away = [float((one - expected).std() / expected.std()) for one in (network(x), summed.view_as(expected))]
    assert away[0] < 2e-6
    assert away[0] < 2 * away[1]


def test_which_convolutions_are_transformed():
    ops = winograd_ops()
    assert isinstance(ops.Conv2d(16, 32, 3, padding=1), WinogradConv2d)
    assert isinstance(ops.Conv2d(16, 32, 2, padding=1), WinogradConv2d)
    assert isinstance(ops.Conv3d(64, 128, (3, 2, 2), padding=1), WinogradConv3d)
    for plain in (
        ops.Conv2d(3, 64, 3, padding=1),  # narrow
        ops.Conv2d(64, 64, 1),
        ops.Conv2d(64, 64, 3, padding=1, bias=False),
        ops.Conv2d(64, 64, 3, padding=1, groups=64),
        ops.Conv2d(64, 64, 3),
        ops.Conv3d(512, 1024, 3, padding=1),  # many weights, few pixels
    ):
        assert isinstance(plain, (nn.Conv2d, nn.Conv3d))


@pytest.mark.parametrize("name", SMALL)
def test_the_folded_network_has_no_norms(name, synth):
    _, runs = both_forms(synth, name)
    assert not [key for key in runs.state_dict() if "running" in key or key.endswith(("_orig", "_u", "_v"))]


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("last", [False, True])
def test_a_convolution_over_repeated_pixels(times, side, last, synth):
    weight, bias = (
        synth.synth_input(f"repeated.{kind}", shape).double() for kind, shape in (("w", (3, 2, 3, 3)), ("b", (3,)))
    )
    x = synth.synth_input("repeated.x", (2, 2, side, side + 1)).double()
    if last:
        x = x.to(memory_format=torch.channels_last)
    expected = functional.conv2d(functional.interpolate(x, scale_factor=times), weight, bias, padding=1)
    found = functional.conv2d(x, summed_taps(weight, times), repeated_bias(bias, times), padding=1)
    assert torch.allclose(interleaved(found, times), expected, atol=1e-12)


def test_the_decoder_costs_less_than_the_published_one():
    from torch.utils.flop_counter import FlopCounterMode

    costs = []
    for form in (False, True):
        with torch.device("meta"):
            network, features = SpadeDecoder(SpadeConfig(folded=form)), torch.empty(1, 256, 64, 64)
            with FlopCounterMode(display=False) as counter:
                network(features)
        costs.append(counter.get_total_flops())
    assert costs[0] == pytest.approx(891.6e9, rel=0.001)
    assert costs[1] < 0.86 * costs[0]


# --- sampling


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (1, 1, 1, 1, 1)])
def test_sampling_without_grid_sample(shape, synth):
    volume = synth.synth_input("sampled.volume", shape).double()
    places = 1.3 * synth.synth_input("sampled.places", (shape[0], 3, 4, 5, 3)).double()
    places[:, 0, 0, 0] = torch.tensor([-1.0, 1.0, 0.0])  # on the outer faces
    places[:, 0, 0, 1] = 40.0  # far outside
    expected = functional.grid_sample(volume, places, align_corners=False)
    assert torch.allclose(gather_volume(volume, places), expected, atol=1e-12)


def test_devices_without_grid_sample_gather(synth, monkeypatch):
    volume, places = synth.synth_input("a", (1, 2, 3, 4, 5)), synth.synth_input("b", (1, 2, 2, 2, 3), -1, 1)
    expected = sample_volume(volume, places)
    calls = []
    monkeypatch.setattr(volumes, "SAMPLED_BY_TORCH", ())
    monkeypatch.setattr(volumes, "gather_volume", lambda *given: calls.append(1) or gather_volume(*given))
    assert torch.allclose(sample_volume(volume, places), expected, atol=1e-6)
    assert calls


def test_the_grid_includes_both_ends():
    grid = voxel_grid(2, 3, 5, torch.device("cpu"))
    assert grid[0, 0, 0].tolist() == [-1, -1, -1]
    assert grid[1, 2, 4].tolist() == [1, 1, 1]
    assert grid[0, 1, 1].tolist() == [-0.5, 0, -1]


@pytest.mark.parametrize("motion", [0, 1, 3])
def test_a_voxel_comes_from_where_its_keypoint_was(motion, synth):
    """Where the mask chooses one motion, each voxel moves as that keypoint does: from the driving's to the source's."""
    _, runs = both_forms(synth, "warping_module")
    mask = runs.dense_motion_network.mask
    mask.weight.zero_()
    mask.bias.copy_(100.0 * (torch.arange(4) == motion))
    volume, source, driving = small_inputs(synth, "warping_module")
    moved = (source - driving)[:, motion - 1] if motion else torch.zeros(2, 3)
    expected = voxel_grid(4, 16, 16, torch.device("cpu")) + moved[:, None, None, None]
    assert (runs(volume, source, driving).deformation - expected).abs().max() < 1e-6


def test_what_the_hourglass_sees(synth):
    """Of each motion the change of heat at each voxel, and the compressed volume as it moves."""
    _, runs = both_forms(synth, "warping_module")
    seen = []
    motion = runs.dense_motion_network
    motion.hourglass.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    volume, source, driving = small_inputs(synth, "warping_module")
    runs(volume, source, driving)
    parts, grid = seen[0].unflatten(1, (4, 3)), voxel_grid(4, 16, 16, torch.device("cpu"))
    compressed = functional.relu(motion.compress(volume))
    assert not parts[:, 0, 0].any()
    for point in range(3):
        away = [(grid - keypoints[:, point, None, None, None]).square().sum(-1) for keypoints in (driving, source)]
        heat = [torch.exp(-distance / 0.02) for distance in away]
        assert (parts[:, point + 1, 0] - (heat[0] - heat[1])).abs().max() < 1e-5
        places = grid - (driving - source)[:, point, None, None, None]
        assert (parts[:, point + 1, 1:] - gather_volume(compressed.double(), places)).abs().max() < 1e-4


def test_no_motion_leaves_the_volume(synth):
    """Where nothing moves, the deformation is the grid itself."""
    _, runs = both_forms(synth, "warping_module")
    volume, points, _ = small_inputs(synth, "warping_module")
    grid = voxel_grid(4, 16, 16, torch.device("cpu"))
    assert (runs(volume, points, points).deformation - grid).abs().max() < 1e-7


# --- a host's own layers, and half precision


HOSTED = ("Linear", "Conv2d", "Conv3d")


@pytest.mark.parametrize("name", SMALL)
def test_every_layer_comes_from_the_hosts_namespace(name):
    used = Counter()

    def hosted(base):
        class Hosted(base):
            def forward(self, x):
                used[self] += 1
                return super().forward(x)

        return Hosted

    ops = SimpleNamespace(**{kind: hosted(getattr(nn, kind)) for kind in HOSTED})
    kind, config, _ = SMALL[name]
    network = kind(replace(config, folded=True), ops)
    layers = [m for m in network.modules() if isinstance(m, tuple(getattr(nn, one) for one in HOSTED))]
    assert layers
    assert all(isinstance(layer, tuple(vars(ops).values())) for layer in layers)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_is_near(name, dtype, synth):
    _, runs = both_forms(synth, name)
    expected = tensor_of(runs(*small_inputs(synth, name)))
    found = tensor_of(runs.to(dtype)(*small_inputs(synth, name, dtype)))
    assert found.dtype == dtype
    assert error(found.float(), expected) < 0.15
