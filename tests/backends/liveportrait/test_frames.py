"""Everything at once in published sizes: pictures in, animated and pasted pictures out."""

import numpy as np
import pytest
import torch

from personalive_core.backends.liveportrait.animation import AnimationOptions, animate_picture
from personalive_core.backends.liveportrait.crops import (
    DRIVING_CROP,
    crop_matrix,
    driving_square,
    face_square,
    limited,
    resized_bilinear,
    warped,
)
from personalive_core.backends.liveportrait.model import LivePortrait
from personalive_core.backends.liveportrait.motion import read_implicit, unit_pictures
from personalive_core.backends.liveportrait.pasting import eight_bits, prepare_live_paste
from personalive_core.backends.liveportrait.reference import crop_source, live_source
from personalive_core.modules.appearance import AppearanceConfig, AppearanceExtractor
from personalive_core.modules.folding import folded
from personalive_core.modules.keypoints import KeypointExtractor
from personalive_core.modules.retargeting import RetargetingNetworks
from personalive_core.modules.spade import SpadeConfig, SpadeDecoder
from personalive_core.modules.spade_folding import fold_decoder
from personalive_core.modules.warping import WarpingConfig, WarpingNetwork
from tests.backends.liveportrait.published import pipeline

EXPECTED = pipeline()
HEADS = {"shoulder": "stitching", "mouth": "lip", "eye": "eye"}


@pytest.fixture(scope="module")
def model(synth, live_cases):
    def runs(kind, config, name, fold):
        state = synth.load_synth(kind(config), f"liveportrait.{name}.").state_dict()
        network = kind(type(config)(folded=True)).eval()
        network.load_state_dict(fold(state))
        return network

    with torch.no_grad():
        extractor = synth.load_synth(KeypointExtractor(), "liveportrait.motion_extractor.")
        live_cases.tame_motion_extractor(extractor.detector)
        perceptrons = RetargetingNetworks()
        for ours, published in HEADS.items():
            prefix = f"liveportrait.stitching_retargeting_{published}."
            synth.load_synth(getattr(perceptrons, f"retarget_{ours}"), prefix)
        return LivePortrait(
            runs(AppearanceExtractor, AppearanceConfig(), "appearance_feature_extractor", folded),
            extractor,
            runs(WarpingNetwork, WarpingConfig(), "warping_module", folded),
            runs(SpadeDecoder, SpadeConfig(), "spade_generator", lambda state: fold_decoder(state, SpadeConfig())),
            perceptrons,
        )


@pytest.fixture(scope="module")
def scene(model, live_cases):
    """The source's picture, crop and volume, and the driving's motion."""
    picture = limited(live_cases.pictures("lp.source", 1)[0])
    crop = crop_source(picture, live_cases.landmarks("lp.source", 106))
    points = [live_cases.landmarks(f"lp.driving{i}", 203) for i in (0, 3)]
    matrix = crop_matrix(driving_square([face_square(one, DRIVING_CROP).box for one in points]), 512)
    pictures = live_cases.pictures("lp.driving", 4)[[0, 3]]
    driving = [resized_bilinear(warped(one, matrix, 512, 512), 256, 256) for one in pictures]
    return picture, crop, live_source(model, [crop.small]), read_implicit(model, unit_pictures(driving))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_published_frames(model, scene):
    picture, crop, source, driving = scene
    moved = animate_picture(source.motion, driving, driving[:1], model, AnimationOptions())
    images = torch.cat([model.render(source.volume, source.motion.keypoints, one) for one in moved.split(1)])
    paste = prepare_live_paste(picture, crop.matrix)
    pasted = np.stack([paste(eight_bits(image.permute(1, 2, 0).numpy()))[::20, ::20] for image in images])
    extracted = {
        "kp": torch.cat([driving.canonical, source.motion.canonical]),
        "exp": torch.cat([driving.expression, source.motion.expression]),
        "t": torch.cat([driving.pose.translation, source.motion.pose.translation]),
        "scale": torch.cat([driving.pose.scale, source.motion.pose.scale]),
    }
    found = {
        **{f"frames/extracted/{name}": value for name, value in extracted.items()},
        "frames/source_keypoints": source.motion.keypoints,
        "frames/driving_keypoints": moved,
    }
    for name, value in found.items():
        assert np.abs(value.numpy() - EXPECTED[name]).max() <= 2e-5, name
    angles = torch.cat([driving.pose.angles, source.motion.pose.angles])
    for i, name in enumerate(("pitch", "yaw", "roll")):  # degrees: 1e-4 of them is 2e-6 of a point's place
        assert np.abs(angles[:, i : i + 1].numpy() - EXPECTED[f"frames/extracted/{name}"]).max() <= 1e-4
    for name, value in {
        "image": images[..., ::16, ::16],
        "image_mean": images.mean((2, 3)),
        "image_std": images.std((2, 3)),
    }.items():
        assert np.abs(value.numpy() - EXPECTED[f"frames/{name}"]).max() <= 1e-4, name
    assert (np.abs(pasted.astype(int) - EXPECTED["frames/pasted"]) <= 1).mean() >= 0.995
