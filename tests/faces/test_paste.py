"""Pasting a crop back: nothing changes that should not, and what changes meets its surroundings."""

import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import InputError
from personalive_core.faces.crop import Crop, crop_image, whole_frame
from personalive_core.faces.paste import PasteOptions, paste_back, paste_mask, prepare_paste

PLAIN = PasteOptions(match_colour=False)
CROPS = [
    Crop(40, 20, 96),  # at the picture's size
    Crop(30.3, 10.6, 130.5),  # shrunk to the picture
    Crop(60.25, 40.5, 50),  # enlarged to the picture
    Crop(-25.5, -10.2, 120),  # out of the frame at left and top
    Crop(100, 60, 150),  # out at right and bottom
    Crop(-40, -40, 300),  # larger than the frame
]


def frame():
    """[160, 220, 3] with gradients and noise: every pixel tells."""
    y, x = np.mgrid[:160, :220]
    smooth = np.stack([x, y + 40, 200 - x / 2], -1)
    return (smooth + np.random.default_rng(0).normal(0, 25, smooth.shape)).clip(0, 255).astype(np.uint8)


def smooth_frame():
    y, x = np.mgrid[:160, :220]
    return np.stack([60 + x / 3, 50 + y / 2, 180 - x / 4], -1).round().astype(np.uint8)


def difference(one, two):
    return np.abs(one.astype(int) - two.astype(int)).max(axis=2)


@pytest.mark.parametrize("match_colour", [True, False])
@pytest.mark.parametrize("crop", CROPS)
def test_an_unchanged_crop_changes_nothing(crop, match_colour):
    original = frame()
    result = paste_back(original, crop_image(original, crop, 96), crop, PasteOptions(match_colour=match_colour))
    assert difference(result, original).max() <= 1
    outside = paste_mask(crop, (160, 220), 0.1) == 0
    assert np.array_equal(result[outside], original[outside])


@pytest.mark.parametrize("crop", CROPS)
def test_outside_the_mask_every_byte_stays(crop):
    original = frame()
    before = original.copy()
    result = paste_back(original, np.zeros((96, 96, 3), np.uint8), crop, PLAIN)
    mask = paste_mask(crop, (160, 220), 0.1)
    assert np.array_equal(result[mask == 0], original[mask == 0])
    assert difference(result, original)[mask == 1].mean() > 50
    assert np.all(difference(result, original) <= 255 * mask + 1)
    assert np.array_equal(original, before)


def test_the_core_is_the_picture_and_nothing_of_the_original():
    original, crop = frame(), Crop(30, 10, 144)
    animated = np.full((96, 96, 3), (250, 10, 240), np.uint8)
    animated[::2, ::3] = (0, 0, 0)
    result = paste_back(original, animated, crop, PLAIN)
    mask = paste_mask(crop, (160, 220), 0.1)
    expected = np.asarray(Image.fromarray(animated).resize((144, 144), Image.Resampling.BICUBIC))
    core = mask[10:154, 30:174] == 1
    assert core.sum() > 10_000
    assert np.array_equal(result[10:154, 30:174][core], expected[core])


def test_detail_stays_where_the_picture_did_not_change():
    original, crop = frame(), Crop(20, 0, 160)
    animated = crop_image(original, crop, 64).copy()
    animated[28:36, 28:36] = 255
    result = paste_back(original, animated, crop, PLAIN)
    assert np.array_equal(result[:, 20:80], original[:, 20:80])
    assert difference(result, original)[75:85, 95:105].min() > 20
    plain = np.asarray(Image.fromarray(animated).resize((160, 160), Image.Resampling.BICUBIC))
    beside = np.s_[72:88, 67]  # next to what changed: the old contours' detail would be a ghost here
    assert difference(result[:, 20:180], plain)[beside].max() <= 1
    assert difference(result[:, 20:180], original[:, 20:180])[beside].mean() > 10


def test_the_mask_ramps_smoothly_inside_the_border():
    mask = paste_mask(Crop(50, 30, 100), (160, 220), 0.2)
    assert mask.dtype == np.float32
    assert mask.shape == (160, 220)
    assert mask[:30].max() == mask[130:].max() == mask[:, :50].max() == mask[:, 150:].max() == 0
    row = mask[80, 50:150]
    assert row[0] < 0.002
    assert np.all(np.diff(row[:20]) > 0)
    assert np.all(row[20:80] == 1)
    assert row == pytest.approx(row[::-1], abs=1e-6)
    assert np.abs(np.diff(row)).max() < 1.6 / 20


def test_the_mask_does_not_fall_towards_the_frame():
    assert np.all(paste_mask(whole_frame((64, 64)), (64, 64), 0.1) == 1)
    mask = paste_mask(Crop(-20, 30, 100), (160, 220), 0.1)
    assert mask[80, 0] == 1
    assert mask[80, 79] < 0.01


@pytest.mark.parametrize("cast", [(14, -6, -12), (-40, -40, 30)])
def test_a_colour_cast_is_taken_off(cast):
    original, crop = smooth_frame(), Crop(40, 20, 120)
    animated = (crop_image(original, crop, 96) + np.array(cast)).astype(np.uint8)
    matched = paste_back(original, animated, crop, PasteOptions())
    assert difference(matched, original).max() <= 2
    assert difference(paste_back(original, animated, crop, PLAIN), original).max() >= max(np.abs(cast)) - 2


def test_something_that_moved_through_the_seam_does_not_tint_the_rest():
    original, crop = smooth_frame(), Crop(40, 20, 120)
    animated = crop_image(original, crop, 96).copy()
    animated[70:, 30:66] = 250  # a shoulder in white
    matched = paste_back(original, animated, crop, PasteOptions())
    assert difference(matched, original)[30:80, 60:140].max() <= 8


def test_many_pictures_into_one_original():
    original, crop = frame(), Crop(30.5, 12, 120)
    paste = prepare_paste(original, crop, 96, PasteOptions())
    rng = np.random.default_rng(3)
    for _ in range(3):
        animated = rng.integers(0, 256, (96, 96, 3), np.uint8)
        assert np.array_equal(paste(animated), paste_back(original, animated, crop, PasteOptions()))


def test_wrong_values_are_refused():
    original = frame()
    with pytest.raises(InputError, match=r"from 0 to 0.5, got 0.7"):
        PasteOptions(feather=0.7)
    with pytest.raises(InputError, match=r"expected a picture of \[96, 96, 3\].*got \[64, 64, 3\]"):
        prepare_paste(original, CROPS[0], 96, PLAIN)(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"\[96, 96, 3\].*got \[96, 64, 3\]"):
        paste_back(original, np.zeros((96, 64, 3), np.uint8), CROPS[0], PLAIN)
    with pytest.raises(InputError, match="holds no whole pixel"):
        paste_back(original, np.zeros((96, 96, 3), np.uint8), Crop(219.5, 0, 20), PLAIN)


def test_a_hard_edge_is_allowed():
    mask = paste_mask(Crop(50, 30, 100), (160, 220), 0.0)
    assert set(np.unique(mask)) == {0.0, 1.0}
    original = frame()
    picture = crop_image(original, CROPS[0], 96)
    assert np.array_equal(paste_back(original, picture, CROPS[0], PasteOptions(feather=0.0)), original)
