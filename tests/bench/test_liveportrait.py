"""`personalive bench --system liveportrait`: its networks, figures and report, in small sizes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.backends.liveportrait.model import LivePortrait
from personalive_core.backends.liveportrait.networks import LiveSizes
from personalive_core.backends.liveportrait.speed import with_live_speed
from personalive_core.backends.personalive.speed.choice import AS_IT_IS, GRAPHS
from personalive_core.backends.personalive.speed.prepare import Tools
from personalive_core.bench.liveportrait import LivePortraitOptions, live_variants, run_liveportrait_bench
from personalive_core.bench.liveportrait_networks import count_live, live_sizes, random_live
from personalive_core.bench.report import read_report
from personalive_core.bench.tables import markdown, report_table
from personalive_core.errors import InputError
from personalive_core.modules.retargeting import RetargetingNetworks
from personalive_core.motion.types import HeadPose
from tests.backends.liveportrait.tiny import SIZES
from tests.backends.personalive.test_speed import Tape

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


class Extractor(nn.Module):
    """In place of the motion extractor."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 70)
        self.detector = lambda pictures: self.fc(pictures.mean((2, 3)))

    def read(self, features):
        pose = HeadPose(features[:, :3], features[:, 3:6], features[:, 6:7])
        return features, pose, features[:, 7:].reshape(-1, 21, 3)

    def expression(self, features):
        return 0.1 * features[:, 7:].reshape(-1, 21, 3)


class Warping(nn.Conv3d):
    """In place of the warping network."""

    def forward(self, volume, source, keypoints):
        return SimpleNamespace(features=super().forward(volume) + (keypoints - source).mean())


class Decoder(nn.Module):
    """In place of the decoder."""

    def __init__(self):
        super().__init__()
        self.fc, self.config = nn.Linear(4, 4), SIZES.decoder

    def forward(self, features):
        return functional.interpolate(self.fc(features[:, :, 0]), size=(512, 512)).sigmoid()


def cheap():
    """Networks that cost nothing, and can be recorded."""
    appearance = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Unflatten(2, (1, 4)))
    networks = appearance, Extractor(), Warping(3, 3, 1), Decoder(), RetargetingNetworks(SIZES.retargeting)
    return LivePortrait(*(network.eval() for network in networks))


@pytest.fixture
def graphs(monkeypatch):
    """Speed compiled as on CUDA, recorded on the CPU; the recorders of each stage."""
    made = []

    def recorder(_):
        made.append(Tape())
        return made[-1]

    choose = lambda name, _: GRAPHS if name == "compiled" else AS_IT_IS  # noqa: E731
    monkeypatch.setattr("personalive_core.bench.liveportrait.choose_live_speed", choose)
    fast = lambda model, plan: with_live_speed(model, plan, Tools(recorder=recorder))  # noqa: E731
    monkeypatch.setattr("personalive_core.bench.liveportrait.with_live_speed", fast)
    return made


def test_speeds_are_measured_beside_one_another(graphs, monkeypatch):
    monkeypatch.setattr("personalive_core.bench.liveportrait.random_live", lambda *_: cheap())
    blank, speeds, loops = np.zeros((512, 512, 3), np.uint8), ("plain", "compiled"), []
    monkeypatch.setattr("personalive_core.bench.liveportrait.drawn_portrait", lambda _: blank)
    monkeypatch.setattr("personalive_core.bench.liveportrait.drawn_frames", lambda _: [blank])
    monkeypatch.setattr("personalive_core.bench.liveportrait.count_live", lambda _: {"warping": 1})
    monkeypatch.setattr(
        "personalive_core.bench.liveportrait.time_loop",
        lambda one, _: loops.append((one.run is None, len(graphs))) or (1.0, 2.0, 3.0),
    )
    report = run_liveportrait_bench(LivePortraitOptions(WIDTH, frames=2, repeats=1, speeds=speeds))
    assert [(stage.name, stage.speed) for stage in report.stages] == [
        *((name, "plain") for name in (*NETWORKS, "crop", "paste")),
        *((name, "compiled") for name in NETWORKS[:4]),
    ]
    assert [loop.speed for loop in report.loops] == [*speeds]
    # the report's, and two of each speed; what compiled holds is no part of plain's memory
    assert loops == [(True, 0), (True, 0), (True, 0), (False, 4), (False, 4)]
    assert (report.speed, report.compiled) == ("plain", False)
    assert len(graphs) == 4
    assert all(tape.recorded and tape.replayed for tape in graphs)
    table = report_table(report)
    assert "warping compiled" in table
    there = report_table(replace(report, device="NVIDIA H100", widths=(512,))).split("networks beside the paper's")[1]
    assert all(f"\n{name} compiled" in there for name in NETWORKS[:4])
    heads = next(line for line in table.splitlines() if line.startswith("speed"))
    assert heads.split() == ["speed", "FPS", "ready", "s", "first", "frame", "s", "peak", "MiB"]


def test_a_speed_that_runs_plain_is_plain():
    """Without a CUDA device compiled is no figure of its own."""
    assert [*live_variants(cheap(), LivePortraitOptions(speeds=("compiled",)))] == ["plain"]


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
    compared = personalive(*given, "--widths", "512", "--speed", "plain,compiled", "--compare", path)
    assert (quick[1].width, quick[1].speeds) == (512, ("plain", "compiled"))
    assert "warping seconds" in compared.out
    other = personalive("bench", "--compare", path)
    assert other.code == InputError.exit_code
    assert "has figures of liveportrait, got --system personalive: compare within one system" in other.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--speed", "plain,fp8"), "LivePortrait runs at speed auto, plain, compiled, got 'fp8': choose one of these"),
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
