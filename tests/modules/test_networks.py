"""Every network against the published outputs in tests/parity, and what is promised of keys, ops, cost and types."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from personalive_core.backends.personalive.motion import face_boxes, lead_in, retarget
from personalive_core.backends.personalive.types import Reference
from personalive_core.modules.face_encoder import FaceEncoder
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.keypoints import KeypointExtractor, pose_keypoints
from personalive_core.modules.layers import Float32LayerNorm
from personalive_core.modules.pose_guider import PoseGuider, draw_keypoints
from personalive_core.modules.schedule import add_noise, alphas_cumprod, ddim_step, predict_x0
from personalive_core.modules.unet import UNet, UNetConfig
from personalive_core.motion.types import HybridMotion

PARITY = Path(__file__).parents[1] / "parity"
TIMESTEPS = (0, 333, 666, 999)
TERA = 1e12

# Of the case's standard deviation. The README of tests/parity allows 1e-4, but a wrong batch-norm epsilon in the face
# encoder's shortcuts makes only 6.5e-5, so the bound lies just above what rounding makes (2e-6 to 1.4e-5).
TOLERANCE = 2e-5
EXACT = {"face_boxes"}  # whole pixels


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module", autouse=True)
def _without_gradients():
    with torch.no_grad():  # not inference mode, under which FLOPs are counted as none
        yield


def arrays(name):
    return np.load(PARITY / f"{name}.npz")


def error(actual, expected):
    """The largest difference in standard deviations of `expected`."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / expected.std()


# --- networks.npz


def scheduler_outputs(synth, cases):
    x, eps = synth.synth_input("sched.x", (16, 4, 8, 8)), synth.synth_input("sched.eps", (16, 4, 8, 8))
    alphas = alphas_cumprod()
    alpha = alphas[cases.TIMESTEPS][:, None, None, None]
    below = torch.cat([torch.ones(4), alphas[cases.TIMESTEPS[:-4]]])[:, None, None, None]
    return {
        "scheduler/alphas_cumprod": alphas[list(TIMESTEPS)],
        "scheduler/add_noise": add_noise(x, eps, alpha),
        "scheduler/pred_x0": predict_x0(x, eps, alpha),
        "scheduler/prev_sample": ddim_step(x, eps, alpha, below),
    }


def own_motion(extractor, pictures):
    """The pictures' own motion; of its embedding, box and flags nothing depends here."""
    pose, canonical = extractor(pictures)
    frames = len(pictures)
    keypoints = pose_keypoints(canonical, pose)
    valid = torch.ones(frames, dtype=torch.bool)
    return HybridMotion(torch.zeros(frames, 32, 16), keypoints, pose, torch.zeros(frames, 4), valid), canonical


def extractor_outputs(extractor, synth):
    pictures = synth.synth_input("dri256", (4, 3, 256, 256), 0, 1)
    backbone = extractor.detector
    tokens = backbone(pictures)
    raw = {n: getattr(backbone, f"fc_{n}")(tokens) for n in ("pitch", "yaw", "roll", "t", "scale", "kp")}
    own, canonical = own_motion(extractor, synth.synth_input("ref256", (1, 3, 256, 256), 0, 1))
    reference = Reference(torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 768), (), (), own, canonical[0])
    first, _ = own_motion(extractor, pictures)
    later, _ = own_motion(extractor, synth.synth_input("dri256b", (4, 3, 256, 256), 0, 1))
    moved = [retarget(motion, reference, first.pose[:1]) for motion in (first, later)]
    leading = lead_in(reference, moved[0][:1])
    prefix = "motion_extractor"
    return {
        **{f"{prefix}/raw/{name}": head for name, head in raw.items()},
        f"{prefix}/first_chunk/keypoints": torch.cat([leading.keypoints, moved[0].keypoints]),
        f"{prefix}/first_chunk/driving_keypoints": first.keypoints,
        f"{prefix}/next_chunk/keypoints": moved[1].keypoints,
        f"{prefix}/next_chunk/driving_keypoints": later.keypoints,
    }


def drawing_outputs(synth):
    keypoints = synth.synth_input("kp", (3, 21, 3), -0.6, 0.6)
    drawing = draw_keypoints(keypoints, 512)
    lit = [(picture.sum(0) > 0).nonzero().float().mean(0) for picture in drawing]
    with torch.backends.mkldnn.flags(enabled=False):  # PyTorch 2.4's oneDNN alone rounds by 2.8e-5
        features = synth.load_synth(PoseGuider(), "pose_guider.")(drawing)
    return {
        "draw_keypoints": drawing.sum((2, 3)),
        "draw_keypoints/nonzero": torch.stack(lit),
        "face_boxes": face_boxes(keypoints, 512),
        "pose_guider/mean": features.mean((2, 3)).T[None],
        "pose_guider/std": features.std((2, 3)).T[None],
        "pose_guider/patch": features[:, :16, 28:36, 28:36].transpose(0, 1),
    }


@pytest.fixture(scope="module")
def extractor(synth):
    return synth.load_synth(KeypointExtractor(), "motion_extractor.")


