"""Draws charts with Pillow: one palette, axes with their scales, curves and legends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
Curve = NDArray[np.float64]  # [N, 2]: frame, value
PAPER, INK, FAINT, GRID, SHADE = (250, 250, 248), (28, 30, 34), (112, 116, 122), (224, 225, 228), (222, 214, 226)
KEYFRAME: Colour = (204, 40, 110)
# Okabe and Ito's palette, which any colour vision can distinguish; KEYFRAME is not one of them.
BLUE, ORANGE, GREEN, SKY, VERMILION = (0, 114, 178), (230, 159, 0), (0, 158, 115), (86, 180, 233), (213, 94, 0)
DETAIL = 2  # supersampling factor: drawn larger, then scaled down, as Pillow's own lines are jagged
TEXT, SMALL_TEXT = 18 * DETAIL, 15 * DETAIL
LEFT, RIGHT, TITLE, FOOT = 64 * DETAIL, 20 * DETAIL, 44 * DETAIL, 54 * DETAIL  # margins around and between panels


@dataclass(frozen=True)
class Axes:
    """One panel: its rectangle in pixels and its scales; frames run to the right, values upwards."""

    left: int
    top: int
    right: int
    bottom: int
    last: int  # frame at the right edge
    low: float
    high: float

    def x(self, frame: float) -> float:
        """Pixel column of `frame`; frames outside the scale are clamped to the edges."""
        return self.left + min(max(frame / self.last, 0.0), 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixel row of `value`."""
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font."""
    return ImageFont.load_default(size)


def ticks(low: float, high: float, most: int) -> list[float]:
    """About `most` round numbers within [low, high]; their spacing is 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def envelope(curve: Curve, columns: int) -> Curve:
    """Reduces a long curve to the lowest and highest value in each of `columns` intervals, so that no peak is lost."""
    if len(curve) <= 2 * columns:
        return curve
    starts = np.linspace(0, len(curve), columns, endpoint=False).astype(int)
    low = np.minimum.reduceat(curve[:, 1], starts)
    high = np.maximum.reduceat(curve[:, 1], starts)
    return np.stack([np.repeat(curve[starts, 0], 2), np.stack([low, high], 1).ravel()], 1)


def stretches(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(steps == 1).tolist(), (np.flatnonzero(steps == -1) - 1).tolist(), strict=True))


def draw_frame(
    draw: ImageDraw.ImageDraw,
    axes: Axes,
    missing: NDArray[np.bool_],
    rate: float,
    label: Callable[[float], str] = "{:g}".format,
) -> None:
    """Draws axes without curves: shaded `missing` frames, grid, zero line, and values formatted by `label`."""
    draw.rectangle((axes.left, axes.top, axes.right, axes.bottom), "white")
    for first, last in stretches(missing):
        left, right = axes.x(first - 0.5), axes.x(last + 0.5)
        draw.rectangle((left, axes.top, max(right, left + 2 * DETAIL), axes.bottom), SHADE)
    for second in ticks(0, axes.last / rate, 8):
        x = axes.x(second * rate)
        draw.line((x, axes.top, x, axes.bottom), GRID, DETAIL)
    for value in ticks(axes.low, axes.high, 5):
        y = axes.y(value)
        draw.line((axes.left, y, axes.right, y), GRID if value else FAINT, DETAIL)
        draw.text((axes.left - 8 * DETAIL, y), label(value), FAINT, font(SMALL_TEXT), "rm")
    draw.rectangle((axes.left, axes.top, axes.right, axes.bottom), None, FAINT, DETAIL)


def draw_time(draw: ImageDraw.ImageDraw, axes: Axes, rate: float, unit: str = "seconds") -> None:
    """Draws the labels below the axes; one `unit` has `rate` frames."""
    for tick in ticks(0, axes.last / rate, 8):
        draw.text((axes.x(tick * rate), axes.bottom + 18 * DETAIL), f"{tick:g}", FAINT, font(SMALL_TEXT), "ms")
    middle = (axes.left + axes.right) / 2
    draw.text((middle, axes.bottom + 38 * DETAIL), unit, INK, font(SMALL_TEXT), "ms")


def draw_curve(draw: ImageDraw.ImageDraw, axes: Axes, curve: Curve, colour: Colour) -> None:
    """Draws a line through all points; a single point becomes a dot."""
    points = [(axes.x(frame), axes.y(value)) for frame, value in envelope(curve, axes.right - axes.left)]
    if len(points) == 1:
        (x, y), radius = points[0], 4 * DETAIL
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)  # `circle` came with Pillow 10.4
    draw.line(points, colour, 2 * DETAIL, "curve")


def draw_head(draw: ImageDraw.ImageDraw, axes: Axes, title: str, entries: Sequence[tuple[str, Colour]]) -> None:
    """Draws above the axes: the title on the left, and on the right the legend, each colour followed by its name."""
    x, y = float(axes.right), axes.top - 10 * DETAIL
    draw.text((axes.left, y), title, INK, font(TEXT), "ls")
    for name, colour in reversed(entries):
        x -= draw.textlength(name, font(SMALL_TEXT))
        draw.text((x, y), name, INK, font(SMALL_TEXT), "ls")
        x -= 22 * DETAIL
        draw.rectangle((x, y - 10 * DETAIL, x + 16 * DETAIL, y - 2 * DETAIL), colour)
        x -= 18 * DETAIL


def mosaic(rows: Sequence[Sequence[NDArray[np.uint8]]], gap: int = 0) -> NDArray[np.uint8]:
    """Joins rows of equally many pictures [S, S, 3] into one; each has `gap` white pixels below and to its right."""
    edges = ((0, gap), (0, gap), (0, 0))
    lines = [np.concatenate([np.pad(picture, edges, constant_values=255) for picture in row], 1) for row in rows]
    return np.concatenate(lines)
