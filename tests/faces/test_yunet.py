"""YuNet with its real file, on drawn people: found where they are, in pictures of any shape, followed and chosen."""

import numpy as np
import pytest
from PIL import Image

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, RATE, SITTER, sample_motion
from personalive_core.faces.crop import choose_face, crop_found, portrait_crop
from personalive_core.faces.detectors import YuNetDetector
from personalive_core.faces.tracking import TrackOptions, crop_frames

WALL, CALM = (150, 160, 170), FaceMotion()


@pytest.fixture(scope="module")
def yunet(yunet_model):
    return YuNetDetector(yunet_model)


def portrait(who, size, motion=CALM):
    return draw_portrait(who, motion, size)


def scene(height, width, *placed):
    """A wall with square pictures of people, each (picture, left, top), on it."""
    canvas = np.full((height, width, 3), WALL, np.uint8)
    for picture, left, top in placed:
        canvas[top : top + len(picture), left : left + len(picture)] = picture
    return canvas


# Drawn people's faces in pictures of 512 pixels, found with OpenCV 4.14: left, top, right, bottom.
KNOWN = [(SITTER, (156.1, 113.5, 357.5, 376.4)), (DRIVER, (160.5, 111.9, 356.4, 372.0))]


@pytest.mark.parametrize(("who", "box"), KNOWN, ids=["sitter", "driver"])
def test_the_box_is_the_same_whatever_opencv(yunet, who, box):
    (found,) = yunet(portrait(who, 512))
    assert (found.box.left, found.box.top, found.box.right, found.box.bottom) == pytest.approx(box, abs=1)
    assert 0.9 < found.score <= 1


def test_one_face_in_every_frame_of_the_sample(yunet):
    for frame in range(0, 100, 3):
        (found,) = yunet(portrait(DRIVER, 256, sample_motion(frame, RATE)))
        assert np.abs(np.array(found.box.centre) - 128).max() < 30, f"frame {frame}"


def test_no_face_in_the_backdrop(yunet):
    for who in (SITTER, DRIVER):
        behind = portrait(who, 512).copy()
        behind[80:] = behind[:1]  # the person gone
        assert yunet(behind) == ()
    assert yunet(scene(300, 400)) == ()


@pytest.mark.parametrize("size", [48, 96, 333, 1500])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2.7), (2.7, 1)], ids=["square", "landscape", "portrait"])
def test_pictures_of_any_shape_and_size(yunet, size, shape):
    height, width = (round(edge * size) for edge in shape)
    face = portrait(SITTER, size)
    (found,) = yunet(scene(height, width, (face, width - size, height - size)))
    expected = np.array(KNOWN[0][1]) * size / 512 + np.array([width - size, height - size] * 2)
    box = (found.box.left, found.box.top, found.box.right, found.box.bottom)
    assert box == pytest.approx(expected, abs=0.1 * size)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 640), (640, 2), (20, 100), (32, 32), (1, 5000), (100, 20)])
def test_slivers_hold_no_faces(yunet, shape):
    for _ in range(3):
        assert yunet(np.full((*shape, 3), 120, np.uint8)) == ()


def test_left_and_right_are_told_apart(yunet):
    both = scene(300, 700, (portrait(SITTER, 256), 20, 40), (portrait(DRIVER, 200), 460, 80))
    faces = yunet(both)
    assert len(faces) == 2
    assert choose_face(faces, "left", None).box.right < 280
    assert choose_face(faces, "1", None).box.left > 460
    assert choose_face(faces, "largest", None) == choose_face(faces, "0", None)
    assert crop_found(faces, "2", (300, 700)) is None


def test_a_person_who_walks_is_followed_past_another(yunet):
    still = portrait(SITTER, 160)
    places = range(30, 270, 6)
    frames = [
        scene(260, 640, (still, 470, 90), (portrait(DRIVER, 200, sample_motion(index, RATE)), left, 30))
        for index, left in enumerate(places)
    ]
    cropped = list(crop_frames(frames, 64, yunet, TrackOptions(choice="left")))
    assert all(frame.found for frame in cropped)
    assert max(abs(frame.crop.centre[0] - left - 100) for left, frame in zip(places, cropped, strict=True)) < 50
    assert all(150 < frame.crop.size < 260 for frame in cropped)


def test_a_photograph_and_the_same_one_in_a_wide_frame(yunet, demo_folder):
    photograph = np.asarray(Image.open(demo_folder / "ref_image.png").convert("RGB"))
    (alone,) = yunet(photograph)
    (found,) = yunet(scene(1100, 2000, (photograph, 1200, 300)))
    assert found.box.centre == pytest.approx((alone.box.centre[0] + 1200, alone.box.centre[1] + 300), abs=20)
    crop = portrait_crop(found.box, (1100, 2000))
    assert np.abs(np.array([crop.left, crop.top, crop.size]) - (1200, 300, 512)).max() < 80  # its boxes are tall
