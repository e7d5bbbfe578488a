"""The One-Euro filter: less jitter at rest, little lag in motion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat

import torch
from torch import Tensor

from ..errors import InputError
from .types import AnyMotion, HeadPose, MotionT

ROUNDING = 0.001  # seconds: a container's clock may be this coarse, as in mkv, so that even steps differ by as much
POSE_BETA = 0.05  # Hz per (degree or pixel per second): lets fast motion pass


@dataclass(frozen=True)
class OneEuroOptions:
    """Parameters of the One-Euro filter (Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012).

    Lower `min_cutoff` if values jitter at rest; raise `beta` if they lag in motion. Both depend on the values' unit.
    Raises InputError unless rate and cutoffs are above 0 and beta is 0 or more.
    """

    rate: float = 25.0  # samples per second; the average where each sample has its own time step
    min_cutoff: float = 1.0  # Hz, the cutoff for a value at rest
    beta: float = 0.0  # Hz per (unit per second): how much the cutoff rises with the speed
    d_cutoff: float = 1.0  # Hz, the cutoff for the speed

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.min_cutoff > 0 and self.d_cutoff > 0 and self.beta >= 0):
            raise InputError(
                f"smoothing needs rate, min_cutoff and d_cutoff above 0 and beta of 0 or more, got {self}: correct it"
            )


def pose_smoothing(rate: float, cutoff: float | None) -> OneEuroOptions | None:
    """Options for head pose and box: `cutoff` in Hz at rest, fast motion passes; None without a cutoff."""
    return OneEuroOptions(rate, cutoff, POSE_BETA) if cutoff else None


@dataclass(frozen=True)
class OneEuroState:
    """The state of the filter between two samples."""

    value: Tensor  # any shape: the last filtered value
    speed: Tensor  # same shape: its filtered derivative, in units per second


def one_euro(state: OneEuroState | None, value: Tensor, options: OneEuroOptions) -> tuple[OneEuroState, Tensor]:
    """Filters one sample of any shape, element by element; without a state (first sample) it is returned unchanged.

    With sampling period T = 1 / rate and the factor alpha(f) = 1 / (1 + 1 / (2 pi f T)), the paper's equations are
        dx_i = alpha(d_cutoff) (x_i - x̂_{i-1}) / T + (1 - alpha(d_cutoff)) dx_{i-1},  dx_0 = 0
        f_i = min_cutoff + beta |dx_i|
        x̂_i = alpha(f_i) x_i + (1 - alpha(f_i)) x̂_{i-1}
    Unwrap angles first: the filter takes values as linear. Raises ValueError if the shape changes.
    """
    if state is None:
        return OneEuroState(value, torch.zeros_like(value)), value
    if value.shape != state.value.shape:
        raise ValueError(f"expected a sample of shape {list(state.value.shape)} as before, got {list(value.shape)}")
    step = value - state.value
    speed = state.speed + _alpha(options.d_cutoff, options.rate) * (step * options.rate - state.speed)
    filtered = state.value + _alpha(options.min_cutoff + options.beta * speed.abs(), options.rate) * step
    return OneEuroState(filtered, speed), filtered


def _alpha(cutoff: Tensor | float, rate: float) -> Tensor | float:
    """Weight of the new sample in a first-order low-pass filter; `cutoff` and `rate` in Hz."""
    return 1 / (1 + rate / (2 * math.pi * cutoff))


def smooth(
    motions: Iterable[MotionT], options: OneEuroOptions | None, times: Iterable[Fraction] | None = None
) -> Iterator[MotionT]:
    """Filters head pose and box frame by frame; frames without a face pass unchanged and do not change the filter.

    `times` are those of the frames in seconds, each taken after its frame's motion; None: evenly spaced. Keypoints are
    not filtered: retargeting computes them from the smoothed pose.
    """
    if options is None:
        yield from motions
        return
    state: OneEuroState | None = None
    paces = repeat(options) if times is None else at_their_steps(options, times)
    for motion in motions:
        rows, smoothed = _rows(motion), []
        for row, valid in zip(rows, motion.valid, strict=True):
            pace = next(paces)
            if bool(valid):
                state, row = one_euro(state, row, pace)  # noqa: PLW2901 - the filtered row takes its place
            smoothed.append(row)
        yield _with_rows(motion, torch.stack(smoothed))


def smooth_next(
    state: OneEuroState | None, motion: MotionT, options: OneEuroOptions
) -> tuple[OneEuroState | None, MotionT]:
    """The next frame [1] of `smooth`, and the filter's state after it; the options' rate is that of its time step."""
    if not bool(motion.valid):
        return state, motion
    state, row = one_euro(state, _rows(motion), options)
    return state, _with_rows(motion, row)


def _rows(motion: AnyMotion) -> Tensor:
    """What is filtered of F frames: [F, 11]."""
    return torch.cat([motion.pose.angles, motion.pose.translation, motion.pose.scale, motion.box], 1)


def _with_rows(motion: MotionT, rows: Tensor) -> MotionT:
    angles, translation, scale, box = rows.tensor_split((3, 6, 7), 1)
    return motion.changed(pose=HeadPose(angles, translation, scale), box=box)


def at_their_steps(options: OneEuroOptions, times: Iterable[Fraction]) -> Iterator[OneEuroOptions]:
    """The options for each frame: their rate is that of the frame's own time step, in seconds since the one before.

    Steps that are even but for the rounding of their clock keep the rate, to the same bits as without times. Raises
    InputError for times that do not rise.
    """
    last: Fraction | None = None
    for time in times:
        step = None if last is None else float(time - last)
        is_even = step is None or abs(step - 1 / options.rate) <= ROUNDING
        if not is_even and last is not None and time <= last:
            raise InputError(
                f"smoothing needs frames at rising times, got one at {float(time):g} s after one at {float(last):g} s: "
                "correct the times, or leave smoothing out"
            )
        yield options if is_even or step is None else replace(options, rate=1 / step)
        last = time
