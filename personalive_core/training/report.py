"""A training run's report: metrics as JSON lines, loss curves as a picture, and sample sheets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import InputError
from ..media.chart import (
    BLUE,
    DETAIL,
    FOOT,
    GREEN,
    KEYFRAME,
    LEFT,
    ORANGE,
    PAPER,
    RIGHT,
    SKY,
    TITLE,
    VERMILION,
    Axes,
    draw_curve,
    draw_frame,
    draw_head,
    draw_time,
    mosaic,
)

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, CURVE = "metrics.jsonl", "curve.png"
CURVE_SIZE = (960, 540)  # width, height of the picture in pixels
CURVE_COLOURS = (BLUE, ORANGE, GREEN, KEYFRAME, SKY, VERMILION)
SMALLEST_LOSS = 1e-8  # smaller losses, and zero, are drawn at this value
SMOOTHED = 50  # most points of a curve, each the mean of an interval


def append_metrics(folder: Path, row: dict[str, float]) -> None:
    """Appends one line to the run's metrics."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def open_board(folder: Path, step: int) -> SummaryWriter:
    """A TensorBoard writer that replaces earlier events from `step` on. Raises InputError without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("--tensorboard needs the package: `pip install tensorboard`, or leave it out") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """All complete lines of the metrics; none where there is no file."""
    path = folder / METRICS
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the incomplete last line of a run that was killed
            continue
    return rows


def forget_after(folder: Path, step: int) -> None:
    """Drops the metrics from `step` on: a resumed run repeats those steps."""
    rows = [row for row in read_metrics(folder) if row["step"] < step]
    if rows or (folder / METRICS).is_file():
        (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def draw_losses(folder: Path) -> None:
    """Draws every loss over the steps, on a logarithmic scale, as CURVE in the run's folder; none without metrics.

    A loss that begins later, such as the adversarial one, is drawn from there on.
    """
    rows = read_metrics(folder)
    names = list(dict.fromkeys(name for row in rows for name in row if name.startswith("loss")))
    if not names:
        return
    curves = [np.array([(row["step"], max(row[name], SMALLEST_LOSS)) for row in rows if name in row]) for name in names]
    curves = [np.stack([curve[:, 0], np.log10(curve[:, 1])], 1) for curve in curves]
    lowest, highest = min(curve[:, 1].min() for curve in curves), max(curve[:, 1].max() for curve in curves)
    width, height = CURVE_SIZE[0] * DETAIL, CURVE_SIZE[1] * DETAIL
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    axes = Axes(
        LEFT, TITLE, width - RIGHT, height - FOOT, max(int(rows[-1]["step"]), 1), float(np.floor(lowest)),
        float(max(np.ceil(highest), np.floor(lowest) + 1)),
    )  # fmt: skip
    draw_frame(draw, axes, np.zeros(1, bool), 1.0, lambda power: f"{10**power:.1g}")
    colours = [CURVE_COLOURS[i % len(CURVE_COLOURS)] for i in range(len(names))]
    for curve, colour in zip(curves, colours, strict=True):
        draw_curve(draw, axes, np.stack([smoothed(column) for column in curve.T], 1), colour)
    legend = [(name.removeprefix("loss/"), colour) for name, colour in zip(names, colours, strict=True)]
    draw_head(draw, axes, "Losses", legend)
    draw_time(draw, axes, 1.0, "steps")
    image.resize(CURVE_SIZE, Image.Resampling.BOX).save(folder / CURVE)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of at most SMOOTHED intervals of about equal length."""
    parts = np.array_split(values, min(SMOOTHED, len(values)))
    return np.array([part.mean() for part in parts])


def save_sheet(path: Path, rows: list[Tensor]) -> None:
    """Writes a sample sheet; each of `rows`, pictures [F, 3, S, S] in [0, 1], is one row of it."""
    pictures = [(row.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy() for row in rows]
    Image.fromarray(mosaic([list(row) for row in pictures])).save(path)
