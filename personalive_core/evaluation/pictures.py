"""What an evaluation shows to the eye: sheets of both tasks, and the long stream's PSNR over time."""

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

COLUMNS = 8  # of a sheet, at most
SPACE = 4  # pixels between pictures
AVERAGED = 25  # frames of a running mean


def sheet(columns: Sequence[Column]) -> NDArray[np.uint8]:
    """Rows of references, driving frames, true frames and outputs: [H, W, 3]."""
    return mosaic(list(zip(*(column.rows for column in columns[:COLUMNS]), strict=True)), SPACE)


def psnr_plot(trace: Trace, size: tuple[int, int] = (1024, 420)) -> NDArray[np.uint8]:
    """PSNR of the stream and of the reference repeated, as running means, over the seconds: [H, W, 3]."""
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
    """(frame, mean of the frames around it) for each frame that has enough of them."""
    span = min(AVERAGED, len(values))
    means = np.convolve(values, np.full(span, 1 / span), "valid")
    return np.stack([np.arange(len(means)) + (span - 1) / 2, means], 1)
