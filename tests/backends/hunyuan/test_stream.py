"""Long films, missing faces, padding, progress: of networks that stand in for HunyuanPortrait's, in no time."""

import numpy as np
import pytest
import torch

from personalive_core.backends.hunyuan import stream
from personalive_core.backends.hunyuan.backend import HunyuanBackend
from personalive_core.backends.hunyuan.motion import read_motion_of
from personalive_core.backends.hunyuan.motion_files import HUNYUAN_MOTION
from personalive_core.backends.hunyuan.pasting import PASTES
from personalive_core.backends.hunyuan.sampling import total_calls
from personalive_core.backends.hunyuan.stream import animate_reference, film_latents, padded, segments
from personalive_core.backends.hunyuan.types import (
    Guidance,
    HunyuanMotion,
    HunyuanReference,
    SamplingOptions,
    SegmentRule,
    WindowRule,
)
from personalive_core.errors import FaceError, InputError, NumericalError
from personalive_core.faces.crop import Box, Face
from personalive_core.modules.schedule import seeded_noise
from personalive_core.motion.files import read_kind, save_kind
from personalive_core.motion.types import HeadPose, concat_motion
from tests.backends.hunyuan.standin import FACE, POINTS, standin


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def motion(frames):
    rising = torch.arange(frames, dtype=torch.float32)[:, None]
    pose = HeadPose(torch.zeros(frames, 3), torch.zeros(frames, 3), torch.ones(frames, 1))
    return HunyuanMotion(
        expression=rising / max(frames, 1) * torch.ones(512),
        intensity=torch.zeros(frames, 2),
        pose=pose,
        box=torch.zeros(frames, 4),
        valid=torch.ones(frames, dtype=torch.bool),
    )


def reference():
    picture = np.full((64, 64, 3), 90, np.uint8)
    return HunyuanReference(picture, (8, 8, 56, 56), torch.zeros(4, 8, 8), torch.ones(1, 2, 8), torch.zeros(1, 4, 8, 8))


SHORT = SamplingOptions(steps=3, segments=SegmentRule(30, 6))
WHOLE = SamplingOptions(steps=3)


def pictures(frames, options, pieces=None, told=lambda _: None):
    whole = motion(frames)
    given = [whole] if pieces is None else [whole[a:b] for a, b in pieces]
    return torch.cat(list(animate_reference(standin(), reference(), given, seeded_noise(1), options, told)))


@pytest.mark.parametrize("frames", [1, 7, 30, 31, 54, 55, 79])
def test_as_many_pictures_as_frames_at_any_length(frames):
    assert pictures(frames, SHORT).shape == (frames, 3, 64, 64)


def test_pieces_do_not_matter():
    made = pictures(40, SHORT)
    assert torch.equal(made, pictures(40, SHORT, [(0, 3), (3, 33), (33, 40)]))


def test_a_long_film_is_nearly_what_it_would_be_at_once():
    """The difference that is told: about the seams, and small beside the change from frame to frame."""
    whole = pictures(70, WHOLE)
    assert (pictures(70, SHORT) - whole).abs().max() < 0.1 * whole.std()


def test_segments_share_frames_and_none_is_lost():
    parts = list(segments([motion(11)] * 7, SegmentRule(30, 6)))
    assert [(part.number, part.start, len(part.motion), part.is_last) for part in parts] == [
        (0, 0, 30, False),
        (1, 24, 30, False),
        (2, 48, 29, True),
    ]
    assert [len(part.motion) for part in segments([motion(30)], SegmentRule(30, 6))] == [30]


def test_over_the_shared_frames_one_segment_fades_into_the_next(monkeypatch):
    def numbered(_model, _reference, segment, *_):
        return torch.full((15 + len(segment.motion) + 15, 4, 1, 1), float(segment.number))

    monkeypatch.setattr(stream, "denoised_segment", numbered)
    parts = list(film_latents(None, None, segments([motion(54)], SHORT.segments), None, SHORT, None))
    values, wanted = (torch.cat([getattr(part, name) for part in parts]) for name in ("values", "wanted"))
    before, after = torch.zeros(15 + 24), torch.ones(24 + 15)
    assert torch.allclose(values[:, 0, 0, 0], torch.cat([before, torch.arange(1, 7) / 7, after]))
    assert wanted.tolist() == [False] * 15 + [True] * 54 + [False] * 15


def test_pictures_come_before_the_film_is_read():
    """Memory is that of a segment: the first pictures need no more than its frames, and one more."""
    read = []

    def driving():
        for frame in range(100):
            read.append(frame)
            yield motion(1)

    made = animate_reference(standin(), reference(), driving(), seeded_noise(1), SHORT)
    next(made)
    assert len(read) <= 32  # a frame is held until it is known that none without a face follows


def test_the_padding_fades():
    tokens = torch.arange(1.0, 4.0)[:, None, None] * torch.ones(1, 2, 2)
    faded = padded(tokens, 15)[:, 0, 0]
    rise = torch.arange(15) / 15
    assert torch.allclose(faded, torch.cat([rise, torch.tensor([1.0, 2.0, 3.0]), 3 * (1 - rise)]))


