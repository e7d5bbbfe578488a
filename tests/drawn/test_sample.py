"""The bundled sample: drawn people that look like faces, move as told, and are written as a film with sound."""

import itertools
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from personalive_core.drawn.canvas import FaceMotion, view_of
from personalive_core.drawn.face import THROAT
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, RATE, SITTER, mouth_opening, sample_motion, voice, write_sample
from personalive_core.errors import OutputError

CALM = FaceMotion()


def faces(picture):
    """The faces that OpenCV's Haar cascade finds: [N, 4] left, top, width, height."""
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip("OpenCV 5 has no Haar cascades: pip install 'opencv-python<5' to run it")
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    return np.array(cascade.detectMultiScale(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 1.1, 5)).reshape(-1, 4)


def changed(motion):
    """Where the picture differs from the calm one: its box (left, top, right, bottom) as shares of the side."""
    difference = np.abs(draw_portrait(SITTER, motion, 256).astype(int) - draw_portrait(SITTER, CALM, 256)).max(2) > 24
    rows, columns = np.flatnonzero(difference.any(1)), np.flatnonzero(difference.any(0))
    return columns[0] / 256, rows[0] / 256, columns[-1] / 256, rows[-1] / 256


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample") / "new", seconds=1.0, size=256)


@pytest.mark.parametrize("who", [SITTER, DRIVER])
def test_a_face_detector_finds_one_face(who):
    (face,) = faces(draw_portrait(who, CALM, 512))
    assert np.abs(face[:2] + face[2:] / 2 - 256).max() < 40


def test_detector_finds_the_driver_all_along():
    for frame in range(0, 50, 7):
        assert len(faces(draw_portrait(DRIVER, sample_motion(frame, RATE), 512))) == 1, f"frame {frame}"


def test_drawing_is_deterministic_and_of_the_asked_size():
    one, two = draw_portrait(SITTER, sample_motion(9, RATE), 200), draw_portrait(SITTER, sample_motion(9, RATE), 200)
    assert one.shape == (200, 200, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)


def test_edges_are_smooth():
    picture = draw_portrait(DRIVER, CALM, 256)[247, :, 0].astype(int)  # across the shoulders: wall, shirt, wall
    steps = np.abs(np.diff(picture))
    assert steps.max() < 58, "a hard step of the whole contrast means no anti-aliasing"


def test_mouth_moves_only_the_lower_face():
    left, top, right, bottom = changed(replace(CALM, mouth=1.0))
    assert top > 0.5
    assert left > 0.3
    assert right < 0.7
    assert bottom < 0.85


def test_blink_moves_only_the_eyes():
    left, top, right, bottom = changed(replace(CALM, blink=(1.0, 1.0)))
    assert left > 0.3
    assert right < 0.7
    assert 0.35 < top < bottom < 0.5


EYES, MOUTH = (slice(180, 240), slice(170, 340)), (slice(270, 340), slice(170, 340))


def near(motion, part, colour):
    """Where that part of the face is close to `colour`: rows and columns, [N] each."""
    face = draw_portrait(SITTER, motion, 512)[part].astype(int)
    return np.nonzero(np.abs(face - colour).max(2) < 14)


def test_closed_eyes_hide_the_irises():
    assert len(near(CALM, EYES, SITTER.iris)[0]) > 20
    assert len(near(replace(CALM, blink=(1.0, 1.0)), EYES, SITTER.iris)[0]) == 0


def test_open_mouth_shows_its_inside():
    closed, opened = (len(near(replace(CALM, mouth=mouth), MOUTH, THROAT)[0]) for mouth in (0.0, 1.0))
    assert opened > 4 * closed


@pytest.mark.parametrize("level", [{"smile": 1.0}, {"brow": (1.0, 1.0)}, {"gaze": (1.0, 0.0)}])
def test_expression_stays_within_the_face(level):
    left, top, right, bottom = changed(replace(CALM, **level))
    assert left > 0.25
    assert right < 0.75
    assert 0.25 < top < bottom < 0.72


