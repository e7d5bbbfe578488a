"""Keypoints of every mode against the published code, and what a change of any rule would do to them."""

import numpy as np
import pytest
import torch

from personalive_core.backends.liveportrait import animation, kalman, regions, stitching
from personalive_core.backends.liveportrait.animation import (
    AnimationOptions,
    animate_animal,
    animate_picture,
    animate_video,
    grown_motion,
)
from personalive_core.backends.liveportrait.hull import hull_volume
from personalive_core.backends.liveportrait.kalman import kalman_smoothed
from personalive_core.backends.liveportrait.kj_modes import KJ_MODES, kj_placing, source_frames
from personalive_core.backends.liveportrait.regions import FACE_REGIONS, region_mask
from personalive_core.backends.liveportrait.transfer import TransferOptions
from personalive_core.errors import InputError
from tests.backends.liveportrait.published import inputs_of, motion_outputs, options, pipeline, worst

EXPECTED = pipeline()
NAMES = [name for name in EXPECTED.files if name.startswith(("motion/", "smooth/"))]


@pytest.fixture(scope="module")
def inputs(synth, live_cases):
    return inputs_of(synth, live_cases)


@pytest.fixture(scope="module")
def outputs(inputs):
    return motion_outputs(inputs)


@pytest.fixture(autouse=True)
def _fresh_masks():
    region_mask.cache_clear()
    yield
    region_mask.cache_clear()


def test_every_published_array_is_compared(outputs):
    assert set(outputs) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_published_keypoints(name, outputs):
    assert not worst(outputs, EXPECTED, [name])


# --- a change of any rule is seen


POINT_SETS = {"LIP_POINTS": "lip", "EYE_POINTS": "eyes", "EXPRESSIVE_POINTS": "exp"}


def changed_sets():
    """(set, its region, its members after a change): each one left out, and each other one put in."""
    coordinates = [f"{point}{axis}" for point in range(21) for axis in "xyz"]
    for name, region in {**POINT_SETS, "EXPRESSIVE_COORDINATES": "exp"}.items():
        members = getattr(regions, name)
        for one in range(21) if name in POINT_SETS else coordinates:
            rest = tuple(other for other in members if other != one)
            if name in POINT_SETS or int(one[:-1]) not in regions.EXPRESSIVE_POINTS:
                yield name, region, rest if one in members else (*members, one)


def test_every_member_of_a_region_is_seen(inputs):
    x, unseen = inputs, []
    for name, region, members in changed_sets():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(regions, name, members)
            region_mask.cache_clear()
            moved = animate_picture(x.source, x.driving, x.driving[:1], x.networks, options("absolute", region))
        if not worst({f"motion/absolute/{region}/plain": moved}, EXPECTED):
            unseen.append((name, members))
    assert not unseen


def stitched_before(networks, source, keypoints):
    """Stitching of keypoints that the source's own come after."""
    return original_stitched(networks, keypoints, source.expand_as(keypoints)) - source + keypoints


def stitched_twice(networks, source, keypoints):
    return original_stitched(networks, source, original_stitched(networks, source, keypoints))


original_stitched = stitching.stitched


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [
        (animation, "stitched", stitched_before),
        (animation, "stitched", stitched_twice),
        (stitching, "LIPS_CLOSED", 0.0),
        (stitching, "LIPS_CLOSED", 0.5),
        (animation, "EYES_USUAL", 0.4),
        (animation, "EYES_SQUINTING", 0.05),
        (animation, "hull_volume", lambda _: 1.0),
        (kalman, "PROCESS_VARIANCE", 1.1e-5),
        (kalman, "_PRIOR_VARIANCE", 1e-6),
    ],
)
def test_other_rules_are_seen(module, name, other, inputs, monkeypatch):
    monkeypatch.setattr(module, name, other)
    assert worst(motion_outputs(inputs), EXPECTED)


def test_the_multiplier_comes_last(inputs):
    """Stitching what is multiplied already gives other keypoints."""
    own = inputs.source.keypoints
    plain = animate_picture(inputs.source, inputs.driving, inputs.driving[:1], inputs.networks, options())
    other = original_stitched(inputs.networks, own, own + 1.4 * (plain - own))
    assert worst({"motion/multiplier_1.4/pose_friendly": other}, EXPECTED)


@pytest.mark.parametrize("variance", [2.9e-6, 3.1e-6])
def test_another_variance_is_seen(variance, inputs):
    assert worst({"smooth/3e-06": kalman_smoothed(inputs.wander, variance)}, EXPECTED)


# --- what holds for any input


@pytest.mark.parametrize("region", FACE_REGIONS)
def test_multiplier_0_is_the_source(region, inputs):
    still = animate_picture(
        inputs.source, inputs.driving, inputs.driving[:1], inputs.networks, options("absolute", region, multiplier=0.0)
    )
    assert torch.equal(still, inputs.source.keypoints.expand_as(still))


@pytest.mark.parametrize("region", FACE_REGIONS)
def test_a_source_driven_by_itself_stays(region, inputs):
    source = inputs.source
    still = animate_picture(source, source, source, inputs.networks, options(region=region))
    assert (still - source.keypoints).abs().max() < 1e-6


