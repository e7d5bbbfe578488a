"""The node Measure, without ComfyUI: frames in, a table and a picture out, and what it refuses."""

import numpy as np
import pytest
import torch

from personalive_core.evaluation.judges.types import POINTS, JudgeOptions

SILENT = JudgeOptions(points="none")


@pytest.fixture
def node(node_module):
    return node_module("measure")


@pytest.fixture
def frames():
    """[5, 32, 32, 3] in [0, 1], of whole levels."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)) / 255)


def test_identical_frames(node, frames):
    table, picture = node.measure(frames, frames, None, True, SILENT)
    rows = {line.split("  ")[0].strip(): line for line in table.splitlines()}
    assert "0.000 ± 0.000" in rows["L1 ↓"]
    assert "1.000 ± 0.000" in rows["SSIM ↑"]
    assert "5 frames" in table
    assert picture.shape[1:] == (1024, 3)


def test_the_worst_frame_is_named(node, frames):
    broken = frames.clone()
    broken[3] = 1 - broken[3]
    assert "at video, frame 3" in node.measure(broken, frames, None, True, SILENT)[0]


def test_cross_reenactment_compares_with_the_portrait(node, frames):
    still = frames[:1].expand(5, -1, -1, -1)
    portrait = (frames[0].numpy() * 255).round().astype(np.uint8)
    table, _ = node.measure(still, frames, portrait, False, SILENT)
    assert "L1: needs the true film" in table
    assert next(line for line in table.splitlines() if line.startswith("Colour (")).split()[3] == "0.00"


def test_an_interrupt_stops_it(node, frames, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(node, "check_interrupt", stop)
    with pytest.raises(KeyboardInterrupt):
        node.measure(frames, frames, None, True, SILENT)


def test_what_it_offers_is_known_to_the_core(node):
    assert set(node.FINDERS) < set(POINTS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Connect one of the two"),
        ({"truth": 5, "driving": 5}, "Connect one of the two"),
        ({"driving": 5}, "Connect the reference"),
        ({"truth": 5, "reference": 2}, "Measure got 2 pictures"),
        ({"truth": 4}, "the video has 5 frames and the truth 4"),
    ],
)
def test_refusals_say_first_what_to_do(node, node_module, frames, given, said):
    chosen = {name: frames[:count] for name, count in given.items()}
    with pytest.raises(node_module("host.errors").NodeError, match=said):
        node.Measure.execute(frames, **chosen, points="none")