def test_shift_and_scale_move_the_face():
    (calm,) = faces(draw_portrait(DRIVER, CALM, 512))
    (moved,) = faces(draw_portrait(DRIVER, replace(CALM, shift=(0.2, 0.1)), 512))
    assert moved[0] - calm[0] == pytest.approx(59, abs=12)
    assert moved[1] - calm[1] == pytest.approx(29, abs=12)
    (larger,) = faces(draw_portrait(DRIVER, replace(CALM, scale=1.2), 512))
    assert larger[2] / calm[2] == pytest.approx(1.2, abs=0.08)


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll"])
def test_turning_moves_the_eyes_as_told(name):
    nose, crown = np.array([[0.0, 0.0, 0.4]]), np.array([[0.0, -0.5, 0.0]])
    turned, calm = view_of(replace(CALM, **{name: 20.0})), view_of(CALM)
    point, axis, sign = {"yaw": (nose, 0, 1), "pitch": (nose, 1, -1), "roll": (crown, 0, 1)}[name]
    assert sign * (turned.place(point) - calm.place(point))[0, axis] > 0.1


def test_film_begins_calm_moves_smoothly_talks_and_blinks():
    motions = [sample_motion(frame, RATE) for frame in range(250)]
    assert max(abs(getattr(motions[0], name)) for name in ("yaw", "pitch", "roll", "mouth")) < 0.01
    assert motions[0].blink == (0, 0)
    for before, after in itertools.pairwise(motions):
        assert abs(after.yaw - before.yaw) < 3
        assert abs(after.roll - before.roll) < 1
        assert abs(after.mouth - before.mouth) < 0.5
    assert max(motion.mouth for motion in motions) > 0.6
    assert sum(before.blink[0] < 0.5 <= after.blink[0] for before, after in itertools.pairwise(motions)) == 4
    assert all(0 <= motion.mouth <= 1 and 0 <= motion.blink[0] <= 1 for motion in motions)


def test_two_seconds_hold_a_blink_and_both_turns():
    motions = [sample_motion(frame, RATE) for frame in range(50)]
    assert max(motion.blink[0] for motion in motions) > 0.6
    assert max(motion.yaw for motion in motions) > 10
    assert min(motion.yaw for motion in motions) < -5


def test_motion_is_a_matter_of_time_not_of_frame_count():
    assert sample_motion(25, 25) == sample_motion(60, 60)


def test_voice_is_quiet_and_follows_the_mouth():
    sound = voice(2.0)
    loudness = np.sqrt((sound.reshape(100, -1) ** 2).mean(1))
    opening = mouth_opening((np.arange(100) + 0.5) / 50)
    assert np.abs(sound).max() == pytest.approx(0.1)
    assert np.corrcoef(loudness, opening)[0, 1] > 0.95


def test_written_sample_is_a_portrait_and_a_film_with_sound(sample):
    reference, driving = sample
    with Image.open(reference) as image:
        assert image.size == (256, 256)
    with av.open(str(driving)) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        assert video.codec_context.name == "h264"
        assert video.average_rate == RATE
        assert float(audio.duration * audio.time_base) == pytest.approx(1.0, abs=0.05)
        first, *others = [frame.to_ndarray(format="rgb24") for frame in film.decode(video)]
    assert 1 + len(others) == 25
    drawn = draw_portrait(DRIVER, sample_motion(0, RATE), 256)
    assert np.abs(first.astype(int) - drawn).mean() < 4
    with av.open(str(driving)) as film:
        assert max(np.abs(frame.to_ndarray()).max() for frame in film.decode(audio=0)) > 0.03


def test_same_call_writes_the_same_bytes(sample, tmp_path):
    again = write_sample(tmp_path, seconds=1.0, size=256)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in sample]


def test_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"cannot be written to .*taken.*choose another folder"):
        write_sample(tmp_path / "taken")
