"""Saved motion and paused streams: the same bits back, and a readable sentence for any other file."""

import json
import os
from dataclasses import fields
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file

from personalive_core.backends.personalive.state_file import load_state, save_state
from personalive_core.backends.personalive.types import KeyframeBank, StreamState
from personalive_core.errors import InputError, OutputError
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.motion.files import (
    load_motion,
    motion_details,
    motion_rate,
    motion_times,
    read_part,
    save_motion,
)
from personalive_core.motion.types import HeadPose, HybridMotion
from tests.motion.samples import write_old


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bits(value):
    """All tensors of a value of types.py, in order, as bytes with type and shape; other parts as they are."""
    if isinstance(value, torch.Tensor):
        return [(value.dtype, value.shape, value.contiguous().view(torch.uint8).numpy().tobytes())]
    if isinstance(value, tuple):
        return [part for item in value for part in bits(item)]
    if hasattr(value, "__dataclass_fields__"):
        return [part for field in fields(value) for part in bits(getattr(value, field.name))]
    return [value]


@pytest.fixture
def motion():
    pose = HeadPose(draw(5, 3), draw(5, 3, seed=1), draw(5, 1, seed=2))
    valid = torch.tensor([True, False, True, True, False])
    return HybridMotion(draw(5, 32, 16), draw(5, 21, 3), pose, draw(5, 4), valid)


@pytest.fixture
def state():
    """Half precision where networks leave it, tensors that are views, and 12 layers: more than one digit."""
    features = tuple((draw(1, 6, 4, seed=i).bfloat16(), draw(1, 6, 4, seed=50 + i).half()) for i in range(12))
    bank = KeyframeBank(draw(1, 3, 32, 16), features, (9, 14))
    motion = MotionFeatures(draw(1, 20, 32, 16)[:, 8:], draw(1, 12, 2, 2, 2))
    return StreamState(draw(1, 12, 4, 2, 2), motion, bank, chunk=17, frames=66)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def test_motion_comes_back_bit_for_bit(motion, folder):
    save_motion(folder / "a.safetensors", motion, {"rate": "25", "source": "köln.mp4"})
    assert bits(load_motion(folder / "a.safetensors")) == bits(motion)
    assert motion_details(folder / "a.safetensors") == {"rate": "25", "source": "köln.mp4"}


def test_part_of_a_motion_is_saved_as_that_part(motion, folder):
    save_motion(folder / "a.safetensors", motion[1:3])
    assert bits(load_motion(folder / "a.safetensors")) == bits(motion[1:3])
    assert motion_details(folder / "a.safetensors") == {}
    assert (folder / "a.safetensors").stat().st_size < 2 * 2400 + 1024


def test_state_comes_back_bit_for_bit(state, folder):
    save_state(folder / "s.safetensors", state)
    assert bits(load_state(folder / "s.safetensors")) == bits(state)


@pytest.mark.parametrize("kind", ["motion", "state"])
def test_what_was_read_stays_when_the_file_is_written_over(kind, motion, state, folder):
    """As by a copy onto it: the values were checked, and a mapped file that is cut ends the program."""
    path = folder / "a.safetensors"
    if kind == "motion":
        save_motion(path, motion)
        read, expected = load_motion(path).keypoints, motion.keypoints
    else:
        save_state(path, state)
        read, expected = load_state(path).latents, state.latents
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert torch.equal(read, expected)


def test_saving_again_replaces_the_file(motion, folder):
    path = folder / "a.safetensors"
    save_motion(path, motion)
    save_motion(path, motion[:1])
    assert len(load_motion(path)) == 1
    assert [entry.name for entry in folder.iterdir()] == ["a.safetensors"]


def test_motion_and_state_files_are_told_apart(motion, state, folder):
    save_motion(folder / "a.safetensors", motion)
    save_state(folder / "s.safetensors", state)
    with pytest.raises(InputError, match="expected schema personalive-stream-1, found personalive-motion-2"):
        load_state(folder / "a.safetensors")
    motions = "personalive-motion-2 or personalive-motion-1"
    with pytest.raises(InputError, match=f"expected schema {motions}, found personalive-stream-1"):
        load_motion(folder / "s.safetensors")


