"""Output files: written whole or not at all, with one error where the disk is full; under any name."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from personalive_core.backends.personalive.lora import Lora, save_lora
from personalive_core.backends.personalive.state_file import save_state
from personalive_core.backends.personalive.types import KeyframeBank, StreamState
from personalive_core.errors import OutputError
from personalive_core.media.files import partial_path, prepare_output, same_file, save_tensors
from personalive_core.media.picture import read_image, write_image
from personalive_core.media.video import read_frames, read_label
from personalive_core.media.write import VideoWriter
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.motion.files import load_motion, save_motion
from personalive_core.motion.types import HeadPose, HybridMotion
from personalive_core.training.data import Clip, save_clip

MOTION = HybridMotion(
    torch.zeros(2, 32, 16),
    torch.zeros(2, 21, 3),
    HeadPose(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 1)),
    torch.ones(2, 4),
    torch.ones(2, dtype=torch.bool),
)
STATE = StreamState(
    torch.zeros(1, 12, 4, 8, 8),
    MotionFeatures(torch.zeros(1, 12, 32, 16), torch.zeros(1, 12, 4, 8, 8)),
    KeyframeBank(torch.zeros(1, 1, 32, 16), ((torch.zeros(1, 4, 8), torch.zeros(1, 4, 8)),)),
)
CLIP = Clip(torch.zeros(2, 64, 64, 3, dtype=torch.uint8), MOTION, torch.zeros(2, 21, 3))
LORA = Lora({"pose_guider": {"conv_in": (torch.zeros(1, 3, 3, 3), torch.zeros(4, 1, 1, 1))}}, 1.0)

SAVERS = {
    "motion": lambda path: save_motion(path, MOTION),
    "state": lambda path: save_state(path, STATE),
    "lora": lambda path: save_lora(path, LORA),
    "clip": lambda path: save_clip(path, CLIP),
    "tensors": lambda path: save_tensors(path, {"a": torch.zeros(3)}),
}


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS.keys())
def test_a_full_disk_is_one_error_and_keeps_the_older_file(save, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save(path)
    before = path.read_bytes()

    def full(_tensors, partial, _metadata):
        partial.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="was not written .*No space left on device"):
        save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    """Slices of one tensor, one tensor twice, a transposed one: safetensors itself refuses the first two."""
    whole = torch.arange(6.0).reshape(2, 3)
    save_tensors(tmp_path / "a.safetensors", {"row": whole[0], "all": whole, "again": whole, "turned": whole.T})
    read = load_file(tmp_path / "a.safetensors")
    assert {key: value.tolist() for key, value in read.items()} == {
        "row": [0, 1, 2], "all": whole.tolist(), "again": whole.tolist(), "turned": whole.T.tolist(),
    }  # fmt: skip


def test_tensors_can_be_read_by_whoever_can_read_other_new_files(tmp_path):
    other, path = tmp_path / "other.txt", tmp_path / "a.safetensors"
    other.write_text("")
    save_tensors(path, {"a": torch.zeros(2)})
    assert path.stat().st_mode == other.stat().st_mode


def test_a_whole_file_that_cannot_replace_the_older_one_stays(tmp_path, monkeypatch):
    """As on Windows, where another program may hold the older one: the message names the partial file."""
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.zeros(3)})

    def held(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", held)
    with pytest.raises(OutputError, match="the finished file is .*a.partial.safetensors") as caught:
        save_tensors(path, {"a": torch.ones(3)})
    assert str(tmp_path / "a.partial.safetensors") in str(caught.value)
    assert load_file(tmp_path / "a.partial.safetensors")["a"].tolist() == [1, 1, 1]
    assert load_file(path)["a"].tolist() == [0, 0, 0]


# Names that a POSIX file system takes: a colon, a leading dash, quotes, a line break, emoji, bytes that are no UTF-8.
NAMES = ["a:b", "-rate", 'it\'s "so"', "line\nbreak", "%03d", "smile 😀", os.fsdecode(b"caf\xe9"), "x" * 243, "é" * 121]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".png", ".jpg", ".safetensors"])
def test_any_name_that_the_file_system_takes(tmp_path, monkeypatch, name, suffix):
    if os.name == "nt":
        pytest.skip("Windows takes few of these names")
    monkeypatch.chdir(tmp_path)
    path, picture = Path(name + suffix), np.full((64, 64, 3), 90, np.uint8)
    if suffix == ".safetensors":
        save_motion(path, MOTION, {"driving": name})
        assert len(load_motion(path)) == 2
    elif suffix in (".png", ".jpg"):
        write_image(path, picture)
        assert read_image(path).shape == (64, 64, 3)
    else:
        with VideoWriter(path, (64, 64)) as writer:
            writer.write(picture)
        assert len(list(read_frames(path))) == 1
        assert read_label(path)
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name + suffix)]  # noqa: PTH208 - bytes as they are


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".png", ".safetensors"])
@pytest.mark.parametrize("name", ["x" * 255, "é" * 128, "null\0character"])
def test_a_name_that_it_does_not_take_is_refused_before_the_work(tmp_path, suffix, name):
    with pytest.raises(OutputError, match="too long a name|cannot be written"):
        prepare_output(tmp_path / (name + suffix), (suffix,))
    assert not list(tmp_path.iterdir())


def test_long_names_have_partial_files_of_their_own(tmp_path):
    one, two = (partial_path(tmp_path / ("x" * 245 + f"{n}.mp4")) for n in (1, 2))
    assert one != two
    assert len(one.name) == len(two.name) == 255
    assert one.name.endswith(".partial.mp4")
    assert partial_path(tmp_path / "a.mp4") == tmp_path / "a.partial.mp4"


@pytest.mark.parametrize("name", ["x" * 260, "null\0character"])
def test_a_name_that_no_file_has_is_not_another_file(tmp_path, name):
    assert not same_file(tmp_path / name, tmp_path / "a.mp4")
