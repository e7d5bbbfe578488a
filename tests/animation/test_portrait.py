"""The face of the reference picture: chosen apart from the driving's, and missed in words that name its option."""

from types import SimpleNamespace

import numpy as np
import pytest

from personalive_core.animation import portrait
from personalive_core.animation.portrait import ReferenceFace, found_crop
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, RATE, SITTER, sample_motion
from personalive_core.errors import FaceError
from personalive_core.faces import detectors
from personalive_core.faces.crop import Box, Face, portrait_crop
from personalive_core.media.picture import write_image
from personalive_core.media.write import VideoWriter, WriteOptions

SIDE = 96
ONE = Face(Box(20, 20, 76, 76), 1.0)  # in the left half of a picture
OTHER = Face(Box(116, 20, 172, 76), 1.0)
LARGE = Face(Box(112, 12, 184, 88), 1.0)


@pytest.fixture
def files(tmp_path):
    """A reference with one person, higher than wide, and a film of two people, twice as wide as high."""
    canvas = np.full((SIDE + 30, SIDE, 3), 190, np.uint8)
    canvas[30:] = draw_portrait(SITTER, FaceMotion(), SIDE)
    write_image(tmp_path / "me.png", canvas)
    with VideoWriter(tmp_path / "two.mp4", (2 * SIDE, SIDE), WriteOptions()) as writer:
        for frame in range(2):
            people = [draw_portrait(person, sample_motion(frame, RATE), SIDE) for person in (SITTER, DRIVER)]
            writer.write(np.concatenate(people, axis=1))
    return SimpleNamespace(reference=tmp_path / "me.png", driving=tmp_path / "two.mp4", output=tmp_path / "out.mp4")


@pytest.fixture
def animate(personalive, loaded, one_thread, standin_folder, files, monkeypatch):  # noqa: ARG001
    """Animates them with a detector that finds one face in high pictures and two in wide ones; notes their crops."""

    def look(picture):
        return (ONE, LARGE) if picture.shape[1] > picture.shape[0] else (ONE,)

    monkeypatch.setattr(detectors, "make_detector", lambda *_: look)

    def run(*options):
        named = ("--reference", files.reference, "--driving", files.driving, "--output", files.output)
        line = (*named, "--weights", standin_folder, "--size", 64, "--detector", "haar", "--frames", 1, "--quiet")
        return personalive("animate", *line, *options)

    return run


def test_the_drivings_face_is_not_looked_for_in_the_reference(animate, files, monkeypatch):
    tracked = []
    from personalive_core.animation import driving

    track = driving.TrackOptions
    monkeypatch.setattr(driving, "TrackOptions", lambda **given: tracked.append(given["choice"]) or track(**given))
    outcome = animate("--face", 1)
    assert outcome.code == 0, outcome.err
    assert files.output.exists()
    assert tracked == ["1"]


def test_a_face_that_the_reference_lacks_names_its_own_option(animate, files):
    outcome = animate("--reference-face", 1)
    assert outcome.code == FaceError.exit_code
    assert "there is no face number 1 in the reference picture, 1 was found: give --reference-face 0" in outcome.err
    assert not files.output.exists()


def test_a_box_and_a_choice_are_two_answers(animate):
    outcome = animate("--reference-face", "left", "--reference-box", "1,2,30,40")
    assert outcome.code == 2
    assert "argument --reference-box: not allowed with argument --reference-face" in outcome.err


def test_the_choice_of_the_reference(monkeypatch, tmp_path):
    picture, found = np.zeros((96, 192, 3), np.uint8), [ONE, LARGE]
    monkeypatch.setattr(detectors, "make_detector", lambda *_: lambda _: tuple(found))

    def crop(choice):
        return found_crop(picture, ReferenceFace("haar", choice), tmp_path)

    assert crop("largest") == crop("1") == portrait_crop(LARGE.box, (96, 192))
    assert crop("left") == crop("0") == portrait_crop(ONE.box, (96, 192))
    with pytest.raises(FaceError, match="no face number 2 in the reference picture, 2 were found: give --reference-f"):
        crop("2")
    found.clear()
    for choice in ("largest", "2"):
        with pytest.raises(FaceError, match="^no face in the reference picture: give --reference-box, "):
            crop(choice)
    assert portrait.ReferenceFace().choice == "largest"