@pytest.fixture(scope="module")
def outputs(synth, cases, extractor):
    """Ours, under the names of networks.npz."""
    faces = synth.synth_input("face224", (1, 3, 3, 224, 224), -1, 1)[0].transpose(0, 1)
    encoder = synth.load_synth(FaceEncoder(), "motion_encoder.")
    return {
        **scheduler_outputs(synth, cases),
        **extractor_outputs(extractor, synth),
        **drawing_outputs(synth),
        "motion_encoder/pe": encoder.pe,
        "motion_encoder/embedding": encoder(faces)[None],
    }


@pytest.mark.parametrize("name", arrays("networks").files)
def test_published_output(name, outputs):
    assert error(outputs[name], arrays("networks")[name]) <= (0 if name in EXACT else TOLERANCE)


def test_angles_are_the_expectation_over_published_bins(extractor, synth):
    pose, _ = extractor(synth.synth_input("dri256", (4, 3, 256, 256), 0, 1))
    for i, name in enumerate(("pitch", "yaw", "roll")):
        scores = np.exp(arrays("networks")[f"motion_extractor/raw/{name}"].astype(np.float64))
        expected = scores / scores.sum(1, keepdims=True) @ np.arange(66) * 3 - 97.5
        assert error(pose.angles[:, i], expected) < 5e-5  # four nearly equal angles: their deviation is small


# --- unet_small.npz, unet_full.npz


def unet_inputs(synth, width, side):
    motion = synth.synth_input("motion", (1, 16, 32, 16))
    pose = 0.5 * synth.synth_input("pose", (1, width, 16, side, side)).transpose(1, 2)
    latents = synth.synth_input("latents", (1, 4, 16, side, side)).transpose(1, 2)
    return latents, MotionFeatures(motion, pose), synth.synth_input("clip", (1, 1, 768))


def transformer_names(unet):
    names = {module: name for name, module in unet.named_modules()}
    return [names[transformer.block] for transformer in unet.transformers()]


def unet_outputs(synth, cases, widths, side, dtype=torch.float32):
    """Ours, under the names of unet_*.npz."""
    recorder = synth.load_synth(UNet(UNetConfig(widths, denoises=False)), "reference_unet.").to(dtype)
    denoiser = synth.load_synth(UNet(UNetConfig(widths)), "denoising_unet.").to(dtype)
    x, motion, clip = unet_inputs(synth, widths[0], side)
    x, clip, motion = x.to(dtype), clip.to(dtype), MotionFeatures(motion.face.to(dtype), motion.pose.to(dtype))
    image = denoiser.project_image(clip)

    def tokens(name):
        return recorder.reference_tokens(synth.synth_input(name, (1, 4, side, side)).to(dtype), clip)

    def noise(features):
        return denoiser(x, cases.TIMESTEPS, image, motion, features).transpose(1, 2).float()

    bank = tokens("ref_latents")
    found = {f"bank/{name}": t[0].float() for name, t in zip(transformer_names(recorder), bank, strict=True)}
    features = denoiser.project_reference(bank)
    found["noise_pred"] = noise(features)
    for name, latents in (("1_keyframe", "keyframe_latents"), ("2_keyframes", "keyframe_latents2")):
        more = denoiser.project_reference(tokens(latents))
        features = tuple(
            tuple(torch.cat(pair, 1) for pair in zip(a, b, strict=True)) for a, b in zip(features, more, strict=True)
        )
        found[f"noise_pred_{name}"] = noise(features)
    return found


@pytest.fixture(scope="module")
def small_outputs(synth, cases):
    return unet_outputs(synth, cases, cases.SMALL_WIDTHS, 16)


@pytest.mark.parametrize("name", arrays("unet_small").files)
def test_small_unet(name, small_outputs):
    assert error(small_outputs[name], arrays("unet_small")[name]) <= TOLERANCE


def test_every_block_records_its_tokens(small_outputs):
    assert set(small_outputs) == set(arrays("unet_small").files)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_full_unet(synth, cases):
    """12 GB of memory."""
    outputs, expected = unet_outputs(synth, cases, cases.FULL_WIDTHS, 8), arrays("unet_full")
    assert set(outputs) == set(expected.files)
    for name in expected.files:
        ours = outputs[name][:8, :32] if name.startswith("bank/") else outputs[name]  # the file keeps a corner
        assert error(ours, expected[name]) <= TOLERANCE, name


@pytest.mark.slow
def test_small_unet_in_bfloat16(synth, cases, small_outputs):
    """Measured: root mean square error 2.1 % of the standard deviation, with or without keyframes."""
    half = unet_outputs(synth, cases, cases.SMALL_WIDTHS, 16, torch.bfloat16)
    for name in ("noise_pred", "noise_pred_2_keyframes"):
        assert half[name].isfinite().all()
        assert (half[name] - small_outputs[name]).square().mean().sqrt() < 0.04 * small_outputs[name].std()


# --- checkpoint keys


