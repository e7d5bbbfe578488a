"""The motion plot: head pose and motion novelty of a clip over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from .types import HybridMotion

Colour = tuple[int, int, int]
Curve = NDArray[np.float64]  # [N, 2] frame, value

# Three of the eight that Okabe and Ito chose to be told apart with any colour vision, and none of them the keyframes'.
POSE: tuple[tuple[str, int, Colour], ...] = (  # name, column of HeadPose.angles, colour
    ("yaw", 1, (0, 114, 178)),
    ("pitch", 0, (230, 159, 0)),
    ("roll", 2, (0, 158, 115)),
)
PAPER, INK, FAINT, GRID, SHADE = (250, 250, 248), (28, 30, 34), (112, 116, 122), (224, 225, 228), (222, 214, 226)
KEYFRAME = (204, 40, 110)
DETAIL = 2  # drawn so many times larger, then scaled down: Pillow's own lines are jagged
TEXT, SMALL = 18 * DETAIL, 15 * DETAIL
LEFT, RIGHT, TITLE, FOOT = 64 * DETAIL, 20 * DETAIL, 44 * DETAIL, 54 * DETAIL  # room around and between the panels
UPPER_SHARE = 0.6  # of the two panels' height
SMALLEST_TURN = 5.0  # degrees: a still head is not blown up to noise


@dataclass(frozen=True)
class Axes:
    """A rectangle of the picture with its scales: frames to the right, values up."""

    left: int
    top: int
    right: int
    bottom: int
    last: int  # frame at the right edge
    low: float
    high: float

    def x(self, frame: float) -> float:
        return self.left + min(max(frame / self.last, 0.0), 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)


def motion_plot(
    motion: HybridMotion,
    novelty: Sequence[tuple[int, float]],
    rate: float,
    threshold: float,
    keyframes: Sequence[int],
    size: tuple[int, int] = (1024, 640),
) -> NDArray[np.uint8]:
    """Yaw, pitch and roll above, motion novelty with its threshold and keyframes below: [H, W, 3] uint8.

    `novelty` is (frame, value) as in `NoveltyCurve.points`, `rate` frames per second, `keyframes` driving frames,
    `size` width and height in pixels. Frames without a face are shaded. Raises InputError without a frame or a rate.
    """
    if not len(motion):
        raise InputError("the motion has no frame to plot: extract it from at least one driving frame")
    if not rate > 0:
        raise InputError(f"the frame rate must be above 0 frames per second, got {rate}")
    width, height = size[0] * DETAIL, size[1] * DETAIL
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    angles = motion.pose.angles.double().numpy()
    middle = TITLE + round((height - 2 * TITLE - FOOT) * UPPER_SHARE)
    last = max(len(motion) - 1, 1)
    turn = max(SMALLEST_TURN, float(np.abs(angles).max()))
    most = max([threshold, *(value for _, value in novelty)])
    upper = Axes(LEFT, TITLE, width - RIGHT, middle, last, -1.1 * turn, 1.1 * turn)
    lower = Axes(LEFT, middle + TITLE, width - RIGHT, height - FOOT, last, 0, 1.15 * max(most, 1.0))
    missing = ~motion.valid.numpy()
    for panel in (upper, lower):
        draw_frame(draw, panel, missing, rate)
    for _, column, colour in POSE:
        draw_curve(draw, upper, np.stack([np.arange(len(motion)), angles[:, column]], 1), colour)
    draw_novelty(draw, lower, np.array(novelty, np.float64).reshape(-1, 2), threshold, keyframes)
    shading = [("no face", SHADE)] if missing.any() else []
    draw_head(draw, upper, "Head pose (degrees)", [*((name, colour) for name, _, colour in POSE), *shading])
    draw_head(draw, lower, "Motion novelty", [(f"threshold {threshold:g}", FAINT), ("keyframe", KEYFRAME)])
    draw_seconds(draw, lower, rate)
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow brings."""
    return ImageFont.load_default(size)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within [low, high], 1, 2 or 5 times a power of ten apart, about `most` of them."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def envelope(curve: Curve, columns: int) -> Curve:
    """Long curves as the lowest and the highest value of each of `columns` stretches, so that no peak is lost."""
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


