"""Crops, landmark networks' pictures, openness ratios and paste-back against the published code."""

from dataclasses import replace

import numpy as np
import pytest

from personalive_core.backends.liveportrait import pasting
from personalive_core.backends.liveportrait.crops import (
    DRIVING_CROP,
    EDITOR_CROP,
    SOURCE_CROP,
    CropRule,
    crop_matrix,
    driving_square,
    face_axis,
    face_square,
    halved,
    landmark_matrix,
    limited,
    limited_scale,
    limited_size,
    transformed,
    warped,
)
from personalive_core.backends.liveportrait.landmarks import (
    eye_openness,
    first_input,
    first_points,
    lip_openness,
    refined_input,
    refined_points,
)
from personalive_core.backends.liveportrait.pasting import eight_bits, paste_template, prepare_live_paste
from personalive_core.backends.liveportrait.reference import crop_source
from personalive_core.errors import InputError
from tests.backends.liveportrait.published import inputs_of, pipeline

EXPECTED = pipeline()
PIXELS = 2e-3  # of matrices and points
RATIO = 2e-5
LEVELS = {"crop/source/image_512", "crop/source/image_256", "crop/driving/images", "paste/image", "paste/seam"}
NAMES = [
    name
    for name in EXPECTED.files
    if name.startswith(("crop/", "landmark", "ratios/", "paste/", "constants/mask")) and name != "paste/seam_corner"
]


def matrices(live_cases):
    points = {count: live_cases.landmarks("lp.source", count) for count in (203, *live_cases.AXIS_POINTS)}
    found = {f"crop/matrix/{count}": landmark_matrix(points[count], SOURCE_CROP) for count in points if count != 478}
    found["crop/matrix/478_kj"] = landmark_matrix(points[478], SOURCE_CROP)
    found["crop/matrix/106_upright"] = landmark_matrix(points[106], replace(SOURCE_CROP, rotated=False))
    found["crop/matrix/106_scale_2.5"] = landmark_matrix(points[106], EDITOR_CROP)
    found["crop/matrix/203_vx_0.1_kj"] = landmark_matrix(points[203], replace(SOURCE_CROP, right=0.1))
    return found


def source_outputs(live_cases, synth):
    picture, points = limited(live_cases.pictures("lp.source", 1)[0]), live_cases.landmarks("lp.source", 106)
    crop = crop_source(picture, points)
    box = (*points.min(0), *points.max(0))
    refined, refined_matrix = refined_input(picture, points)
    first, first_matrix = first_input(picture, box)
    answer = synth.synth_input("lp.landmark203_out", (1, 406), 0.2, 0.8).numpy()
    other = synth.synth_input("lp.landmark106_out", (1, 212), -0.6, 0.6).numpy()
    paste = prepare_live_paste(picture, crop.matrix)
    pasted = paste(live_cases.pictures("lp.crop", 1, 512, 512)[0])
    x, y = EXPECTED["paste/seam_corner"]
    flat = crop.picture.reshape(-1, 3)
    return {
        "crop/source/M_o2c": landmark_matrix(points, SOURCE_CROP),
        "crop/source/M_c2o": crop.matrix,
        "crop/source/image_512": crop.picture[::16, ::16],
        "crop/source/image_512_mean": flat.mean(0),
        "crop/source/image_512_std": flat.std(0),
        "crop/source/image_256": crop.small[::8, ::8],
        "landmark203/input": refined[..., ::7, ::7],
        "landmark203/points": refined_points(answer, refined_matrix),
        "landmark106/box": np.array(box),
        "landmark106/input": first[..., ::6, ::6],
        "landmark106/points": first_points(other, first_matrix),
        "paste/mask": paste.mask[::20, ::20, 0],
        "paste/image": pasted[::10, ::10],
        "paste/seam": pasted[y : y + 24, x : x + 24],
        "constants/mask_corner": paste_template()[:24, :24],
        "constants/mask_far_corner": paste_template()[-24:, -24:],
    }


def driving_outputs(live_cases):
    pictures, points = (
        live_cases.pictures("lp.driving", 4),
        [live_cases.landmarks(f"lp.driving{i}", 203) for i in range(4)],
    )
    boxes = [face_square(one, DRIVING_CROP).box for one in points]
    square = driving_square(boxes)
    matrix = crop_matrix(square, 512)
    own = [landmark_matrix(one, SOURCE_CROP) for one in points]
    small = [transformed(one, to_crop)[::29] / 2 for one, to_crop in zip(points, own, strict=True)]
    return {
        "crop/driving/boxes": np.array(boxes),
        "crop/driving/box": np.array(square.box),
        "crop/driving/M_o2c": matrix,
        "crop/driving/images": np.stack([warped(one, matrix, 512, 512)[::16, ::16] for one in pictures[:2]]),
        "crop/driving/landmarks": np.stack([transformed(one, matrix)[::29] for one in points]),
        "crop/source_video/M_c2o": np.linalg.inv(np.stack(own)),
        "crop/source_video/landmarks_256": np.stack(small),
    }


