"""The motion plot: head pose and motion novelty of a clip over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import InputError
from ..media.chart import (
    BLUE,
    DETAIL,
    FAINT,
    FOOT,
    GREEN,
    INK,
    KEYFRAME,
    LEFT,
    ORANGE,
    PAPER,
    RIGHT,
    SHADE,
    TITLE,
    Axes,
    Colour,
    Curve,
    draw_curve,
    draw_frame,
    draw_head,
    draw_time,
)
from .types import AnyMotion

POSE: tuple[tuple[str, int, Colour], ...] = (  # name, column of HeadPose.angles, colour
    ("yaw", 1, BLUE),
    ("pitch", 0, ORANGE),
    ("roll", 2, GREEN),
)
UPPER_SHARE = 0.6  # the upper panel's part of both panels' height
SMALLEST_TURN = 5.0  # degrees: smallest range of the axis, so that a head at rest does not show as noise
SMALLEST_CHANGE = 0.02  # of an expression, likewise


def motion_plot(
    motion: AnyMotion,
    novelty: Sequence[tuple[int, float]],
    rate: float,
    threshold: float | None,
    keyframes: Sequence[int],
    size: tuple[int, int] = (1024, 640),
) -> NDArray[np.uint8]:
    """Yaw, pitch and roll above, motion novelty with its threshold and keyframes below: [H, W, 3] uint8.

    `novelty` is (frame, value) as in `NoveltyCurve.points`, `rate` frames per second, `keyframes` driving frames,
    `size` width and height in pixels; without a `threshold`, of a system without keyframes, the lower curve is the
    change of expression. Frames without a face are shaded. Raises InputError without a frame or rate.
    """
    if not len(motion):
        raise InputError("the motion has no frame to plot: extract it from at least one driving frame")
    if not rate > 0:
        raise InputError(f"the frame rate must be above 0 frames per second, got {rate}")
    width, height = size[0] * DETAIL, size[1] * DETAIL
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    # axes
    angles = motion.pose.angles.double().numpy()
    middle = TITLE + round((height - 2 * TITLE - FOOT) * UPPER_SHARE)
    last = max(len(motion) - 1, 1)
    turn = max(SMALLEST_TURN, float(np.abs(angles).max()))
    top = 1.15 * max([SMALLEST_CHANGE if threshold is None else max(threshold, 1.0), *(value for _, value in novelty)])
    upper = Axes(LEFT, TITLE, width - RIGHT, middle, last, -1.1 * turn, 1.1 * turn)
    lower = Axes(LEFT, middle + TITLE, width - RIGHT, height - FOOT, last, 0, top)
    missing = ~motion.valid.numpy()
    for panel in (upper, lower):
        draw_frame(draw, panel, missing, rate)
    # curves and legends
    for _, column, colour in POSE:
        draw_curve(draw, upper, np.stack([np.arange(len(motion)), angles[:, column]], 1), colour)
    draw_novelty(draw, lower, np.array(novelty, np.float64).reshape(-1, 2), threshold, keyframes)
    shading = [("no face", SHADE)] if missing.any() else []
    draw_head(draw, upper, "Head pose (degrees)", [*((name, colour) for name, _, colour in POSE), *shading])
    draw_time(draw, lower, rate)
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def draw_novelty(
    draw: ImageDraw.ImageDraw, panel: Axes, curve: Curve, threshold: float | None, keyframes: Sequence[int]
) -> None:
    """Draws the novelty curve with its head; if there is a threshold, it (dashed), and a diamond at each keyframe."""
    if threshold is None:
        draw_head(draw, panel, "Change of expression since the first face", [])
        draw_curve(draw, panel, curve, INK)
        return
    draw_head(draw, panel, "Motion novelty", [(f"threshold {threshold:g}", FAINT), ("keyframe", KEYFRAME)])
    dash, y = 8 * DETAIL, panel.y(threshold)
    for left in range(panel.left, panel.right, 2 * dash):
        draw.line((left, y, min(left + dash, panel.right), y), FAINT, 2 * DETAIL)
    draw_curve(draw, panel, curve, INK)
    values = {int(frame): value for frame, value in curve}
    for frame in keyframes:
        x, y = panel.x(frame), panel.y(values.get(frame, threshold))
        draw.line((x, y, x, panel.bottom), KEYFRAME, 2 * DETAIL)
        draw.regular_polygon((x, y, 7 * DETAIL), 4, 45, KEYFRAME)