def draw_frame(draw: ImageDraw.ImageDraw, panel: Axes, missing: NDArray[np.bool_], rate: float) -> None:
    """A panel without its curves: shading of frames without a face, grid, values, zero line."""
    draw.rectangle((panel.left, panel.top, panel.right, panel.bottom), "white")
    for first, last in stretches(missing):
        left, right = panel.x(first - 0.5), panel.x(last + 0.5)
        draw.rectangle((left, panel.top, max(right, left + 2 * DETAIL), panel.bottom), SHADE)
    for second in ticks(0, panel.last / rate, 8):
        x = panel.x(second * rate)
        draw.line((x, panel.top, x, panel.bottom), GRID, DETAIL)
    for value in ticks(panel.low, panel.high, 5):
        y = panel.y(value)
        draw.line((panel.left, y, panel.right, y), GRID if value else FAINT, DETAIL)
        draw.text((panel.left - 8 * DETAIL, y), f"{value:g}", FAINT, font(SMALL), "rm")
    draw.rectangle((panel.left, panel.top, panel.right, panel.bottom), None, FAINT, DETAIL)


def draw_seconds(draw: ImageDraw.ImageDraw, panel: Axes, rate: float) -> None:
    """The axis labels below a panel."""
    for second in ticks(0, panel.last / rate, 8):
        draw.text((panel.x(second * rate), panel.bottom + 18 * DETAIL), f"{second:g}", FAINT, font(SMALL), "ms")
    middle = (panel.left + panel.right) / 2
    draw.text((middle, panel.bottom + 38 * DETAIL), "seconds", INK, font(SMALL), "ms")


def draw_curve(draw: ImageDraw.ImageDraw, panel: Axes, curve: Curve, colour: Colour) -> None:
    """A line through all points, a dot for one alone."""
    points = [(panel.x(frame), panel.y(value)) for frame, value in envelope(curve, panel.right - panel.left)]
    if len(points) == 1:
        draw.circle(points[0], 4 * DETAIL, colour)
    draw.line(points, colour, 2 * DETAIL, "curve")


def draw_novelty(
    draw: ImageDraw.ImageDraw, panel: Axes, curve: Curve, threshold: float, keyframes: Sequence[int]
) -> None:
    """The novelty curve, the dashed threshold, and a diamond on a stem where a frame becomes a keyframe."""
    dash, y = 8 * DETAIL, panel.y(threshold)
    for left in range(panel.left, panel.right, 2 * dash):
        draw.line((left, y, min(left + dash, panel.right), y), FAINT, 2 * DETAIL)
    draw_curve(draw, panel, curve, INK)
    values = {int(frame): value for frame, value in curve}
    for frame in keyframes:
        x, y = panel.x(frame), panel.y(values.get(frame, threshold))
        draw.line((x, y, x, panel.bottom), KEYFRAME, 2 * DETAIL)
        draw.regular_polygon((x, y, 7 * DETAIL), 4, 45, KEYFRAME)


def draw_head(draw: ImageDraw.ImageDraw, panel: Axes, title: str, entries: Sequence[tuple[str, Colour]]) -> None:
    """Above a panel: its title on the left, the legend's names behind their colours on the right."""
    x, y = float(panel.right), panel.top - 10 * DETAIL
    draw.text((panel.left, y), title, INK, font(TEXT), "ls")
    for name, colour in reversed(entries):
        x -= draw.textlength(name, font(SMALL))
        draw.text((x, y), name, INK, font(SMALL), "ls")
        x -= 22 * DETAIL
        draw.rectangle((x, y - 10 * DETAIL, x + 16 * DETAIL, y - 2 * DETAIL), colour)
        x -= 18 * DETAIL
