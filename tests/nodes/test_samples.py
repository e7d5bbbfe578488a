"""The sample media: put into ComfyUI's input folder at start, never over a file that is there, never in the way."""

import pytest


@pytest.fixture
def samples(node_module, tmp_path, monkeypatch):
    """nodes/host/samples.py with an input folder that is not there yet."""
    module = node_module("host.samples")
    monkeypatch.setattr(module.folder_paths, "get_input_directory", lambda: str(tmp_path / "input"), raising=False)
    return module


def test_they_are_there_after_the_start(samples, tmp_path):
    samples.copy_samples()
    expected = {path.name: path.read_bytes() for path in samples.ASSETS.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "input").iterdir()} == expected
    assert {"personalive_portrait.png", "personalive_film.mp4", "personalive_expression.png"} <= set(expected)


def test_a_file_of_that_name_stays(samples, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "personalive_portrait.png").write_bytes(b"mine")
    samples.copy_samples()
    assert (tmp_path / "input" / "personalive_portrait.png").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_only_logs(samples, tmp_path, caplog):
    (tmp_path / "input").write_bytes(b"no folder")
    samples.copy_samples()
    assert len(caplog.messages) == len(list(samples.ASSETS.iterdir()))
    assert "personalive_film.mp4 could not be put into" in "".join(caplog.messages)
