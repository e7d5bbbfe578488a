"""Region masks on drawn people whose landmarks are known."""

import pytest
import torch

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.truth import (
    KEYPOINT_NAMES,
    LANDMARKS,
    canonical_keypoints,
    clip_motion,
    head_pose,
    landmarks,
    person,
)
from personalive_core.errors import InputError
from personalive_core.faces.regions import CENTRE_POINTS, MASK_REGIONS, region_centres, soft_masks
from personalive_core.modules.keypoints import pose_keypoints

SIZE = 96
SHOWN = {  # what a mask must show, by the landmarks' names
    "left eye": [name for name in LANDMARKS if name.startswith("left eye ")],
    "right eye": [name for name in LANDMARKS if name.startswith("right eye ")],
    "nose": ["nose tip", "left nose wing", "right nose wing"],
    "mouth": [name for name in LANDMARKS if "lip" in name or "mouth" in name],
}
MOTIONS = (FaceMotion(), FaceMotion(mouth=1.0), FaceMotion(yaw=35.0, roll=10.0), FaceMotion(pitch=-20.0, blink=(1, 1)))


def at(masks, points):
    """Values [F, K] of masks [F, 1, S, S] at points [F, K, 2]."""
    return torch.nn.functional.grid_sample(masks, points[:, :, None], align_corners=False)[:, 0, :, 0]


def test_the_points_are_those_of_the_drawn_people():
    names = [[LANDMARKS[index] for index in part] for part in CENTRE_POINTS[31]]
    assert names == [
        ["left eye left", "left eye right"],
        ["right eye left", "right eye right"],
        ["nose bridge", "nose tip"],
        ["left mouth corner", "right mouth corner", "upper lip over", "lower lip under"],
    ]
    names = [[KEYPOINT_NAMES[index] for index in part] for part in CENTRE_POINTS[21]]
    assert names == [["left eye"], ["right eye"], ["nose bridge", "nose tip"], ["mouth"]]


@pytest.mark.parametrize("index", range(4))
def test_each_region_is_shown_and_nothing_of_the_rest(index):
    who = person("train", index)
    motions = (*MOTIONS, *clip_motion("train", index, 60)[::10])
    points = landmarks(who, motions)
    for region, names in SHOWN.items():
        masks = soft_masks(region_centres(points), SIZE, [region])
        assert at(masks, points[:, [LANDMARKS.index(name) for name in names]]).min() > 0.6, region
        cheeks = [LANDMARKS.index(name) for name in ("left cheek", "right cheek")]
        assert at(masks[:1], points[:1, cheeks]).max() == 0
        assert masks.mean() < 0.08


def test_keypoints_place_regions_as_landmarks_do():
    who = person("train", 0)
    motions = clip_motion("train", 0, 60)[::10]
    posed = pose_keypoints(canonical_keypoints(who), head_pose(motions))
    apart = region_centres(posed) - region_centres(landmarks(who, motions))
    assert apart[:, :3].abs().max() < 0.02
    assert apart[:, 3].abs().max() < 0.08  # the mouth's keypoint does not open


def test_masks_turn_and_grow_with_the_head():
    centres = region_centres(landmarks(person("train", 0), [FaceMotion()]))
    plain = soft_masks(centres, SIZE)
    quarter = soft_masks(centres @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), SIZE)
    assert torch.allclose(quarter, plain.rot90(-1, (-2, -1)), atol=1e-4)
    assert soft_masks(centres * 1.5, SIZE).sum() / plain.sum() == pytest.approx(2.25, rel=0.03)


def test_the_edge_is_soft_and_the_rest_exactly_hidden():
    masks = soft_masks(region_centres(landmarks(person("train", 0), MOTIONS)), SIZE)
    assert masks.max() == 1
    assert masks.min() == 0
    assert ((masks > 0) & (masks < 1)).any()


def test_a_profile_keeps_some_width():
    centres = torch.tensor([[[0.0, -0.2], [0.0, -0.2], [0.0, 0.0], [0.0, 0.2]]])
    masks = soft_masks(centres, SIZE, ["mouth"])
    columns = (masks[0, 0].amax(0) > 0.5).sum()
    assert columns >= 2 * 0.58 * 0.35 * 0.4 * SIZE / 2


def test_regions_can_be_left_out():
    centres = region_centres(landmarks(person("train", 0), [FaceMotion()]))
    alone = [soft_masks(centres, SIZE, [region]) for region in MASK_REGIONS]
    assert torch.equal(torch.stack(alone).amax(0), soft_masks(centres, SIZE))
    assert not soft_masks(centres, SIZE, []).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: region_centres(torch.zeros(1, 68, 2)), "21 or 31 points, got 68"),
        (lambda: soft_masks(torch.zeros(1, 4, 2), 8), "eyes and mouth in one place"),
        (lambda: soft_masks(torch.rand(1, 4, 2), 8, ["ear"]), "unknown region 'ear': choose of left eye"),
    ],
)
def test_faces_that_cannot_be_masked_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