@pytest.mark.parametrize("metadata", [None, {"schema": "personalive-motion-3", "details": json.dumps({})}])
def test_other_schemas_are_refused(metadata, folder):
    save_file({"embedding": draw(1, 32, 16)}, folder / "other.safetensors", metadata)
    found = metadata["schema"] if metadata else "none"
    with pytest.raises(InputError, match=rf"other.safetensors is no motion file of this version .* found {found}\)"):
        load_motion(folder / "other.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 300, -1])
@pytest.mark.parametrize("load", [load_motion, motion_details])
def test_truncated_files_are_refused(load, kept, motion, folder):
    path = folder / "a.safetensors"
    save_motion(path, motion)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot be read as a motion file"):
        load(path)


@pytest.mark.parametrize("load", [load_motion, load_state])
def test_no_such_file(load, folder):
    with pytest.raises(InputError, match="cannot be read as a .* file"):
        load(folder / "missing.safetensors")


def test_text_is_no_motion(folder):
    (folder / "notes.safetensors").write_text("not a motion, only a name that says so")
    with pytest.raises(InputError, match="cannot be read as a motion file"):
        load_motion(folder / "notes.safetensors")


def test_wrong_suffix_and_missing_folder(motion, folder):
    with pytest.raises(OutputError, match="must end with .safetensors"):
        save_motion(folder / "a.npz", motion)
    with pytest.raises(OutputError, match="create that folder"):
        save_motion(folder / "no" / "such" / "a.safetensors", motion)


def test_folder_that_cannot_be_written(motion, folder, monkeypatch):
    """Said by the system call itself: as root, or on Windows, permission bits alone would stop nobody."""

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_bytes", refused)
    with pytest.raises(OutputError, match=r"cannot be written \(Permission denied\): choose a folder"):
        save_motion(folder / "a.safetensors", motion)
    assert os.listdir(folder) == []  # noqa: PTH208 - pathlib is what was broken above


def test_failed_saving_keeps_the_file_that_was_there(motion, folder, monkeypatch):
    path = folder / "a.safetensors"
    save_motion(path, motion)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_motion(path, motion[:1])
    assert [entry.name for entry in folder.iterdir()] == ["a.safetensors"]
    assert bits(load_motion(path)) == bits(motion)


# --- times and rate


TIMES = torch.tensor([0, 41_708_333, 83_416_667, 60 * 10**9, 60_041_708_333, 61 * 10**9])


def test_times_come_back(motion, folder):
    save_motion(folder / "a.safetensors", motion, {"rate": "24000/1001"}, TIMES)
    assert torch.equal(motion_times(folder / "a.safetensors"), TIMES)
    assert motion_rate(folder / "a.safetensors") == Fraction(24000, 1001)
    assert bits(load_motion(folder / "a.safetensors")) == bits(motion)


@pytest.mark.parametrize(
    ("details", "step"), [(None, 40_000_000), ({"rate": "50"}, 20_000_000), ({"rate": "0.5"}, 2 * 10**9)]
)
def test_without_times_they_are_even(details, step, motion, folder):
    save_motion(folder / "a.safetensors", motion, details)
    assert motion_times(folder / "a.safetensors").tolist() == [step * index for index in range(6)]


@pytest.mark.parametrize(
    ("rate", "times", "stored"),
    [
        ("7/50", TIMES, Fraction(24000, 1001)),  # the average of a film with a pause
        ("1/7", [7 * 10**9 * n for n in range(6)], 1),  # a slide show
        ("90000", [11_111 * n for n in range(6)], 1000),
        ("5", TIMES, 5),
        (None, [20_000_000 * n for n in (0, 1, 2, 3, 100, 101)], 50),  # not told: as the times say
    ],
)
def test_what_is_saved_has_a_rate_that_can_be_read(rate, times, stored, motion, folder):
    path, times = folder / "a.safetensors", torch.as_tensor(times)
    save_motion(path, motion, {"rate": rate} if rate else None, times)
    assert motion_rate(path) == stored
    assert torch.equal(motion_times(path), times)


def test_a_name_that_is_no_utf_8_is_kept(motion, folder):
    save_motion(folder / "a.safetensors", motion, {"driving": "t\udcffalk.mp4"})
    assert motion_details(folder / "a.safetensors") == {"driving": "t\udcffalk.mp4"}


# --- the version before


def test_the_version_before_is_read_bit_for_bit(motion, folder):
    path = folder / "old.safetensors"
    write_old(path, motion)
    assert bits(load_motion(path)) == bits(motion)
    assert motion_details(path) == {"rate": "30000/1001", "driving": "talk.mp4"}
    assert motion_rate(path) == Fraction(30000, 1001)
    assert motion_times(path).tolist() == [0, 33_366_667, 66_733_333, 100_100_000, 133_466_667, 166_833_333]
    write_old(path, motion, "{}")
    assert (motion_rate(path), motion_times(path)[-1]) == (25, 200_000_000)


# --- parts


def test_a_part_keeps_its_place_in_the_driving(motion, folder):
    path = folder / "a.safetensors"
    save_motion(path, motion, {"rate": "24000/1001"}, TIMES + 10**9)
    part = read_part(path, 0.05, 2)
    assert bits(part.motion) == bits(motion[2:4])
    assert torch.equal(part.times, (TIMES + 10**9)[2:5])
    with pytest.raises(InputError, match="a.safetensors has no frame at 60.1 s: start earlier"):
        read_part(path, 60.1)
