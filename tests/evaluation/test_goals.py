"""The targets of a model of 128 pixels and of 256, each met and missed."""

import math
from dataclasses import replace

import pytest

from personalive_core.evaluation.closeness import Share
from personalive_core.evaluation.evaluate import Options
from personalive_core.evaluation.goals import CROSS, SELF
from personalive_core.evaluation.reenactment import MEAN, MODEL
from tests.evaluation.test_stored import evaluation, task

LARGE = Options(size=256, style="fine")


def met(found):
    return {target.name: target.met for target in found.targets}


def test_the_targets_of_128_pixels_are_of_both_tasks():
    names = [target.name for target in evaluation().targets]
    assert names == [
        f"{SELF}: PSNR above the reference repeated",
        f"{CROSS}: PSNR above the reference repeated",
        f"{SELF}: landmark error, as a share of the reference repeated's",
        f"{CROSS}: landmark error, as a share of the reference repeated's",
        f"{CROSS}: identity error, as a share of the driving frame's",
        "Long stream: PSNR lost",
        "Long stream: largest colour drift",
        "Line-art: PSNR that the LoRA adds",
    ]
    assert all(met(evaluation()).values())
    wanted = [target.wanted for target in evaluation().targets]
    assert wanted[:3] == ["+4 dB", "+4 dB", "at most 0.333"]
    assert wanted[5:] == ["at most 1 dB", "at most 2 ΔE", "+1 dB"]
    for other in (Options(size=256), Options(style="fine")):
        assert [target.name for target in evaluation(other).targets] == names


def test_the_targets_of_256_pixels_are_of_cross_reenactment():
    found = {target.name.removeprefix(f"{CROSS}: "): target for target in evaluation(LARGE).targets}
    assert {name: (target.wanted, target.found, target.met) for name, target in found.items()} == {
        "PSNR above the reference repeated": ("+8 dB", "+9.00 dB", True),
        "PSNR above the mean frame": ("+3 dB", "+3.50 dB", True),
        "sharpness, as a share of the truth's": ("at least 0.85", "0.900", True),
        "error of gaze, as a share of the reference repeated's": ("at most 0.35", "0.300 ± 0.010", True),
        "error of jaw, as a share of the reference repeated's": ("at most 0.4", "0.200", True),
        "error of cheeks, as a share of the reference repeated's": ("at most 0.4", "0.500 ± 0.100", False),
        "landmark error, in pixels of 128": ("at most 1", "0.95", True),
        "identity error, as a share of the driving frame's": ("below 0.500", "0.067", True),
        "Long stream: PSNR lost": ("at most 1 dB", "0.50 dB", True),
        "Long stream: largest colour drift": ("at most 2 ΔE", "1.00 ΔE (skin)", True),
        "Line-art: PSNR that the LoRA adds": ("+3 dB", "+1.50 dB", False),
    }


@pytest.mark.parametrize(
    ("row", "change", "missed"),
    [
        (MODEL, {"psnr": 28.9}, {"PSNR above the reference repeated", "PSNR above the mean frame"}),
        (MEAN, {"psnr": 27.5}, {"PSNR above the mean frame"}),
        (MODEL, {"landmarks": 2.1}, {"landmark error, in pixels of 128"}),
        (MODEL, {"landmarks": math.nan}, {"landmark error, in pixels of 128"}),
        (MODEL, {"identity": 15.5}, {"identity error, as a share of the driving frame's"}),
    ],
)
def test_a_worse_figure_misses_its_target(row, change, missed):
    cross = task(CROSS)
    worse = replace(cross, rows={**cross.rows, row: replace(cross.rows[row], **change)})
    found, before = (met(evaluation(LARGE, tasks=(task(SELF), each))) for each in (worse, cross))
    assert {name for name in found if found[name] != before[name]} == {f"{CROSS}: {name}" for name in missed}


def test_sharpness_and_shares_miss_their_targets():
    cross = task(CROSS)
    blurred = replace(cross.close[MODEL], sharpness=0.84)
    worse = replace(
        cross, close={**cross.close, MODEL: blurred}, shares=(Share("gaze", 0.36, 0.1), Share("jaw", math.nan, 0.1))
    )
    found = met(evaluation(LARGE, tasks=(task(SELF), worse)))
    missed = [name for name, good in found.items() if not good and name.startswith(CROSS)]
    assert [name.split(": ")[1].split(",")[0] for name in missed] == ["sharpness", "error of gaze", "error of jaw"]
