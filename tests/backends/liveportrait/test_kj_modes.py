"""The other pack's modes as a way of animation: their formulas, growth, stitching twice, and what they refuse."""

import pytest
import torch

from personalive_core.backends.liveportrait.animation import (
    AnimationOptions,
    animate_by_picture,
    animate_picture,
    animate_video,
    animate_video_by_picture,
)
from personalive_core.backends.liveportrait.hull import hull_volume
from personalive_core.backends.liveportrait.kalman import kalman_smoothed
from personalive_core.backends.liveportrait.kj_modes import KJ_MODES, KJ_SMOOTHED
from personalive_core.backends.liveportrait.stitching import eyes_moved, lips_closed, stitched
from personalive_core.backends.liveportrait.stream import RenderOptions
from personalive_core.backends.liveportrait.transfer import TransferOptions
from personalive_core.errors import InputError
from personalive_core.modules.keypoints import rotation_matrix
from tests.backends.liveportrait.published import inputs_of

PICTURE_MODES = [mode for mode in KJ_MODES if mode != KJ_SMOOTHED]


@pytest.fixture(scope="module")
def inputs(synth, live_cases):
    return inputs_of(synth, live_cases)


def kj(mode, **more):
    return AnimationOptions(kj=mode, **{"expression_friendly": False, "stitching": False, **more})


def moved(inputs, options):
    return animate_picture(inputs.source, inputs.driving, inputs.driving[:1], inputs.networks, options)


def placed(rotation, expression, scale, translation, canonical):
    flat = translation * torch.tensor([1.0, 1.0, 0.0])
    return scale[..., None] * (canonical @ rotation + expression) + flat[:, None]


def expected(inputs, mode):
    """Keypoints by the facts of that pack, written out."""
    s, d = inputs.source, inputs.driving
    own, turned = rotation_matrix(s.pose.angles), rotation_matrix(d.pose.angles)
    if mode == "relative":
        rotation = turned @ turned[:1].mT @ own
        scale = s.pose.scale * d.pose.scale / d.pose.scale[:1]
        shift = s.pose.translation + d.pose.translation - d.pose.translation[:1]
        return placed(rotation, s.expression + d.expression - d.expression[:1], scale, shift, s.canonical)
    rotation = own if mode == "relative_rotation_only" else turned
    expression = d.expression if mode == "single_frame" else s.expression
    return placed(rotation, expression, s.pose.scale, d.pose.translation, s.canonical)


@pytest.mark.parametrize("mode", PICTURE_MODES)
def test_each_mode_moves_the_picture_by_its_formula(inputs, mode):
    found = moved(inputs, kj(mode))
    assert found.shape == (len(inputs.driving), 21, 3)
    assert (found - expected(inputs, mode)).abs().max() < 1e-5


def test_every_mode_is_another(inputs):
    results = [moved(inputs, kj(mode)) for mode in PICTURE_MODES]
    for index, one in enumerate(results):
        assert all((one - other).abs().max() > 1e-3 for other in results[:index])


@pytest.mark.parametrize("mode", PICTURE_MODES)
def test_growth_measures_from_the_first_frame(inputs, mode):
    plain, own = expected(inputs, mode), inputs.source.keypoints
    growth = (hull_volume(own[0].numpy()) / hull_volume(plain[0].numpy())) ** 0.5
    found = moved(inputs, kj(mode, expression_friendly=True))
    assert (found - (own + growth * (plain - plain[:1]))).abs().max() < 1e-5
    later = animate_picture(
        inputs.source, inputs.driving[2:], inputs.driving[:1], inputs.networks, kj(mode, expression_friendly=True)
    )
    assert (later - found[2:]).abs().max() < 1e-5


def test_stitching_is_done_twice_with_the_lips_between(inputs):
    own, networks = inputs.source.keypoints, inputs.networks
    plain = expected(inputs, "off")
    once = stitched(networks, own, plain)
    assert (moved(inputs, kj("off", stitching=True)) - stitched(networks, own, once)).abs().max() < 1e-5
    closed = lips_closed(networks, own, inputs.source.lips)
    assert closed.abs().max() > 0
    found = moved(inputs, kj("off", stitching=True, close_lips=True))
    assert (found - stitched(networks, own, once + closed)).abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["single_frame", "off"])
def test_set_eyes_keep_the_motion_where_it_is_off_alone(inputs, mode):
    own = inputs.source.keypoints
    begin = expected(inputs, mode) if mode == "off" else own
    eyes = eyes_moved(inputs.networks, own, inputs.source.eyes, inputs.driving.eyes[:, :1])
    assert (moved(inputs, kj(mode, eyes=True)) - (begin + eyes)).abs().max() < 1e-5


def test_a_driving_picture_is_its_own_first_frame(inputs):
    one = inputs.driving[1:2]
    still = animate_by_picture(inputs.source, one, inputs.networks, kj("relative", expression_friendly=True))
    assert (still - inputs.source.keypoints).abs().max() < 1e-5
    found = animate_by_picture(inputs.source, one, inputs.networks, kj("single_frame", expression_friendly=True))
    assert (found - expected(inputs, "single_frame")[1:2]).abs().max() < 1e-5


@pytest.mark.parametrize("mode", KJ_MODES)
def test_a_source_video_is_moved_frame_by_frame(inputs, mode):
    video, count = inputs.video, min(len(inputs.video), len(inputs.driving))
    found = animate_video(video, inputs.driving, inputs.networks, kj(mode, variance=1e-5))
    driving = inputs.driving[:count]
    if mode == KJ_SMOOTHED:
        turned = rotation_matrix(driving.pose.angles)
        rotation = kalman_smoothed(turned @ turned[:1].mT @ rotation_matrix(video[:count].pose.angles), 1e-5)
        expression = video[:count].expression + driving.expression - driving.expression[:1]
        whole = placed(
            rotation,
            kalman_smoothed(expression, 1e-5),
            video[:count].pose.scale,
            driving.pose.translation,
            video[:count].canonical,
        )
        assert (found - whole).abs().max() < 1e-5
    else:
        for frame in range(count):
            alone = animate_picture(
                video[frame : frame + 1], driving[frame : frame + 1], driving[:1], inputs.networks, kj(mode)
            )
            assert (found[frame : frame + 1] - alone).abs().max() < 1e-5
    grown = animate_video(video, inputs.driving, inputs.networks, kj(mode, expression_friendly=True, variance=1e-5))
    assert (grown[0] - video.keypoints[0]).abs().max() < 1e-5


def test_what_cannot_be_is_refused(inputs):
    with pytest.raises(InputError, match="source_video_smoothed is for a source video, and the source is a picture"):
        moved(inputs, kj(KJ_SMOOTHED))
    with pytest.raises(InputError, match="the mode is one of relative, relative_rotation_only"):
        kj("fast")
    with pytest.raises(InputError, match="leave the region at all and motion relative"):
        kj("off", transfer=TransferOptions(region="lip"))
    with pytest.raises(InputError, match="animals take all of a person's motion as it is: leave the KJ mode out"):
        RenderOptions(kj("off"), animal=True)
    with pytest.raises(InputError, match="off moves a source video by a driving video, got a picture"):
        animate_video_by_picture(inputs.video, inputs.driving[:1], inputs.networks, kj("off"))
