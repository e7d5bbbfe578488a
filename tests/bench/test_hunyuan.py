"""`personalive bench --system hunyuan`: its networks, figures and report, in small sizes."""

import json

import pytest
import torch

from personalive_core.bench.hunyuan import HunyuanOptions, run_hunyuan_bench
from personalive_core.bench.hunyuan_networks import PUBLISHED_HUNYUAN, SMALL_HUNYUAN, count_hunyuan
from personalive_core.bench.report import BenchReport, StageCost
from personalive_core.errors import InputError

TERA = 1e12
STAGES = ["reference", "motion", "unet", "decode"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def report():
    return run_hunyuan_bench(HunyuanOptions(size=64, frames=9, repeats=1))


@pytest.mark.slow
def test_operations_are_counted_as_published():
    """Of a clip of 125 frames: 187 TFLOP a frame as published, with three branches and other attention."""
    counted = {name: flops / TERA for name, flops in count_hunyuan(PUBLISHED_HUNYUAN, 512, 25, 8).items()}
    assert list(counted) == STAGES
    assert counted["unet"] == pytest.approx(64.2, abs=0.1)
    assert counted["decode"] == pytest.approx(24.3, abs=0.1)
    calls, chunks = 25 * 8, 16
    a_frame = (calls * counted["unet"] + chunks * counted["decode"] + 5 * counted["motion"]) / 125
    assert 100 < a_frame < 187 * 2 / 3


@pytest.mark.slow
def test_every_stage_is_measured(report):
    assert [stage.name for stage in report.stages] == STAGES
    assert [stage.frames for stage in report.stages] == [1, 25, 25, 8]
    assert all(stage.seconds > 0 and stage.flops > 0 for stage in report.stages)
    cost = {stage.name: stage.seconds for stage in report.stages}
    denoising = 25 * 2 * cost["unet"]  # 9 frames and 30 of padding are two windows
    assert report.first_frame_seconds == pytest.approx(
        cost["reference"] + cost["motion"] + denoising + cost["decode"], rel=1e-6
    )
    assert report.fps == pytest.approx(9 / (cost["motion"] + denoising + 2 * cost["decode"]), rel=1e-6)
    assert report.title.startswith("hunyuan, widths 64-128-128-128, 64x64, float32, cpu")


def test_the_command(personalive, monkeypatch, tmp_path):
    asked, path = [], tmp_path / "figures.json"
    stage = StageCost("unet", 25, 1.0, 10, None)
    report = BenchReport(
        SMALL_HUNYUAN,
        64,
        "float32",
        "cpu",
        "full",
        False,
        9,
        "2",
        1,
        1,
        (stage,),
        1.0,
        1.0,
        1.0,
        None,
        system="hunyuan",
    )
    monkeypatch.setattr(
        "personalive_core.commands.bench.run_hunyuan_bench", lambda options: asked.append(options) or report
    )
    given = ("bench", "--system", "hunyuan", "--device", "cpu", "--precision", "fp32", "--frames", "5")
    outcome = personalive(*given, "--size", "256", "--json", path)
    assert outcome.code == 0, outcome.err
    assert asked == [HunyuanOptions(size=256, frames=5)]
    assert json.loads(path.read_text())["system"] == "hunyuan"
    assert "--decoder belongs to personalive, got --system hunyuan" in personalive(*given, "--decoder", "tiny").err
    with pytest.raises(InputError, match="HunyuanPortrait has 4 widths, multiples of 64, got"):
        HunyuanOptions((32, 64, 64, 64))
    assert HunyuanOptions().widths == SMALL_HUNYUAN
    assert HunyuanOptions().device == torch.device("cpu")