def ratio_outputs(live_cases, synth):
    x = inputs_of(synth, live_cases)
    points = [live_cases.landmarks(tag, 203) for tag in ("lp.source", *(f"lp.driving{i}" for i in range(4)))]
    own_eyes, own_lips = x.source.eyes.expand(4, -1), x.source.lips.expand(4, -1)
    return {
        "ratios/eyes": np.stack([eye_openness(one) for one in points]),
        "ratios/lips": np.stack([lip_openness(one) for one in points]),
        "ratios/eye_input": np.concatenate([own_eyes, x.driving.eyes[:, :1]], 1),
        "ratios/lip_input": np.concatenate([own_lips, x.driving.lips], 1),
    }


@pytest.fixture(scope="module")
def outputs(live_cases, synth):
    return {
        **matrices(live_cases),
        **source_outputs(live_cases, synth),
        **driving_outputs(live_cases),
        **ratio_outputs(live_cases, synth),
    }


def test_every_published_array_is_compared(outputs):
    assert set(outputs) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_published(name, outputs):
    found, expected = np.asarray(outputs[name], np.float64), EXPECTED[name].astype(np.float64)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    if name in LEVELS:
        assert (difference <= 1).mean() >= 0.995
    elif name == "landmark106/input":
        assert (difference <= 1).all()
    elif name == "landmark203/input":
        assert (difference <= 1.01 / 255).all()
    elif name.startswith("constants/"):
        assert not difference.any()
    else:
        assert difference.max() <= (RATIO if name.startswith("ratios/") else PIXELS)


def test_the_seam_is_truncated_and_not_rounded(outputs):
    assert abs(outputs["paste/seam"].mean() - EXPECTED["paste/seam"].mean()) < 0.05


def test_another_border_is_seen(monkeypatch):
    for border in (15, 17):
        monkeypatch.setattr(pasting, "_BORDER", border)
        paste_template.cache_clear()
        assert (paste_template()[:24, :24] != EXPECTED["constants/mask_corner"]).any()
    paste_template.cache_clear()


def test_sizes_of_limited_sources():
    for width, height, wide, high, limit in EXPECTED["resize_to_limit"].tolist():
        assert limited_size(width, height, limit)[2:] == (wide, high)
    assert limited(np.zeros((501, 701, 3), np.uint8)).shape == (500, 700, 3)
    assert limited_scale(701, 501) == 1
    assert limited(np.zeros((1080, 1921, 3), np.uint8)).shape == (718, 1280, 3)


def test_halving_is_the_mean_of_four():
    crop = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    mean = crop.reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(halved(crop) - mean).max() <= 0.5


def test_eight_bits_are_truncated():
    assert eight_bits(np.array([-1, 0, 0.999 / 255, 254.9 / 255, 1, 2])).tolist() == [0, 0, 0, 254, 255, 255]


def test_outside_the_crop_the_original_is_untouched():
    original = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    matrix = np.array([[0.1, 0, 30], [0, 0.1, 20], [0, 0, 1]])
    pasted = prepare_live_paste(original, matrix)(np.zeros((512, 512, 3), np.uint8))
    inside = np.zeros((90, 120), bool)
    inside[20:72, 30:82] = True
    assert np.array_equal(pasted[~inside], original[~inside])
    assert not pasted[30:60, 40:70].any()


def test_a_crop_pasted_back_is_the_picture(live_cases):
    picture = live_cases.pictures("lp.source", 1)[0]
    crop = crop_source(picture, live_cases.landmarks("lp.source", 5))
    pasted = prepare_live_paste(picture, crop.matrix)(crop.picture)
    assert np.abs(pasted.astype(int) - picture).max() <= 3  # resampled twice: the pictures are smooth


def test_an_upright_face_where_eyes_and_mouth_meet():
    assert face_axis(np.zeros((5, 2))).tolist() == [0, 1]


def test_a_turned_face_is_upright_in_its_crop(live_cases):
    points = live_cases.landmarks("lp.source", 68)
    for degrees in (0, 60, 135, -100):
        turn = np.deg2rad(degrees)
        turned = (points - 300) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 300
        crop = transformed(turned, landmark_matrix(turned, SOURCE_CROP))
        assert np.abs(crop - transformed(points, landmark_matrix(points, SOURCE_CROP))).max() < 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: face_axis(np.zeros((7, 2))), "cropped by 5, 9, 68, 101, 106, 203, 478 landmarks, got 7: give one"),
        (lambda: face_square(np.ones((5, 2)), SOURCE_CROP), "all 5 landmarks lie in one place: give those of a face"),
        (lambda: CropRule(0), "scale must be above 0"),
        (lambda: eye_openness(np.zeros((68, 2))), "read from 203 landmarks, got 68: use the landmark network"),
    ],
)
def test_what_is_no_face_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
