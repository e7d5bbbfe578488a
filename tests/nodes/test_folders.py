"""What makes ComfyUI load again: files of the user's beside downloaded ones, or in their place; and temporary files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from personalive_core.weights.lock import FileRecord, LockedFile, write_lock

PLACE = "personalive/pose_guider.pth"
LIVE_PLACE = "liveportrait/base_models/warping_module.pth"


@pytest.fixture
def downloaded(tmp_path):
    """A weights folder with one downloaded file of each system."""

    def put(place):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_bytes(b"downloaded")
        return LockedFile("owner/name", "1" * 40, place, FileRecord.of(path))

    write_lock(tmp_path, {place: put(place) for place in (PLACE, LIVE_PLACE)})
    return tmp_path


@pytest.fixture(params=[("load", "LoadPersonaLive", "weight_folders", PLACE),
                        ("load_liveportrait", "LoadLivePortrait", "live_folders", LIVE_PLACE)])  # fmt: skip
def mark(node_module, downloaded, monkeypatch, request):
    """(what ComfyUI compares from run to run, the downloaded file)."""
    module, node, folders, place = request.param
    load = node_module(module)
    monkeypatch.setattr(load, folders, lambda: {"there": downloaded})
    return lambda: getattr(load, node).fingerprint_inputs(weights="there"), downloaded / place


def test_a_download_does_not_load_again(mark):
    now, _ = mark
    assert now() == []


def test_a_file_beside_a_downloaded_one_loads_again(mark):
    """Training and `convert` write safetensors, which are read in its place."""
    now, path = mark
    own = path.with_suffix(".safetensors")
    own.write_bytes(b"mine")
    before = now()
    assert [name for name, *_ in before] == [str(own)]
    own.write_bytes(b"mine again")
    assert now() != before


def test_a_file_in_place_of_a_downloaded_one_loads_again(mark):
    """Loading then says that it is not what was downloaded: the networks of before would run on, and nobody knew."""
    now, path = mark
    path.write_bytes(b"another one")
    assert [name for name, *_ in now()] == [str(path)]


# --- temporary files


@pytest.fixture
def folders(node_module, tmp_path, monkeypatch):
    """nodes/host/folders.py with a temporary folder of its own."""
    module = node_module("host.folders")
    monkeypatch.setattr(module, "folder_paths", SimpleNamespace(get_temp_directory=lambda: str(tmp_path / "temp")))
    return module


def test_a_file_that_a_full_disk_cut_short_is_not_taken(folders, tmp_path, monkeypatch):
    """ComfyUI empties the folder only when it starts."""
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(folders.OutputError, match="No space left on device.*free space and run again"):
        folders.temp_file(b"a whole film", ".mp4")
    assert not list((tmp_path / "temp").iterdir())
    monkeypatch.setattr(Path, "write_bytes", write)
    assert folders.temp_file(b"a whole film", ".mp4").read_bytes() == b"a whole film"
    assert len(list((tmp_path / "temp").iterdir())) == 1


class OnGpu(torch.Tensor):
    """A tensor that NumPy cannot read until it is on the CPU."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_sound_on_a_gpu_is_written(folders):
    """As VAE Decode Audio gives it where ComfyUI was started with --gpu-only."""
    waveform = torch.zeros(1, 2, 50).as_subclass(OnGpu)
    assert folders.as_sound({"waveform": waveform, "sample_rate": 8000}).stat().st_size > 200
