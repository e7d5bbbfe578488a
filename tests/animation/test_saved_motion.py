"""A motion file instead of a driving video: which frames it gives, when each is shown and for how long."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from personalive_core.animation.driving import DrivingClip, open_source
from personalive_core.animation.pipeline import AnimateOptions
from personalive_core.backends.liveportrait.motion_files import IMPLICIT
from personalive_core.backends.liveportrait.types import ImplicitMotion
from personalive_core.backends.personalive.motion import Strengths
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.errors import InputError
from personalive_core.motion.files import save_kind, save_motion
from tests.motion.samples import motion

TIMES = torch.tensor([5_000_000_000, 5_041_708_333, 7_000_000_000, 7_333_333_333, 8_000_000_000])
SECONDS = [Fraction(int(time), 10**9) for time in TIMES]


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def reference(standin):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return encode_reference(standin, picture, 64)


@pytest.fixture
def play(standin, reference, tmp_path):
    """The frames made from `moved`, as a motion file, cut as the command line cuts it."""

    def run(moved, times, **part):
        path = tmp_path / "a.safetensors"
        save_motion(path, moved, {"rate": "24000/1001"}, times)
        source = open_source(DrivingClip(path, **part), 64, tmp_path)
        frames = list(source.animate(standin, reference, AnimateOptions(), None))
        assert len(frames) == source.count
        return frames

    return run


def test_every_frame_has_its_own_time_and_duration(play):
    frames = play(motion(4), TIMES)
    assert [frame.time for frame in frames] == SECONDS[:-1]
    assert [frame.time + frame.duration for frame in frames] == SECONDS[1:]


@pytest.mark.parametrize(
    ("start", "count", "shown"),
    [
        (0.0, None, [0, 1, 2, 3]),
        (0.041708, None, [1, 2, 3]),
        (0.041709, None, [2, 3]),
        (1001 / 24000, None, [1, 2, 3]),  # the time before it was rounded to nanoseconds
        (2.0, None, [2, 3]),
        (7 / 3, None, [3]),
        (0.04, 2, [1, 2]),
        (1.0, 9, [2, 3]),
    ],
)
def test_start_is_in_seconds_of_the_file_and_takes_the_first_frame_at_or_after(start, count, shown, play):
    frames = play(motion(4), TIMES, start=start, count=count)
    assert [frame.time for frame in frames] == [SECONDS[index] for index in shown]
    assert [frame.index for frame in frames] == list(range(len(shown)))


def test_a_start_behind_the_last_frame_is_refused(play):
    with pytest.raises(InputError, match=r"^a\.safetensors has no frame at 2\.4 s: start earlier$"):
        play(motion(4), TIMES, start=2.4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_motion_of_another_precision_plays(dtype, play):
    moved = motion(2)
    others = {
        "embedding": moved.embedding.to(dtype),
        "keypoints": moved.keypoints.to(dtype),
        "box": moved.box.to(dtype),
    }
    pose = type(moved.pose)(*(value.to(dtype) for value in vars(moved.pose).values()))
    frames = play(type(moved)(pose=pose, valid=moved.valid, **others), None)
    assert [frame.time for frame in frames] == [0, Fraction(41_708_333, 10**9)]


def test_motion_of_liveportrait_gives_its_head_alone(standin, reference, tmp_path):
    path, like = tmp_path / "a.safetensors", motion(3)
    unknown = torch.full((3, 2), torch.nan)
    moved = ImplicitMotion(like.keypoints, like.keypoints, like.pose, unknown, unknown[:, :1], like.box, like.valid)
    save_kind(IMPLICIT, path, moved)
    with pytest.raises(InputError, match="strength of the expression to 0 to take its head pose alone"):
        open_source(DrivingClip(path), 64, tmp_path)
    source = open_source(DrivingClip(path, head_alone=True), 64, tmp_path)
    options = AnimateOptions(strengths=Strengths(expression=0))
    frames = list(source.animate(standin, reference, options, None))
    save_motion(path, like)
    same = list(open_source(DrivingClip(path), 64, tmp_path).animate(standin, reference, options, None))
    assert len(frames) == 3
    assert all(np.array_equal(one.picture, other.picture) for one, other in zip(frames, same, strict=True))
