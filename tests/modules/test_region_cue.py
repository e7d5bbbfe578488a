"""The region cue on drawn people: what is cut, where it is drawn; a pose guider adds exactly nothing for zero."""

import pytest
import torch

from personalive_core.backends.personalive.loader import pose_guider_config
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.truth import canonical_keypoints, draw, head_pose, person
from personalive_core.faces.regions import region_centres, soft_masks
from personalive_core.modules.keypoints import pose_keypoints
from personalive_core.modules.pose_guider import PoseGuider, PoseGuiderConfig
from personalive_core.modules.region_cue import cut_regions, draw_regions
from personalive_core.motion.types import CUE_SHAPE

SIZE = 192
WIDTHS = (4, 8, 8, 8)
PLAIN = FaceMotion(mouth=0.6)
MOVED = FaceMotion(mouth=0.6, roll=25.0, scale=0.8, shift=(0.1, -0.05))  # in the picture's plane


@pytest.fixture(scope="module")
def driver():
    return seen(person("train", 0), (PLAIN, MOVED, FaceMotion(gaze=(0.9, 0.0))))


def seen(who, motions):
    """Pictures [F, 3, S, S] in [-1, 1] of a person, and the keypoints [F, 21, 3]."""
    pictures = torch.from_numpy(draw(who, motions, SIZE)).permute(0, 3, 1, 2) / 127.5 - 1
    return pictures, pose_keypoints(canonical_keypoints(who)[None].expand(len(motions), -1, -1), head_pose(motions))


def cut(driver, shown=(True, True, True)):
    pictures, keypoints = driver
    return cut_regions(pictures, keypoints, torch.tensor(shown))


def test_on_its_own_face_the_cue_is_the_masked_picture(driver):
    pictures, keypoints = driver
    found = draw_regions(cut(driver), keypoints, SIZE)
    masked = pictures * soft_masks(region_centres(keypoints), SIZE)
    assert (found - masked).abs().mean() < 0.003
    assert (found - masked).square().mean() < 0.01 * masked.square().mean()
    assert not found[(soft_masks(region_centres(keypoints), SIZE) == 0).expand_as(found)].any()


def test_the_cut_holds_no_place_turn_or_size_of_the_head_but_the_gaze(driver):
    still, moved, looking = (cut(driver).float() / 127)[:, :2]  # eyes
    assert (still - moved).abs().mean() < 0.03
    assert (still - looking).abs().mean() > 1.5 * (still - moved).abs().mean()


def test_the_cue_has_the_places_and_proportions_of_the_other_face(driver):
    _, places = seen(person("train", 1), (FaceMotion(yaw=20.0, shift=(-0.1, 0.1)),) * 3)
    found = draw_regions(cut(driver), places, 2 * SIZE)  # at any size
    masks = soft_masks(region_centres(places), 2 * SIZE)
    assert not found[(masks == 0).expand_as(found)].any()
    assert found.abs().sum(1, keepdim=True)[masks == 1].gt(0.05).float().mean() > 0.95


def test_what_is_not_shown_is_exactly_zero(driver):
    found = cut(driver, (True, False, True))
    assert found.shape == (3, *CUE_SHAPE)
    assert found.dtype == torch.int8
    assert found[0].any()
    assert not found[1].any()
    assert not found[..., 0, 0].any()  # a corner, outside the ellipse
    assert not draw_regions(found, driver[1], 64)[1].any()
    outside = driver[1] + torch.tensor([5.0, 0.0, 0.0])
    assert not cut_regions(driver[0], outside, torch.tensor([True] * 3)).any()


def test_a_face_in_one_place_breaks_nothing(driver):
    nowhere = torch.zeros(3, 21, 3)
    assert not draw_regions(cut_regions(driver[0], nowhere, torch.tensor([False] * 3)), nowhere, 64).any()
    assert draw_regions(cut(driver), nowhere, 64).isfinite().all()


@pytest.fixture
def guiders():
    """One without a region cue, and the same with one."""
    torch.manual_seed(0)
    plain, cued = (PoseGuider(PoseGuiderConfig(16, WIDTHS, region_cue=cue)) for cue in (False, True))
    assert [*cued.load_state_dict(plain.state_dict(), strict=False).missing_keys] == ["conv_regions.weight"]
    return plain, cued


@torch.no_grad()
def test_a_zero_cue_is_no_cue_and_a_zero_layer_no_layer_to_the_bit(guiders):
    plain, cued = guiders
    drawing, regions = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 64, 64) - 0.5
    wanted = plain(drawing)
    assert torch.equal(cued(drawing), wanted)
    assert torch.equal(cued(drawing, torch.zeros_like(regions)), wanted)
    assert (cued(drawing, regions) - wanted).abs().mean() > 1e-6
    cued.conv_regions.weight.zero_()
    assert torch.equal(cued(drawing, regions), wanted)


@torch.no_grad()
def test_the_layer_adds_a_linear_code_of_each_patch(guiders):
    plain, cued = guiders
    drawing, regions = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    patches = torch.nn.functional.unfold(regions, 8, stride=8)  # [2, 3 * 8 * 8, 64]
    code = (cued.conv_regions.weight.flatten(1) @ patches).unflatten(-1, (8, 8))
    torch.testing.assert_close(cued(drawing, regions), plain(drawing) + code)


def test_the_loader_sees_it_from_the_checkpoint(guiders):
    for guider, cue in zip(guiders, (False, True), strict=True):
        shapes = {key: tuple(tensor.shape) for key, tensor in guider.state_dict().items()}
        assert pose_guider_config(shapes) == PoseGuiderConfig(16, WIDTHS, region_cue=cue)
