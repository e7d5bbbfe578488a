"""Crops of whole pixels, and the batched resize of a GPU against Pillow's, whose arithmetic it repeats."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from personalive_core.device import Download
from personalive_core.faces import crop as module
from personalive_core.faces import resize
from personalive_core.faces.crop import Crop, crop_image, cut_patch, whole_frame
from personalive_core.faces.resize import resized_levels, resized_patches, taps
from personalive_core.media.tensors import to_signed


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def contrast(height, width):
    """Black and white only, where rounding and clipping show most."""
    return (noise(height, width, 9) > 127).astype(np.uint8) * 255


CROPS = [
    (whole_frame((96, 96)), 64),
    (whole_frame((90, 160)), 64),
    (Crop(3.25, 7.5, 61.75), 64),  # enlarged, between pixels
    (Crop(10.1, 0.0, 89.9), 64),
    (Crop(-12.5, 40.0, 80.0), 64),  # beyond two edges
    (Crop(20.0, 12.0, 40.0), 40),  # unchanged
    (Crop(20.0, 12.0, 2.5), 33),
    (Crop(0.0, 0.0, 90.0), 7),
]


# --- whole pixels


def test_a_crop_of_whole_pixels_is_the_frames_pixels_without_pillow(monkeypatch):
    frame = noise(40, 70)
    monkeypatch.setattr(module, "Image", None)
    found = crop_image(frame, Crop(5, 3, 32), 32)
    assert np.array_equal(found, frame[3:35, 5:37])
    assert np.array_equal(crop_image(frame[:40, :40], whole_frame((40, 40)), 40), frame[:, :40])
    beyond = crop_image(frame, Crop(-2, -1, 32), 32)
    assert np.array_equal(beyond, np.pad(frame, ((1, 0), (2, 0), (0, 0)), mode="edge")[:32, :32])
    with pytest.raises(AttributeError):
        crop_image(frame, Crop(5, 3, 32), 31)


def test_a_reused_frame_does_not_change_its_crop():
    """A camera may fill the same array again."""
    frame = noise(32, 32)
    kept = frame.copy()
    found, patch = crop_image(frame, Crop(0, 0, 32), 32), cut_patch(frame, Crop(1, 1, 20.5))
    frame[:] = 0
    assert np.array_equal(found, kept)
    assert np.array_equal(patch.pixels, kept[1:22, 1:22])


@pytest.mark.parametrize(("crop", "size"), CROPS)
def test_other_crops_are_pillows_resize_of_the_pixels_they_touch(crop, size):
    frame = noise(90, 160)
    x, y = math.floor(crop.left), math.floor(crop.top)
    columns, rows = np.arange(x, math.ceil(crop.left + crop.size)), np.arange(y, math.ceil(crop.top + crop.size))
    patch = Image.fromarray(frame[np.ix_(rows.clip(0, 89), columns.clip(0, 159))])
    left, top = crop.left - x, crop.top - y
    box = (left, top, min(left + crop.size, len(columns)), min(top + crop.size, len(rows)))
    expected = np.asarray(patch.resize((size, size), Image.Resampling.BICUBIC, box))
    assert np.array_equal(crop_image(frame, crop, size), expected)


# --- on a device


def resized(frames, crops, size):
    """What a CUDA device computes, computed here."""
    patches = [cut_patch(frame, crop) for frame, crop in zip(frames, crops, strict=True)]
    pixels = resize._side_by_side(patches, pinned=False)
    return resized_levels(pixels, [patch.box for patch in patches], [patch.pixels.shape for patch in patches], size)


@pytest.mark.parametrize("frame", [noise(90, 160), contrast(90, 160)], ids=["noise", "contrast"])
@pytest.mark.parametrize(("crop", "size"), CROPS)
def test_one_level_from_pillow_at_most(crop, size, frame):
    expected = crop_image(frame, crop, size).astype(int)
    found = resized([frame], [crop], size)[0].permute(1, 2, 0).numpy()
    off = np.abs(found - expected)
    assert off.max() <= 1
    assert off.mean() < 1e-3  # only where a sum is a half, to the last bit of its precision


def test_crops_of_any_place_and_size_in_one_call():
    generator = np.random.default_rng(4)
    frames = [noise(80, 120, seed) for seed in range(6)]
    crops = [Crop(*generator.uniform(-10, 40, 2), generator.uniform(20, 90)) for _ in frames]
    found = resized(frames, crops, 48)
    expected = np.stack([crop_image(frame, crop, 48) for frame, crop in zip(frames, crops, strict=True)])
    assert np.abs(found.permute(0, 2, 3, 1).numpy() - expected.astype(int)).max() <= 1


def test_pictures_that_keep_their_size_are_exact_among_others():
    frames = [noise(64, 64), noise(90, 90)]
    found = resized(frames, [whole_frame((64, 64)), whole_frame((90, 90))], 64)
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), frames[0])


@pytest.mark.parametrize(("start", "end", "count", "size"), [(0, 90, 90, 64), (0.3, 50.9, 51, 64), (0, 40, 40, 40)])
def test_weights_of_each_pixel_add_up_to_one(start, end, count, size):
    places, weights = taps(start, end, count, size)
    assert weights.sum(1) == pytest.approx(np.ones(size), abs=1e-5)
    assert places.min() >= 0
    assert places.max() < count


def test_on_the_cpu_pillow_resizes():
    frames = [noise(90, 90, seed) for seed in range(3)]
    patches = [cut_patch(frame, whole_frame((90, 90))) for frame in frames]
    expected = to_signed(np.stack([crop_image(frame, whole_frame((90, 90)), 64) for frame in frames]))
    assert torch.equal(resized_patches(patches, 64, torch.device("cpu")), expected)


@pytest.mark.gpu
@pytest.mark.parametrize(("crop", "size"), CROPS)
def test_one_level_from_pillow_on_a_gpu(crop, size):
    frames = [noise(90, 160), contrast(90, 160)]
    found = resized_patches([cut_patch(frame, crop) for frame in frames], size, torch.device("cuda"))
    levels = ((found + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy()
    expected = np.stack([crop_image(frame, crop, size) for frame in frames]).astype(int)
    assert np.abs(levels - expected).max() < 1.01
    if size == crop.size:
        assert np.abs(levels - expected).max() < 0.01


def test_a_copy_that_is_there_is_read_at_once():
    tensor = torch.arange(3)
    assert Download((tensor,)).read()[0] is tensor