def test_progress_is_told_and_stops_it():
    told, made = [], []

    class StopError(Exception):
        pass

    def stop(progress):
        told.append(progress)
        if progress.segment == 1:
            raise StopError

    with pytest.raises(StopError):
        made.extend(animate_reference(standin(), reference(), [motion(50)], seeded_noise(1), SHORT, stop))
    assert sum(len(part) for part in made) == 24 - (24 + 15) % 8  # what was decoded before stays
    first = [progress for progress in told if progress.segment == 0]
    assert [progress.calls for progress in first] == [3, 6, 9]
    assert {progress.total for progress in told} == {total_calls(60, SHORT)} == {9}
    assert first[0].clean.shape == (60, 4, 8, 8)


@pytest.mark.parametrize(("broken", "steps"), [("velocity", 0), ("decode", 3)])
def test_nan_is_told_as_soon_as_it_is_there(broken, steps):
    model, told = standin(), []
    whole = getattr(model, broken)
    setattr(model, broken, lambda *given: whole(*given) * torch.nan)
    with pytest.raises(NumericalError, match="the networks gave NaN in float32: check the weights"):
        list(animate_reference(model, reference(), [motion(5)], seeded_noise(1), WHOLE, told.append))
    assert len(told) == steps


def test_the_noise_of_a_frame_depends_on_its_number_and_the_seed():
    assert torch.equal(pictures(5, WHOLE), pictures(5, WHOLE))
    other = torch.cat(list(animate_reference(standin(), reference(), [motion(5)], seeded_noise(2), WHOLE)))
    assert not torch.equal(pictures(5, WHOLE), other)


def faces(*found):
    answers = iter(found)
    return lambda _: next(answers)


SMALL = (Face(Box(1, 1, 9, 9), 1.0, tuple((x / 4, y / 4) for x, y in POINTS)),)


def frames(count):
    return [np.full((64, 64, 3), 40 + place, np.uint8) for place in range(count)]


def test_frames_without_a_face_are_not_valid_and_hold():
    read = concat_motion(read_motion_of(standin(), frames(5), faces((), FACE, (), SMALL + FACE, FACE), 64))
    assert read.valid.tolist() == [False, True, False, True, True]
    assert read.box[3].tolist() == [22, 20, 42, 44]  # the largest counts
    made = list(animate_reference(standin(), reference(), [read], seeded_noise(0), WHOLE))
    assert sum(len(part) for part in made) == 5
    none = read_motion_of(standin(), frames(2), faces((), ()), 64)
    with pytest.raises(FaceError, match="no face in any of the 2 driving frames"):
        list(animate_reference(standin(), reference(), none, seeded_noise(0), WHOLE))


def test_a_detector_without_points_is_refused():
    with pytest.raises(FaceError, match="needs five points of a face, and this detector says none: choose yunet"):
        list(read_motion_of(standin(), frames(1), faces((Face(Box(1, 1, 9, 9), 1.0),)), 64))


def backend(**changes):
    return HunyuanBackend(standin(), lambda _: FACE, WHOLE, 64, **changes)


@pytest.mark.parametrize("paste", PASTES)
def test_the_backend(paste):
    made = backend(paste=paste)
    portrait = made.portrait(frames(1)[0])
    read = list(made.read(frames(30)))
    assert [len(part) for part in read] == [25, 5]
    animated = list(made.animate(portrait, read))
    assert len(animated) == 30
    assert animated[0].shape == (64, 64, 3)
    assert animated[0].dtype == np.uint8


def test_without_a_face_there_is_no_portrait():
    with pytest.raises(FaceError, match="no face was found in the portrait: use a picture with one clear face"):
        HunyuanBackend(standin(), lambda _: (), side=64).portrait(frames(1)[0])
    once = HunyuanBackend(standin(), faces(FACE, ()), side=64)
    with pytest.raises(FaceError, match="not found again in its crop: use a picture"):
        once.portrait(frames(1)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: backend(paste="x"), "a picture is pasted by one of matched, published, square, got 'x': use one"),
        (lambda: HunyuanBackend(standin(), lambda _: FACE, side=500).portrait(frames(1)[0]), "a multiple of 64 pixels"),
        (lambda: WindowRule(3, 3), "windows of 3 frames cannot overlap by 3: give fewer"),
        (lambda: SegmentRule(10, 6), "segments of 10 frames cannot overlap by 6: give at most half"),
        (lambda: Guidance(-1, 2), "guidance is 0 or more, got -1 to 2: try 2"),
        (lambda: Guidance(2, float("nan")), "guidance is 0 or more, got 2 to nan: try 2"),
        (lambda: SamplingOptions(steps=0), "takes at least 1 step, got 0: try 25"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_motion_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_kind(HUNYUAN_MOTION, path, motion(3), {"rate": "25"})
    again = read_kind(HUNYUAN_MOTION, path).motion
    for name, values in motion(3).tensors().items():
        assert torch.equal(values, again.tensors()[name])
    assert HUNYUAN_MOTION.system == "hunyuan"
