"""`personalive bench --system liveportrait`: its networks, figures and report, in small sizes."""

import json
from dataclasses import replace

import pytest
import torch

from personalive_core.backends.liveportrait.networks import LiveSizes
from personalive_core.bench.liveportrait import LivePortraitOptions, run_liveportrait_bench
from personalive_core.bench.liveportrait_networks import count_live, live_sizes, random_live
from personalive_core.bench.report import read_report
from personalive_core.bench.tables import markdown, report_table
from personalive_core.errors import InputError

CPU = torch.device("cpu")
WIDTH = 16
NETWORKS = ["appearance", "motion", "warping", "decoder", "stitching"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def report():
    return run_liveportrait_bench(LivePortraitOptions(WIDTH, torch.float32, CPU, frames=2, repeats=1))


def test_the_published_width_gives_the_published_sizes():
    assert live_sizes(512) == LiveSizes()
    with pytest.raises(InputError, match="LivePortrait's width is a multiple of 16, got 40: use 512"):
        live_sizes(40)


def test_operations_are_counted():
    """Of the extractors as published; the others have fewer, for their norms are folded."""
    counted = {name: flops / 1e9 for name, flops in count_live(512).items()}
    assert list(counted) == NETWORKS
    assert (counted["appearance"], counted["motion"]) == (pytest.approx(64.1, abs=0.05), pytest.approx(11.6, abs=0.05))
    assert 300 < counted["warping"] < 342.1
    assert 700 < counted["decoder"] < 891.6


def test_random_networks_draw(report):
    model = random_live(WIDTH, CPU, torch.bfloat16)
    pose, canonical, expression = model.read_motion(
        torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    )
    assert canonical.abs().max() < 2
    assert 0 < expression.abs().max() < 2
    assert pose.scale.item() == pytest.approx(1, abs=0.2)
    assert report.parameters > 10_000
    assert report.weight_bytes >= 2 * report.parameters


def test_every_stage_is_measured(report):
    assert [stage.name for stage in report.stages] == [*NETWORKS, "crop", "paste"]
    assert all(stage.seconds > 0 and stage.frames == 1 for stage in report.stages)
    assert all((stage.flops > 0) == (stage.name in NETWORKS) for stage in report.stages)
    assert report.fps > 0
    assert report.fps_whole > 0
    assert report.first_frame_seconds > max(stage.seconds for stage in report.stages if stage.name == "decoder") / 2


def test_the_report_says_its_system(report, tmp_path):
    assert report.title.startswith("liveportrait, widths 16, 512x512, float32, cpu")
    assert "decoder," not in report.title
    path = tmp_path / "figures.json"
    path.write_text(report.to_json())
    assert read_report(path) == report


def test_the_papers_figures_stand_beside_a_gpus(report):
    assert "paper" not in report_table(report)
    there = replace(report, device="NVIDIA H100", widths=(512,))
    lines = report_table(there).split("networks beside the paper's")[1].splitlines()
    assert [line.split()[0] for line in lines[2:7]] == NETWORKS
    assert [line.split()[-1] for line in lines[2:7]] == ["0.8", "0.8", "5.2", "7.6", "0.3"]
    assert "| warping |" in markdown(there)
    for other in (replace(there, widths=(64,)), replace(there, system="")):
        assert "paper" not in report_table(other)


@pytest.fixture
def quick(monkeypatch, report):
    """The command finds its figures measured; what it was asked for."""
    asked = []
    monkeypatch.setattr(
        "personalive_core.commands.bench.run_liveportrait_bench", lambda options: asked.append(options) or report
    )
    return asked


def test_the_command(personalive, quick, tmp_path):
    path = tmp_path / "figures.json"
    given = ("bench", "--system", "liveportrait", "--device", "cpu", "--precision", "fp32", "--frames", "5")
    outcome = personalive(*given, "--json", path)
    assert outcome.code == 0, outcome.err
    assert quick == [LivePortraitOptions(frames=5)]
    assert json.loads(path.read_text())["system"] == "liveportrait"
    compared = personalive(*given, "--widths", "512", "--compare", path)
    assert quick[1].width == 512
    assert "warping seconds" in compared.out
    other = personalive("bench", "--compare", path)
    assert other.code == InputError.exit_code
    assert "has figures of liveportrait, got --system personalive: compare within one system" in other.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--speed", "plain,compiled"), "--speed belongs to personalive, got --system liveportrait"),
        (("--decoder", "tiny"), "--decoder belongs to personalive"),
        (("--size", "256"), "--size belongs to personalive"),
        (("--profile",), "--profile belongs to personalive"),
        (("--widths", "32,64"), "LivePortrait has one width, got 2: give 64 or 512"),
        (("--frames", "1"), "a loop of at least 2 frames and 1 repeat can be measured, got 1 and 3: raise them"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_cannot_be_measured_is_refused(personalive, arguments, words):
    outcome = personalive("bench", "--system", "liveportrait", *arguments)
    assert outcome.code == InputError.exit_code
    assert words in outcome.err
