"""Damaged motion and stream files, and other files given as such: one sentence says what is wrong, nothing slips in."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from personalive_core.animation.driving import DrivingClip, open_source
from personalive_core.backends.personalive.state_file import load_state, save_state
from personalive_core.backends.personalive.types import KeyframeBank, StreamState
from personalive_core.errors import InputError, PersonaLiveError
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.motion.files import (
    load_motion,
    motion_details,
    motion_rate,
    motion_times,
    read_motion,
    save_motion,
)
from tests.motion import samples
from tests.motion.samples import write_old

TIMES = torch.tensor([0, 41_708_333, 83_416_667, 60 * 10**9, 60_041_708_333, 61 * 10**9])


@pytest.fixture
def motion():
    return samples.motion(5, valid=[True, False, True, True, False])


@pytest.fixture
def state():
    bank = KeyframeBank(torch.zeros(1, 1, 32, 16), ((torch.zeros(1, 4, 8), torch.zeros(1, 4, 8)),))
    motion = MotionFeatures(torch.zeros(1, 12, 32, 16), torch.zeros(1, 12, 4, 8, 8))
    return StreamState(torch.zeros(1, 12, 4, 8, 8), motion, bank)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.mark.parametrize("rate", ["fast", "0", "-25", "1/0", "nan", "", "1e400", "1e9999999999", "0.5", "1001", "inf"])
def test_a_rate_that_is_no_rate_is_refused_by_the_command_line_too(rate, motion, folder):
    """The node and the command line read the rate in one place."""
    path = folder / "a.safetensors"
    write_old(path, motion, json.dumps({"rate": rate}))
    said = rf"a.safetensors says '{rate}' frames a second, expected a number from 1 to 1000: save the motion again"
    for read in (load_motion, motion_times, motion_rate, motion_details):
        with pytest.raises(InputError, match=said):
            read(path)
    with pytest.raises(InputError, match=said):
        open_source(DrivingClip(path), 64, folder)


@pytest.mark.parametrize(
    "details", ["", "{", "[]", "null", "25", '{"rate": 25}', '{"rate": ["25"]}', '{"rate": null}', "[" * 10**5]
)
def test_damaged_details_are_refused(details, motion, folder):
    write_old(folder / "a.safetensors", motion, details)
    with pytest.raises(InputError, match="a.safetensors has damaged details, expected an object of texts: save"):
        load_motion(folder / "a.safetensors")


SPOILT = [
    ({"embedding": torch.zeros(5, 32, 16, dtype=torch.int32)}, r"int32 \[5, 32, 16\] as embedding, expected floating"),
    ({"keypoints": torch.zeros(5, 20, 3)}, r"float32 \[5, 20, 3\] as keypoints, expected floating point \[5, 21, 3\]"),
    ({"scale": torch.zeros(4, 1)}, r"float32 \[4, 1\] as scale, expected floating point \[5, 1\]"),
    ({"valid": torch.zeros(5)}, r"float32 \[5\] as valid, expected bool \[F\]"),
    ({"valid": torch.tensor(True)}, r"bool \[\] as valid, expected bool \[F\]"),
    ({"valid": torch.zeros(0, dtype=torch.bool)}, "no frame, expected at least one"),
    ({"angles": torch.tensor([[0.0] * 3] * 3 + [[0, float("nan"), 0]] * 2)}, "NaN or infinity as angles of frame 3"),
    ({"box": torch.full((5, 4), float("inf"))}, "NaN or infinity as box of frame 0"),
    ({"box": torch.full((5, 4), 1e300, dtype=torch.float64)}, "NaN or infinity as box of frame 0"),
    ({"times": TIMES.double()}, r"float64 \[6\] as times, expected int64 \[6\]"),
    ({"times": TIMES[:-1]}, r"int64 \[5\] as times, expected int64 \[6\]"),
    ({"times": TIMES - 1}, "times below 0"),
    ({"times": torch.tensor([0, 1, 2, 2, 3, 4])}, "times that do not rise after frame 2"),
    ({"times": torch.tensor([0, 1, 2, 3, 4, -(2**63)])}, "times that do not rise after frame 4"),
]


@pytest.mark.parametrize(("spoilt", "message"), SPOILT)
@pytest.mark.parametrize("read", [load_motion, motion_times])
def test_spoilt_values_are_refused(spoilt, message, read, motion, folder):
    path = folder / "a.safetensors"
    save_motion(path, motion, None, TIMES)
    save_file({**load_file(path), **spoilt}, path, {"schema": "personalive-motion-2"})
    with pytest.raises(InputError, match=rf"^a\.safetensors holds {message}.*: save the motion again$"):
        read(path)


@pytest.mark.parametrize("name", ["embedding", "keypoints", "angles", "translation", "scale", "box", "valid", "times"])
def test_a_missing_part_is_named(name, motion, folder):
    path = folder / "a.safetensors"
    save_motion(path, motion)
    save_file(
        {key: part for key, part in load_file(path).items() if key != name}, path, {"schema": "personalive-motion-2"}
    )
    with pytest.raises(InputError, match=f"a.safetensors holds nothing as {name}, expected "):
        load_motion(path)


def test_valid_is_true_or_false(motion, folder):
    """Another byte would count as a face here and as none there."""
    path = folder / "a.safetensors"
    save_motion(path, replace(motion, valid=torch.ones(5, dtype=torch.bool)))
    path.write_bytes(path.read_bytes().replace(b"\1" * 5, b"\1\1\7\1\1"))
    with pytest.raises(InputError, match="holds valid that is neither true nor false"):
        load_motion(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"details": {"rate": "fast"}}, "says 'fast' frames a second, expected a number above 0"),
        ({"details": {"frames": 5}}, "has damaged details"),
        ({"times": TIMES[:-1]}, r"holds int64 \[5\] as times"),
        ({"times": TIMES.flip(0)}, "holds times that do not rise"),
        ({"motion": slice(5, 5)}, "holds no frame"),
    ],
)
def test_what_could_not_be_read_again_is_not_saved(change, message, motion, folder):
    values = {"details": None, "times": None, **change}
    saved = motion[values.pop("motion")] if "motion" in values else motion
    with pytest.raises(InputError, match=f"the motion for a.safetensors {message}"):
        save_motion(folder / "a.safetensors", saved, **values)
    spoilt = replace(motion, box=motion.box * torch.nan)
    with pytest.raises(InputError, match="the motion for a.safetensors holds NaN or infinity as box"):
        save_motion(folder / "a.safetensors", spoilt)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("load", [load_motion, load_state])
def test_empty_files_folders_and_weights_are_told(load, folder):
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "folder.safetensors").mkdir()
    save_file({"conv_in.weight": torch.zeros(3)}, folder / "weights.safetensors", {"format": "pt"})
    for name, message in {
        "empty": r"cannot be read as a \w+ file \(it is empty\): check the path",
        "folder": r"cannot be read as a \w+ file \(it is a folder\): check the path",
        "weights": r"is no \w+ file of this version \(expected .*, found none\): choose another",
    }.items():
        with pytest.raises(InputError, match=message):
            load(folder / f"{name}.safetensors")


@pytest.mark.parametrize("facts", [None, "", "[]", '{"chunk": 1}', '{"chunk": "1", "frames": 4, "chunks": []}'])
def test_damaged_facts_of_a_stream_are_refused(facts, state, folder):
    path = folder / "s.safetensors"
    save_state(path, state)
    metadata = {"schema": "personalive-stream-1", **({} if facts is None else {"facts": facts})}
    save_file(load_file(path), path, metadata)
    with pytest.raises(InputError, match="s.safetensors has damaged facts, expected chunk, frames and chunks"):
        load_state(path)


@pytest.mark.parametrize("name", ["latents", "motion.face", "motion.pose", "bank.motion", "bank.0.k", "bank.0.v"])
def test_a_missing_part_of_a_stream_is_named(name, state, folder):
    path = folder / "s.safetensors"
    save_state(path, state)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({key: tensor for key, tensor in load_file(path).items() if key != name}, path, metadata)
    with pytest.raises(InputError, match=rf"s.safetensors lacks {name} of a stream's state: save the state again"):
        load_state(path)


def outcome(path):
    """(motion, "") or (None, message)."""
    try:
        return read_motion(path), ""
    except PersonaLiveError as error:
        return None, str(error)


def tensors(motion):
    return [*vars(motion.pose).values(), motion.embedding, motion.keypoints, motion.box]


def test_damaged_bytes_end_in_one_sentence_or_sound_motion(motion, folder):
    """Bytes of header and values are changed at random: what is read is finite, or what is said is ours."""
    path, chance = folder / "a.safetensors", random.Random(0)
    save_motion(path, motion[:2], {"rate": "30000/1001", "driving": "talk.mp4"}, TIMES[:3])
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    digits = [place for place in range(8, header) if whole[place : place + 1].isdigit()]
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            place = chance.choice([chance.choice(digits), chance.randrange(header), chance.randrange(len(whole))])
            damaged[place] = chance.choice(b"0123456789") if place in digits else chance.randrange(256)
        path.write_bytes(damaged)
        read, said = outcome(path)
        assert "\n" not in said
        assert read is None or all(values.isfinite().all() for values in tensors(read.motion))
        assert read is None or ((read.times.diff() > 0).all() and 1 <= read.rate <= 1000)
