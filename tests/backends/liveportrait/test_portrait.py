"""Source pictures and source videos: cropped, read, frames without a face held."""

import numpy as np
import pytest
import torch

from personalive_core.backends.liveportrait.animation import AnimationOptions
from personalive_core.backends.liveportrait.crops import SOURCE_CROP, landmark_matrix
from personalive_core.backends.liveportrait.finding import Finder, FoundFace
from personalive_core.backends.liveportrait.loader import load_live
from personalive_core.backends.liveportrait.portrait import WINDOW, prepare_source, read_film
from personalive_core.backends.liveportrait.reference import crop_source
from personalive_core.backends.liveportrait.stream import check_openness
from personalive_core.errors import FaceError
from personalive_core.faces.crop import Box
from personalive_core.modules.keypoints import rotation_matrix
from tests.backends.liveportrait.test_finding import Network, face_of, full
from tests.backends.liveportrait.tiny import CPU, tiny_states, write_hub


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def model(tmp_path_factory, synth):
    return load_live(write_hub(tmp_path_factory.mktemp("hub"), tiny_states(synth)), CPU, torch.float32)


@pytest.fixture
def pictures(live_cases):
    return live_cases.pictures("lp.driving", 4)


def test_a_source_picture_is_cropped_by_its_landmarks(model, pictures):
    points = full(200, 120, 40)
    found = FoundFace(points, Box(150, 100, 250, 200), points)
    portrait = prepare_source(model, pictures[0], found)
    matrix = landmark_matrix(points, SOURCE_CROP)
    assert np.allclose(portrait.crop.matrix @ matrix, np.eye(3), atol=1e-4)
    motion = portrait.source.motion
    assert motion.box.tolist() == [[150, 100, 250, 200]]
    assert torch.isfinite(motion.eyes).all()
    assert motion.valid.all()


def test_without_a_face_the_largest_square_is_the_source(model, pictures):
    portrait = prepare_source(model, pictures[0], None)
    height, width = pictures[0].shape[:2]
    corners = portrait.crop.matrix @ np.array([[0, 0, 1], [512, 512, 1]]).T
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    assert np.allclose(corners[:2].T, [[left, top], [left + side, top + side]], atol=1e-3)
    assert portrait.source.motion.eyes.isnan().all()
    square = np.zeros((512, 512, 3), np.uint8)
    square[::2, ::3] = 200
    assert np.array_equal(prepare_source(model, square, None).crop.picture, square)


def test_each_frame_of_a_source_video_has_its_own_crop(model, pictures):
    network, count = Network(), iter(range(99))
    missing = (0, 3)

    def detector(_):
        index = next(count)
        network.place = (200 + 2 * index, 120, 40)
        return () if index in missing else (face_of(*network.place),)

    frames = [pictures[index % 4] for index in range(2 * WINDOW + 1)]
    film = read_film(model, iter(frames), Finder(detector, network))
    assert len(film) == len(film.motion) == len(frames)
    assert film.motion.valid.tolist() == [index not in missing for index in range(len(frames))]
    for index, matrix in enumerate(film.matrices):
        shown = {0: 1, 3: 2}.get(index, index)
        expected = landmark_matrix(full(200 + 2 * shown, 120, 40), SOURCE_CROP)
        assert np.allclose(matrix @ expected, np.eye(3), atol=1e-3), index
    assert torch.equal(film.motion.expression[3], film.motion.expression[2])


def test_frames_without_landmarks_take_the_openness_before(model, pictures):
    """The face is found in all of them, but turned too far in two: eyes and lips of the film can still be set."""
    network, count = Network(), iter(range(99))

    def detector(_):
        index = next(count)
        network.place = (200 + 2 * index, 120 + (900 if index in (0, 3) else 0), 40 + index)
        return (face_of(200 + 2 * index, 120, 40 + index),)

    film = read_film(model, [pictures[index % 4] for index in range(6)], Finder(detector, network))
    assert film.motion.valid.all()
    for values in (film.motion.eyes, film.motion.lips):
        assert values.isfinite().all()
        assert torch.equal(values[0], values[1])
        assert torch.equal(values[3], values[2])
    check_openness(film.motion, AnimationOptions(eyes=True, lips=True))
    unknown = read_film(model, pictures, Finder(lambda _: (face_of(200, 120, 40),))).motion
    assert unknown.eyes.isnan().all(), "without the network nothing is known"


def test_a_source_video_without_any_face_is_refused(model, pictures):
    with pytest.raises(FaceError, match="no face in any of the 4 frames of the source video"):
        read_film(model, pictures, Finder(lambda _: ()))


@pytest.mark.parametrize("missing", ["hold", "interpolate", "error"])
def test_missing_faces_of_a_source_video_go_by_policy(model, pictures, missing):
    gap, count = WINDOW + 1, iter(range(99))
    finder = Finder(lambda _: () if next(count) == gap else (face_of(200, 120, 40),))
    frames = [pictures[index % 4] for index in range(2 * WINDOW)]
    if missing == "error":
        with pytest.raises(FaceError, match=f"no face in frame {gap} of the source video: set missing faces to hold"):
            read_film(model, iter(frames), finder, missing=missing)
        return
    motion = read_film(model, iter(frames), finder, missing=missing).motion
    before, filled, after = motion.expression[gap - 1 : gap + 2]
    assert torch.equal(filled, before) == (missing == "hold")
    assert torch.allclose(filled, before if missing == "hold" else (before + after) / 2, atol=1e-6)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("degrees", [-25.0, 0.0, 40.0])
def test_a_crop_says_how_far_it_is_turned(degrees):
    """Rolled heads are cropped upright; a crop's roll turns its keypoints as they lie in the picture."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # x to y: y is down
    upright = np.array([[-20.0, -20], [20, -20], [0, 0], [-15, 25], [15, 25]])
    crop = crop_source(np.zeros((200, 200, 3), np.uint8), (upright @ turn + 100).astype(np.float32))
    assert crop.roll == pytest.approx(degrees, abs=1e-3)
    rotation = rotation_matrix(torch.tensor([[0.0, 0.0, crop.roll]]))[0, :2, :2].numpy()
    assert np.abs(rotation - turn).max() < 1e-4
