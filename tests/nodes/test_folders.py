"""What makes ComfyUI load again: files of the user's beside downloaded ones, or in their place; and temporary files."""

import pytest

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
