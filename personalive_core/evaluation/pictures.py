"""Pictures of an evaluation: one sheet per task, and a plot of the long stream's PSNR over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..drawn.sample import RATE
from ..media.chart import (
    BLUE,
    DETAIL,
    FOOT,
    LEFT,
    ORANGE,
    PAPER,
    RIGHT,
    TITLE,
    Axes,
    Curve,
    draw_curve,
    draw_frame,
    draw_head,
    draw_time,
    mosaic,
)
from .reenactment import Column
from .stability import Trace

COLUMNS = 8  # per sheet, at most
SPACE = 4  # pixels between pictures
AVERAGED = 25  # frames per running mean


def sheet(columns: Sequence[Column]) -> NDArray[np.uint8]:
    """One sheet [H, W, 3] with rows of references, driving frames, true frames and outputs."""
    return mosaic(list(zip(*(column.rows for column in columns[:COLUMNS]), strict=True)), SPACE)


def psnr_plot(trace: Trace, size: tuple[int, int] = (1024, 420)) -> NDArray[np.uint8]:
    """Plot [H, W, 3] of the running-mean PSNR against time: the stream, and the repeated reference as baseline."""
    curves = {"PersonaLive": running_mean(trace.psnr), "reference repeated": running_mean(trace.repeated)}
    values = np.concatenate([curve[:, 1] for curve in curves.values()])
    low, high = np.floor(values.min()) - 0.5, np.ceil(values.max()) + 0.5
    width, height = size[0] * DETAIL, size[1] * DETAIL
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    panel = Axes(LEFT, TITLE, width - RIGHT, height - FOOT, max(len(trace) - 1, 1), float(low), float(high))
    draw_frame(draw, panel, np.zeros(len(trace), bool), RATE)
    legend = list(zip(curves, (BLUE, ORANGE), strict=True))
    for name, colour in reversed(legend):
        draw_curve(draw, panel, curves[name], colour)
    draw_head(draw, panel, f"PSNR (dB), mean of {AVERAGED} frames", legend)
    draw_time(draw, panel, RATE)
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def running_mean(values: NDArray[np.float64]) -> Curve:
    """Centred running mean as rows (frame, mean) [N, 2]; only where the whole span fits."""
    span = min(AVERAGED, len(values))
    means = np.convolve(values, np.full(span, 1 / span), "valid")
    return np.stack([np.arange(len(means)) + (span - 1) / 2, means], 1)
