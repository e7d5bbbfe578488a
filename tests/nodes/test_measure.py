"""The node Measure, without ComfyUI: frames in, a table and a picture out, and what it refuses."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from personalive_core.evaluation import catalogue
from personalive_core.evaluation.judges import points
from personalive_core.evaluation.judges.types import POINTS, JudgeOptions
from personalive_core.metrics import windows

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
    assert "L1: needs the true film: connect truth" in table
    assert "--" not in table.replace("---", "")
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
        ({"truth": 4}, r"^Make them equally long: the video has 5 frames and the truth 4"),
        ({"truth": 5, "side": 16}, "Resize them to one size: "),
        ({"truth": 5, "width": 40, "points": "drawn"}, "Make them square, or choose other points: "),
    ],
)
def test_refusals_say_first_what_to_do(node, node_module, frames, given, said):
    side, width, points = given.get("side", 32), given.get("width", 32), given.get("points", "none")
    wide = torch.cat([frames, frames], 2)[:, :, :width]
    chosen = {
        name: wide[:count, :side, :] for name, count in given.items() if name in ("truth", "driving", "reference")
    }
    with pytest.raises(node_module("host.errors").NodeError, match=said) as refused:
        node.Measure.execute(wide, **chosen, points=points)
    assert "--" not in str(refused.value)


def texts(path):
    """Every text of a Python file; what is filled in is an X."""
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.JoinedStr):
            yield "".join(piece.value if isinstance(piece, ast.Constant) else "X" for piece in part.values)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def test_no_message_names_an_option_of_the_command_line(node, node_module):
    """Of all that the core says when frames are measured."""
    files = [Path(catalogue.__file__), *Path(points.__file__).parent.glob("*.py"), Path(windows.__file__)]
    said = [text for path in files for text in texts(path) if " --" in f" {text}" and "--- " not in text]
    assert len(said) >= 10
    in_words = node_module("host.errors").in_words
    assert [text for text in said if "--" in in_words(text, node.IN_INPUTS)] == []
