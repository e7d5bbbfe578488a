"""The check command: its figures and verdicts; on random networks most fail, as they should."""

import json
import math
import os

import numpy as np
import pytest

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import SITTER
from personalive_core.evaluation import check
from personalive_core.evaluation.check import CheckReport, Finding, findings_table, level
from personalive_core.media.picture import read_image


def finding(figure, low=0.0, high=1.0):
    return Finding("a figure", figure, low, high, "a reason")


@pytest.mark.parametrize(("figure", "good"), [(-0.1, False), (0.0, True), (1.0, True), (1.1, False), (math.nan, False)])
def test_a_finding_is_good_inside_its_range(figure, good):
    assert finding(figure).good == good


def test_the_table_gives_verdict_figure_range_and_reason():
    lines = findings_table((finding(0.5), finding(3.0), finding(1.0, 1.0), finding(9.0, 24.0, math.inf))).splitlines()
    assert lines == [
        "ok   a figure: 0.5 (expected 0 to 1: a reason)",
        "FAIL a figure: 3 (expected 0 to 1: a reason)",
        "ok   a figure: 1 (expected 1: a reason)",
        "FAIL a figure: 9 (expected at least 24: a reason)",
    ]


def test_psnr():
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert level(grey, grey) == 100  # as in the evaluation: never infinite
    assert level(grey, grey + 255 // 10) == pytest.approx(20, abs=0.2)
    assert level(np.zeros_like(grey), np.full_like(grey, 255)) == 0


NAMES = [
    "networks loaded",
    "finite numbers, share",
    "drawn keypoints on the canvas",
    "largest head angle, degrees",
    "keypoint scale",
    "VAE round trip, dB",
    "portrait driven by itself, dB",
    "still driving, frame to frame, dB",
    "answer to another pose, dB",
]


@pytest.mark.usefixtures("loaded", "one_thread")
def test_random_networks_do_not_pass(personalive, tmp_path, standin_folder, sample):
    """They load and give finite pictures of seven keypoints, but the pictures are noise."""
    sheet = tmp_path / "check.png"
    line = ("check", "--weights", standin_folder, "--size", 64, "--sheet", sheet, "--driving", sample[1], "--json")
    outcome = personalive(*line)
    assert outcome.code == 1
    report = json.loads(outcome.out)
    assert [entry["name"] for entry in report["findings"]] == NAMES
    good = {entry["name"]: entry["good"] for entry in report["findings"]}
    assert good["networks loaded"]
    assert good["finite numbers, share"]
    assert good["drawn keypoints on the canvas"]
    assert not good["portrait driven by itself, dB"]
    assert not report["good"]
    assert "FAIL portrait driven by itself, dB: " in outcome.err
    assert "(expected at least 18: same person, same pose: little may change)" in outcome.err
    assert f"{sheet}: look at it" in outcome.err
    assert read_image(sheet).shape[0] > 500


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(("figure", "code"), [(0.5, 0), (2.0, 1)])
def test_the_exit_code_is_the_verdict(personalive, tmp_path, standin_folder, monkeypatch, figure, code):
    report = CheckReport((finding(0.5), finding(figure)), np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr("personalive_core.commands.check.run_check", lambda *_: report)
    outcome = personalive("check", "--weights", standin_folder, "--size", 64, "--sheet", tmp_path / "a.png")
    assert outcome.code == code
    assert outcome.out.startswith("ok   a figure: 0.5")
    assert outcome.err == ""


def test_refused_before_loading(personalive, tmp_path, standin_folder, sample, monkeypatch):
    monkeypatch.setattr("personalive_core.animation.engine.load_model", lambda *_: pytest.fail("loaded"))
    portrait = tmp_path / "me.png"
    portrait.write_bytes(sample[0].read_bytes())
    line = ("check", "--weights", standin_folder, "--reference", portrait, "--sheet")
    outcome = personalive(*line, portrait)
    assert outcome.code == 2
    assert "would overwrite" in outcome.err
    assert personalive(*line, tmp_path / "a.gif").code == 5


@pytest.mark.weights
@pytest.mark.timeout(3600)
def test_the_trained_weights_pass(personalive, tmp_path):
    """All figures in their ranges; the sheet is in pytest's temporary folder."""
    outcome = personalive("check", "--weights", os.environ["PERSONALIVE_WEIGHTS"], "--sheet", tmp_path / "check.png")
    assert outcome.code == 0, outcome.out + outcome.err


@pytest.mark.usefixtures("one_thread")
def test_a_nan_that_no_picture_shows_is_found(standin):
    """fc_exp is in the checkpoint but feeds nothing here, so that only its weights can tell."""
    portrait = draw_portrait(SITTER, FaceMotion(), 64)
    weight = standin.motion_extractor.detector.fc_exp.weight
    kept = weight[0, 0].clone()
    weight.data[0, 0] = math.nan
    try:
        report = check.run_check(standin, portrait, portrait, 64)
    finally:
        weight.data[0, 0] = kept
    (loaded,) = (finding for finding in report.findings if finding.name == "networks loaded")
    assert loaded.figure == loaded.high - 1
    assert not loaded.good