def test_a_clip_in_windows_is_the_clip(inputs):
    first = inputs.driving[:1]
    chosen = AnimationOptions()
    whole = animate_picture(inputs.source, inputs.driving, first, inputs.networks, chosen)
    parts = [animate_picture(inputs.source, inputs.driving[i : i + 2], first, inputs.networks, chosen) for i in (0, 2)]
    assert (whole - torch.cat(parts)).abs().max() < 1e-6


def test_an_animal_driven_by_a_picture_does_not_grow(inputs):
    moved = animate_animal(inputs.source, inputs.driving[:1], None, inputs.networks, options(expression_friendly=True))
    driving, source = inputs.driving.placing[:1], inputs.source.placing
    expected = source.scale[..., None] * (inputs.source.canonical @ driving.rotation + driving.expression)
    assert (moved - expected)[..., 2].abs().max() < 1e-6


def test_frames_are_those_of_the_shorter_video(inputs):
    assert len(animate_video(inputs.video[:3], inputs.driving, inputs.networks)) == 3
    assert len(animate_video(inputs.video, inputs.driving[:2], inputs.networks)) == 2


def test_growth_of_flat_keypoints_is_none():
    flat = torch.rand(1, 21, 3, generator=torch.Generator().manual_seed(0))
    source = flat + 1
    flat[..., 2] = 0
    assert torch.allclose(grown_motion(flat + 0.5, flat, source), source + 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransferOptions("sideways"), "motion is taken relative or absolute, got 'sideways': choose one"),
        (lambda: TransferOptions(region="nose"), "is one of all, exp, pose, lip, eyes, got 'nose': choose one"),
        (lambda: AnimationOptions(multiplier=3), "multiplier is from 0 to 2, got 3: try 1"),
        (lambda: kalman_smoothed(torch.zeros(2, 3), 1.0), "variance is from 1e-11 to 0.01, got 1: try 3e-7"),
        (lambda: source_frames("again", 3, 4), "give at least one, and one of constant, cycle, mirror, cut"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# --- the hull


def test_volume_of_known_bodies():
    cube = np.stack(np.meshgrid(*[[0.0, 2.0]] * 3), -1).reshape(-1, 3)
    assert hull_volume(cube) == pytest.approx(8)
    inside = np.random.default_rng(0).uniform(0, 2, (30, 3))
    assert hull_volume(np.concatenate([inside, cube])) == pytest.approx(8)
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3)  # many points in each face
    assert hull_volume(grid) == pytest.approx(27)
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    assert hull_volume(octahedron) == pytest.approx(4 / 3)


def test_volume_scales_and_does_not_move():
    points = np.random.default_rng(1).normal(size=(21, 3))
    volume = hull_volume(points)
    assert volume > 0
    assert hull_volume(3 * points - 7) == pytest.approx(27 * volume)
    assert hull_volume(points[::-1]) == pytest.approx(volume)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 21])
def test_points_in_a_plane_have_no_volume(count):
    points = np.random.default_rng(0).normal(size=(count, 3))
    points[:, 2] = 5 - points[:, 0]
    assert hull_volume(points) == 0


# --- the smoother


def test_smoothing_is_the_least_squares_path():
    """The smoother's mean minimises observation, process and prior terms: a linear system."""
    values = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variance, process = 1e-3, kalman.PROCESS_VARIANCE
    steps = torch.diff(torch.eye(9, dtype=torch.float64), dim=0)
    prior = torch.zeros(9, 9, dtype=torch.float64)
    prior[0, 0] = 1
    system = torch.eye(9, dtype=torch.float64) / variance + steps.T @ steps / process + prior
    expected = torch.linalg.solve(system, values / variance + prior @ values)
    assert (kalman_smoothed(values, variance) - expected).abs().max() < 1e-9


def test_one_frame_is_not_smoothed():
    values = torch.rand(1, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(kalman_smoothed(values), values)


# --- the other pack's modes


def test_kj_modes(inputs):
    source, driving = inputs.source.placing, inputs.driving.placing
    found = {mode: kj_placing(mode, source, driving, driving[:1]) for mode in KJ_MODES}
    assert torch.equal(found["off"].rotation, driving.rotation)
    assert torch.equal(found["off"].expression, source.expression)
    assert torch.equal(found["single_frame"].expression, driving.expression)
    assert torch.equal(found["relative_rotation_only"].rotation, source.rotation)
    assert torch.equal(found["source_video_smoothed"].translation, driving.translation)
    assert all(torch.equal(found[mode].translation, driving.translation) for mode in KJ_MODES[1:])
    doubled = kj_placing("off", source, driving, driving[:1], amount=2.0)
    assert torch.equal(doubled.expression, 2 * source.expression)
    with pytest.raises(InputError, match="the mode is one of relative, relative_rotation_only"):
        kj_placing("fast", source, driving, driving[:1])


def test_too_few_sources():
    assert source_frames("constant", 3, 5) == [0, 1, 2, 2, 2]
    assert source_frames("cycle", 3, 5) == [0, 1, 2, 0, 1]
    assert source_frames("mirror", 3, 8) == [0, 1, 2, 2, 1, 0, 0, 1]
    assert source_frames("cut", 3, 5) == [0, 1, 2]
