"""What a run leaves to look at: metrics as JSON lines, their curve as a picture, and sheets of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, CURVE = "metrics.jsonl", "curve.png"
PAPER, INK, GRID = (250, 250, 248), (28, 30, 34), (224, 225, 228)
COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 40, 110), (86, 180, 233), (213, 94, 0))
WIDTH, HEIGHT, EDGE, LEGEND = 960, 540, 60, 180
SMOOTHED = 50  # points of a curve, each the mean of its stretch


def append_metrics(folder: Path, row: dict[str, float]) -> None:
    """One line more."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def open_board(folder: Path, step: int) -> SummaryWriter:
    """TensorBoard's writer, for the same numbers from `step` on. Raises InputError without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("--tensorboard needs the package: `pip install tensorboard`, or leave it out") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """All lines that are whole."""
    path = folder / METRICS
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line of a run that was killed
            continue
    return rows


def forget_after(folder: Path, step: int) -> None:
    """Drops the lines of steps that a resumed run does again."""
    rows = [row for row in read_metrics(folder) if row["step"] < step]
    if rows or (folder / METRICS).is_file():
        (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def draw_losses(folder: Path) -> None:
    """Every loss over the steps, on a logarithmic scale, into the run's folder."""
    rows = read_metrics(folder)
    names = [name for name in (rows[0] if rows else {}) if name.startswith("loss")]
    if not names:
        return
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    steps = np.array([row["step"] for row in rows], dtype=float)
    curves = {name: smoothed(np.array([max(row.get(name, 0.0), 1e-8) for row in rows])) for name in names}
    low = np.floor(np.log10(min(float(c.min()) for c in curves.values())))
    high = max(np.ceil(np.log10(max(float(c.max()) for c in curves.values()))), low + 1)
    for power in range(int(low), int(high) + 1):
        y = _height(10.0**power, low, high)
        draw.line([(EDGE, y), (WIDTH - LEGEND, y)], GRID)
        draw.text((6, y - 8), f"1e{power}", INK, font)
    draw.text((EDGE, HEIGHT - 40), f"step {int(steps[0])} to {int(steps[-1])}", INK, font)
    for i, (name, values) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        across = np.linspace(EDGE, WIDTH - LEGEND, len(values))
        points = [(float(x), _height(float(v), low, high)) for x, v in zip(across, values, strict=True)]
        draw.line(points, colour, width=2)
        draw.text((WIDTH - LEGEND + 8, EDGE + 20 * i), name.removeprefix("loss/"), colour, font)
    image.save(folder / CURVE)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of at most SMOOTHED equal stretches."""
    parts = np.array_split(values, min(SMOOTHED, len(values)))
    return np.array([part.mean() for part in parts])


def _height(value: float, low: float, high: float) -> float:
    return float(HEIGHT - EDGE - (np.log10(value) - low) / (high - low) * (HEIGHT - 2 * EDGE))


def save_sheet(path: Path, rows: list[Tensor]) -> None:
    """Pictures in [0, 1]: each of `rows` [F, 3, S, S] is a row of the sheet."""
    lines = [np.concatenate([*(row.clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy())], 1) for row in rows]
    Image.fromarray((np.concatenate(lines, 0) * 255).round().astype(np.uint8)).save(path)
