"""Outputs of any name that the file system takes: contact sheets, motion, weights, reports, the sample."""

import os
import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from personalive_core.animation.sheet import contact_sheet
from personalive_core.drawn.sample import write_sample
from personalive_core.media.picture import read_image, write_image
from personalive_core.motion.files import load_motion

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows forbids most of these names")

# Relative, so that nothing stands before them.
NAMES = {
    "colon": "a:b",
    "dash": "-x",
    "quotes": "a'b\"c",
    "line break": "a\nb",
    "emoji": "\U0001f600",
    "bytes": os.fsdecode(b"caf\xe9"),
    "long": "\u00e9" * 115,
}


@pytest.fixture(params=[*NAMES.values()], ids=[*NAMES])
def name(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        (tmp_path / request.param).write_bytes(b"")
    except OSError:
        pytest.skip("this file system does not take the name")
    (tmp_path / request.param).unlink()
    return request.param


@pytest.mark.usefixtures("loaded", "one_thread")
def test_motion(personalive, name, sample, standin_folder, tmp_path):
    film = tmp_path / f"{name}.mp4"
    film.symlink_to(sample[1])  # its name is stored in the motion file
    engine = ("--weights", standin_folder, "--size", 64, "--frames", 1, "--quiet")
    outcome = personalive("motion", "--driving", film, f"--output={name}.safetensors", f"--plot={name}.png", *engine)
    assert outcome.code == 0, outcome.err
    assert read_image(tmp_path / f"{name}.png").shape == (640, 1024, 3)
    assert len(load_motion(tmp_path / f"{name}.safetensors")) == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_sheet(name, suffix):
    face = np.full((64, 64, 3), 128, np.uint8)
    sheet = contact_sheet(face, (), f"{name}.mp4: 0 frames")
    write_image(f"{name}{suffix}", sheet)
    assert read_image(f"{name}{suffix}").shape == sheet.shape


@dataclass(frozen=True)
class Report:
    """Stands in for the figures of a measurement."""

    command: str = ""

    def to_json(self):
        return '{"a": 1}'


def test_bench_report(personalive, name, monkeypatch, tmp_path):
    monkeypatch.setattr("personalive_core.commands.bench.run_bench", lambda _: Report())
    monkeypatch.setattr("personalive_core.commands.bench.report_table", lambda _: "the table")
    assert personalive("bench", f"--json={name}.json").code == 0
    assert (tmp_path / f"{name}.json").read_text() == '{"a": 1}'


def test_folders_of_weights_and_of_the_sample(personalive, name, standin_folder, tmp_path):
    folder = tmp_path / "weights" / "personalive"
    folder.mkdir(parents=True)
    shutil.copy(standin_folder / "personalive" / "motion_extractor.pth", folder)
    outcome = personalive("convert", "--weights", "weights", f"--output={name}")
    assert outcome.code == 0, outcome.err
    assert [*(tmp_path / name).rglob("motion_extractor.safetensors")]
    reference, driving = write_sample(tmp_path.joinpath(name).relative_to(tmp_path), 0.04, 64)
    assert reference.is_file()
    assert driving.is_file()
