"""The driving's regions on a source, and the one similarity that lays them there."""

import math

import pytest
import torch

from personalive_core.backends.svdp.masks import masked_driving
from personalive_core.backends.svdp.placing import fit_similarity
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.truth import draw, landmarks, person
from personalive_core.errors import InputError
from personalive_core.faces.regions import region_centres, soft_masks

SIZE = 96


def test_the_similarity_is_found_again():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.3, 0.8], [0.5, -0.4]])
    turn = 1.7 * torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
    moved = points @ turn.T + torch.tensor([0.2, -0.7])
    found = fit_similarity(points, moved)
    assert torch.allclose(found.place(points), moved, atol=1e-5)
    mirrored = fit_similarity(points, points * torch.tensor([-1.0, 1.0]))
    assert torch.linalg.det(mirrored.turn) > 0


def test_a_picture_moves_like_its_points():
    where = torch.tensor([0.3125, -0.1875])
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 25:27, 41:43] = 1.0  # the four pixels around that point
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    placing = fit_similarity(points, torch.tensor([[0.1, -0.2], [0.9, 0.4], [-0.5, 0.6]]))
    laid = placing.lay(picture, 128)[0, 0]
    axis = (torch.arange(128) * 2 + 1) / 128 - 1
    centre = torch.stack([(laid.sum(0) * axis).sum(), (laid.sum(1) * axis).sum()]) / laid.sum()
    assert torch.allclose(centre, placing.place(where), atol=0.01)


def test_the_driving_is_laid_on_the_source_and_all_else_is_grey():
    driver, sitter = person("train", 0), person("train", 1)
    motions = (FaceMotion(), FaceMotion(yaw=15.0), FaceMotion(shift=(0.1, 0.0)))
    pictures = torch.from_numpy(draw(driver, motions, SIZE)).permute(0, 3, 1, 2) / 127.5 - 1
    centres = region_centres(landmarks(driver, motions))
    source = region_centres(landmarks(sitter, [FaceMotion(scale=0.7, roll=20.0, shift=(0.2, 0.1))]))[0]
    placing = fit_similarity(centres[0], source)
    found = masked_driving(pictures, centres, placing, 64)
    assert found.shape == (3, 3, 64, 64)
    outside = soft_masks(placing.place(centres), 64) == 0
    assert not found[outside.expand_as(found)].any()
    assert (placing.place(centres[0]) - source).abs().max() < 0.08  # two faces are not alike
    moved = placing.place(centres[2]) - placing.place(centres[0])  # changes since the first frame stay
    assert torch.allclose(moved, (placing.turn @ torch.tensor([0.115, 0.0])).expand(4, 2), atol=1e-4)


def test_points_in_one_place_are_refused():
    with pytest.raises(InputError, match="all in one place"):
        fit_similarity(torch.ones(4, 2), torch.ones(4, 2))
