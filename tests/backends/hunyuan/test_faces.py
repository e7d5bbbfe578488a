"""Whose face HunyuanPortrait takes where there are several: in the portrait, and followed through the driving."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.backends.hunyuan.backend import HunyuanBackend
from personalive_core.backends.hunyuan.crops import arcface_picture, portrait_square, square_picture
from personalive_core.backends.hunyuan.motion import read_motion_of
from personalive_core.backends.hunyuan.reference import prepare_hunyuan, reference_square
from personalive_core.backends.hunyuan.types import SamplingOptions
from personalive_core.errors import FaceError, InputError
from personalive_core.faces.crop import Box
from personalive_core.motion.types import concat_motion
from tests.backends.hunyuan.people import COLOURS, FILM, HEIGHT, LEFT, PORTRAIT, RIGHT, WIDTH, detect, picture_of
from tests.backends.hunyuan.standin import standin


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def boxes_of(choice, film=FILM):
    read = concat_motion(read_motion_of(standin(), film, detect, 64, choice))
    return [tuple(box) if seen else None for box, seen in zip(read.box.tolist(), read.valid.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("choice", "person"), [("largest", LEFT), ("left", LEFT), ("0", LEFT), ("1", RIGHT), ("2", [None] * 10)]
)
def test_the_chosen_person_is_followed(choice, person):
    """Though the other becomes the larger, and while this one looks away."""
    assert boxes_of(choice) == person


def test_the_face_is_chosen_where_it_is_first_seen():
    alone = [picture_of(LEFT[0], None)] * 2
    assert boxes_of("1", [*alone, *FILM[:3]]) == [None, None, *RIGHT[:3]]


def test_a_group_goes_on_with_the_person_of_the_group_before():
    still = [picture_of(LEFT[0], RIGHT[0])] * 24
    grown = [picture_of(LEFT[0], (150, 20, 210, 90))] * 3  # the larger, from the second group on
    assert boxes_of("largest", [*still, *grown]) == [LEFT[0]] * 27


@pytest.mark.parametrize(("choice", "person"), [("largest", 0), ("left", 0), ("1", 1)])
def test_the_portrait_is_that_of_the_chosen_face(choice, person):
    faces = []
    model = SimpleNamespace(
        **vars(standin()) | {"look": lambda _, face: faces.append(face) or torch.zeros(1, 3, 8)},
    )
    # so near that the left one is wholly in the right one's square, too, and the larger there
    near = picture_of((84, 30, 110, 100), (112, 50, 142, 80))
    reference = prepare_hunyuan(model, near, detect, 128, choice)
    found = detect(near)[person]
    box = found.box
    assert reference.square == portrait_square((box.left, box.top, box.right, box.bottom), WIDTH, HEIGHT)
    assert len(detect(square_picture(near, reference.square, 128))) == 2
    middle = faces[0][40:100, 40:72].reshape(-1, 3).mean(0) * 255
    assert abs(middle - COLOURS[person]).max() < 40
    whole = arcface_picture(near, np.array(found.points))
    assert abs(faces[0] - whole).mean() < 0.05


def test_a_face_that_is_not_there():
    words = "the portrait shows 2 faces, and face 2 from the left, 0 first, is not among them: choose another face"
    with pytest.raises(FaceError, match=words):
        reference_square(PORTRAIT, detect, "2")
    with pytest.raises(FaceError, match="shows 1 face, and face 1 from"):
        reference_square(picture_of(LEFT[0], None), detect, "1")
    with pytest.raises(FaceError, match="no face was found in the portrait"):
        reference_square(picture_of(None, None), detect, "1")
    for wrong in (lambda: reference_square(PORTRAIT, detect, "x"), lambda: boxes_of("x")):
        with pytest.raises(InputError, match="'nearest' or a number counted from the left, starting at 0, got 'x'"):
            wrong()


@pytest.mark.parametrize(("face", "driving"), [("0", "1"), ("1", "0")])
def test_the_result_goes_back_to_the_chosen_face(face, driving):
    backend = HunyuanBackend(
        standin(), detect, SamplingOptions(steps=2), 64, paste="published", face=face, driving_face=driving
    )
    portrait, read = backend.portrait(PORTRAIT), list(backend.read(FILM[:3]))
    assert read[0].box[0].tolist() == list((LEFT, RIGHT)[int(driving)][0])
    changed = np.stack([abs(frame.astype(int) - PORTRAIT).max(-1) for frame in backend.animate(portrait, read)]).max(0)
    own, other = (Box(*(LEFT, RIGHT)[place][0]) for place in (int(face), 1 - int(face)))
    assert changed[int(own.centre[1]), int(own.centre[0])] > 20
    assert changed[int(other.centre[1]), int(other.centre[0])] == 0
    left, top, right, bottom = portrait.square
    changed[top:bottom, left:right] = 0
    assert not changed.any()