PUBLISHED = {
    "denoising_unet": UNet,
    "reference_unet": lambda ops=nn: UNet(UNetConfig(denoises=False), ops),
    "pose_guider": PoseGuider,
    "motion_encoder": FaceEncoder,
    "motion_extractor": KeypointExtractor,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        network = PUBLISHED[name]()
    ours = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert ours == json.loads((PARITY / "keys" / f"{name}.json").read_text())


# --- a host's own layers


HOSTED = ("Linear", "Conv2d", "GroupNorm", "LayerNorm")


def host(calls):
    """A namespace of layers as a host would pass; `calls` counts its attention and holds the layers that ran."""

    def hosted(base):
        class Hosted(base):
            def forward(self, x):
                calls[self] += 1
                return super().forward(x)

        return Hosted

    def attention(q, k, v):
        calls["attention"] += 1
        return functional.scaled_dot_product_attention(q, k, v)

    layers = {name: hosted(getattr(nn, name)) for name in HOSTED}
    return SimpleNamespace(**layers, scaled_dot_product_attention=attention)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_layer_comes_from_the_hosts_namespace(name):
    ops = host(Counter())
    with torch.device("meta"):
        network = PUBLISHED[name](ops=ops)
    for kind in HOSTED:
        layers = [module for module in network.modules() if isinstance(module, getattr(nn, kind))]
        assert all(isinstance(layer, getattr(ops, kind)) for layer in layers)
    assert any(isinstance(module, ops.Conv2d) for module in network.modules())


def meta_features(unet, side, keyframes=0):
    """Keys and values of the reference and `keyframes` more, for latents of `side`."""
    recorder = UNet(UNetConfig(unet.config.widths, denoises=False))
    tokens = recorder.reference_tokens(torch.empty(1, 4, side, side), torch.empty(1, 1, 768))
    return unet.project_reference(tuple(torch.cat([layer] * (1 + keyframes), 1) for layer in tokens))


def meta_denoise(unet, side, keyframes=0, count=lambda: FlopCounterMode(display=False)):
    """FLOPs of one pass over 16 frames."""
    features = meta_features(unet, side, keyframes)
    motion = MotionFeatures(torch.empty(1, 16, 32, 16), torch.empty(1, 16, unet.config.widths[0], side, side))
    image = unet.project_image(torch.empty(1, 1, 768))
    with count() as counter:
        unet(torch.empty(1, 16, 4, side, side), torch.empty(16), image, motion, features)
    return counter.get_total_flops()


def test_every_attention_is_the_hosts(cases):
    calls = Counter()
    with torch.device("meta"):
        meta_denoise(UNet(UNetConfig(cases.SMALL_WIDTHS), host(calls)), 8)
    # 16 self-attentions, and at each of the 21 sites two towards the motion and two along time
    assert calls["attention"] == 16 + 21 * 4


# --- cost


def test_one_step_at_published_widths_costs_at_most_23_3_teraflop():
    """Measured: 23.2; the published code takes 24.1."""
    with torch.device("meta"):
        assert 20 * TERA < meta_denoise(UNet(), 64) <= 23.3 * TERA


def test_one_step_with_three_keyframes_costs_at_most_29_2_teraflop():
    """Measured: 29.1; the published code takes 31.2."""
    with torch.device("meta"):
        assert 25 * TERA < meta_denoise(UNet(), 64, keyframes=3) <= 29.2 * TERA


def test_reference_unet_stops_after_its_last_tokens(cases):
    calls = Counter()
    with torch.device("meta"):
        unet = UNet(UNetConfig(cases.SMALL_WIDTHS, denoises=False), host(calls))
        unet.reference_tokens(torch.empty(1, 4, 8, 8), torch.empty(1, 1, 768))
    last = unet.up_blocks[-1].attentions[-1]
    assert calls[last.block.norm1] == 1
    idle = {module for module in last.modules() if module in calls}
    assert idle == {last.norm, last.proj_in, last.block.norm1}


# --- types


def test_keypoint_norms_compute_in_float32():
    """Weights that bfloat16 cannot hold count in full, and statistics are not rounded on the way."""
    norm = Float32LayerNorm(96)
    norm.weight.copy_(1 + torch.arange(96) / 4096)
    norm.bias.copy_(torch.arange(96) / 8192)
    x = (torch.randn(8, 96, generator=torch.Generator().manual_seed(0)) + 3).bfloat16()
    wide = x.double()
    centred = wide - wide.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight + norm.bias
    found = norm(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.float().bfloat16())


def test_keypoints_leave_a_bfloat16_extractor_in_float32(extractor, synth):
    pictures = synth.synth_input("dri256", (4, 3, 256, 256), 0, 1)[:1]
    half = synth.load_synth(KeypointExtractor(), "motion_extractor.").bfloat16()
    pose, keypoints = half(pictures.bfloat16())
    expected, expected_keypoints = extractor(pictures)
    assert {t.dtype for t in (pose.angles, pose.translation, pose.scale, keypoints)} == {torch.float32}
    assert (pose.angles - expected.angles).abs().max() < 0.2  # degrees; measured: 0.04
    assert error(keypoints, expected_keypoints) < 0.1  # measured: 0.03
