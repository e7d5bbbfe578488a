"""Random motion of a head that looks around and speaks: smooth walks, syllables, blinks, glances and gestures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .canvas import FaceMotion

Values = NDArray[np.float64]

KNOT_SECONDS, MEMORY_SECONDS = 0.4, 1.2  # time between a walk's knots; time constant of its autocorrelation
# Standard deviation and hard limit of each walk: angles in degrees, x and y in units of the scene
WALKS = {"yaw": (14.0, 35.0), "pitch": (8.0, 25.0), "roll": (8.0, 25.0), "x": (0.06, 0.15), "y": (0.045, 0.15)}
SCALE_WALK = (0.05, 0.2)
FARTHEST = 50.0  # degrees, largest yaw of a journey


def random_motion(rng: np.random.Generator, frames: int, rate: float = 25.0) -> tuple[FaceMotion, ...]:
    """Motion of `frames` frames at `rate` a second; with an equal `rng`, a longer film begins with the shorter one."""
    times = np.arange(frames) / rate
    walkers = rng.spawn(len(WALKS) + 1)
    yaw, pitch, roll, x, y = (walk(r, times, *limits) for r, limits in zip(walkers, WALKS.values(), strict=False))
    scale = 1 + walk(walkers[-1], times, *SCALE_WALK)
    speech, smile, brow, blink, gaze, odd = rng.spawn(6)
    spoken = eased(times, *syllables(speech, duration(times)))
    smiles = eased(times, *gestures(smile, duration(times), (2.5, 0.5, 1.2), smiling))
    brows = eased(times, *gestures(brow, duration(times), (2.0, 0.25, 0.6), brow_raising))
    blinks = eased(times, *gestures(blink, duration(times), (2.6, 0.09, 0.04), blinking))
    looks = eased(times, *glances(gaze, duration(times)))
    odds = eased(times, *gestures(odd, duration(times), (4.0, 0.3, 0.5), grimace))
    mouth = spoken + np.column_stack([0 * times, smiles, odds[:, :2]])
    low, high = np.array([0.0, -1.0, 0.0, -1.0]), np.ones(4)
    columns = [yaw, pitch, roll, x, y, scale, *np.clip(mouth, low, high).T, *blinks.T, *brows.T, *looks.T, odds[:, 2]]
    return tuple(face_motion([float(value) for value in row]) for row in np.stack(columns, 1))


def journey(rng: np.random.Generator, frames: int, rate: float = 25.0) -> tuple[FaceMotion, ...]:
    """Motion of a longer film: as `random_motion`, and besides large turns, nearing, leaving the picture and return.

    With an equal `rng`, a longer film begins with the shorter one.
    """
    calm, turns, near, away = rng.spawn(4)
    times = np.arange(frames) / rate
    turn = eased(times, *gestures(turns, duration(times), (2.5, 0.7, 1.2), turning))
    nearer = eased(times, *gestures(near, duration(times), (6.0, 1.0, 1.5), nearing))[:, 0]
    gone = eased(times, *gestures(away, duration(times), (9.0, 0.9, 0.8), leaving))
    films = zip(random_motion(calm, frames, rate), turn, nearer, gone, strict=True)
    return tuple(
        replace(
            one,
            yaw=float(np.clip(one.yaw + yaw, -FARTHEST, FARTHEST)),
            pitch=float(one.pitch + pitch),
            scale=float(one.scale + closer),
            shift=(float(one.shift[0] + x), float(one.shift[1] + y)),
        )
        for one, (yaw, pitch), closer, (x, y) in films
    )


def turning(rng: np.random.Generator) -> list[float]:
    """Yaw and pitch of a large turn, in degrees."""
    return [float(rng.choice((-1, 1)) * rng.uniform(20, FARTHEST)), float(rng.uniform(-14, 14))]


def nearing(rng: np.random.Generator) -> list[float]:
    return [float(rng.uniform(-0.18, 0.28))]


def leaving(rng: np.random.Generator) -> list[float]:
    """A way out of the picture, mostly to a side, seldom downwards; in units of the scene."""
    if likely(rng, 0.2):
        return [float(rng.uniform(-0.2, 0.2)), float(rng.uniform(1.2, 1.6))]
    return [float(rng.choice((-1, 1)) * rng.uniform(0.9, 1.8)), float(rng.uniform(-0.1, 0.1))]


def face_motion(row: list[float]) -> FaceMotion:
    yaw, pitch, roll, x, y, scale, mouth, smile, pucker, jaw, *eyes, cheek = row
    blink, brow, gaze = (eyes[0], eyes[1]), (eyes[2], eyes[3]), (eyes[4], eyes[5])
    return FaceMotion(yaw, pitch, roll, (x, y), scale, mouth, smile, pucker, jaw, blink, brow, gaze, cheek)


def duration(times: Values) -> float:
    return float(times[-1]) if len(times) else 0.0


def walk(rng: np.random.Generator, times: Values, spread: float, limit: float) -> Values:
    """A smooth random walk [F] around 0 with standard deviation `spread`, always within `limit`."""
    knots = int(duration(times) / KNOT_SECONDS) + 4
    keep = np.exp(-KNOT_SECONDS / MEMORY_SECONDS)
    steps = rng.normal(size=knots)
    values = [steps[0]]
    for step in steps[1:]:
        values.append(keep * values[-1] + np.sqrt(1 - keep**2) * step)
    place = times / KNOT_SECONDS
    first = place.astype(int)
    t = place - first
    a, b, c, d = (np.array(values)[first + i] for i in range(4))
    smooth = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(limit * np.tanh(1.12 * smooth * spread / limit))


def eased(times: Values, knots: Values, values: Values) -> Values:
    """Interpolates values [K, D] at rising knots [K] without overshoot, constant beyond both ends: [F, D]."""
    last = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(knots) - 2)
    t = np.clip((times - knots[last]) / np.maximum(knots[last + 1] - knots[last], 1e-9), 0, 1)[:, None]
    return np.asarray(values[last] + (values[last + 1] - values[last]) * t * t * (3 - 2 * t))


def syllables(rng: np.random.Generator, seconds: float) -> tuple[Values, Values]:
    """Knots of speech: times [K] and mouth, smile, pucker, jaw [K, 4]; phrases of syllables with pauses between."""
    now = float(rng.uniform(0, 0.6))
    times, shapes = [0.0, now], [np.zeros(4), np.zeros(4)]
    while now <= seconds:
        loudness = rng.uniform(0.5, 1.0)
        for _ in range(int(rng.integers(3, 14))):
            pucker = rng.uniform(0.3, 1.0) if likely(rng, 0.3) else 0.0
            mouth = loudness * rng.uniform(0.15, 1.0) * (1 - 0.5 * pucker)
            shape = np.array([mouth, rng.uniform(-0.3, 0.4), pucker, rng.normal(0, 0.12)])
            times += [now + 0.09, now + rng.uniform(0.16, 0.26)]
            shapes += [shape, shape * rng.uniform(0, 0.45)]
            now = times[-1]
        now += 0.12
        times.append(now)
        shapes.append(np.zeros(4))
        now += float(rng.exponential(0.7)) + 0.15
        times.append(now)
        shapes.append(np.zeros(4))
    return np.array(times), np.array(shapes)


def gestures(
    rng: np.random.Generator,
    seconds: float,
    pace: tuple[float, float, float],
    shape: Callable[[np.random.Generator], list[float]],
) -> tuple[Values, Values]:
    """Knots of an occasional gesture: times [K] and values [K, D]; `pace` is its mean gap, rise and hold in seconds."""
    gap, rise, hold = pace
    rest = np.zeros(len(shape(np.random.default_rng(0))))
    now, times, values = 0.0, [0.0], [rest]
    while now <= seconds:
        start = now + 0.2 + rng.exponential(gap)
        done = np.array(shape(rng))
        top = start + rise * rng.uniform(0.8, 1.3)
        end = top + hold * rng.uniform(0.5, 2.0)
        now = end + rise * rng.uniform(1.0, 1.6)
        times += [start, top, end, now]
        values += [rest, done, done, rest]
    return np.array(times), np.array(values)


def likely(rng: np.random.Generator, share: float) -> bool:
    """True with probability `share`."""
    return bool(rng.random() < share)


def smiling(rng: np.random.Generator) -> list[float]:
    return [rng.uniform(0.3, 1.0) if likely(rng, 0.7) else rng.uniform(-1.0, -0.3)]


def brow_raising(rng: np.random.Generator) -> list[float]:
    """Left and right brow, -1 .. 1: mostly both move, sometimes only one."""
    level = rng.uniform(0.3, 1.0) * (1 if likely(rng, 0.65) else -1)
    left, right = rng.choice(((1, 1), (1, 1), (1, 1), (1, 0.1), (0.1, 1)))
    return [float(np.clip(level * left + rng.normal(0, 0.06), -1, 1)), float(np.clip(level * right, -1, 1))]


def blinking(rng: np.random.Generator) -> list[float]:
    """Left and right eye, 0 or 1: mostly both close, seldom only one (a wink)."""
    if not likely(rng, 0.1):
        return [1.0, 1.0]
    return [0.0, 1.0] if likely(rng, 0.5) else [1.0, 0.0]


def grimace(rng: np.random.Generator) -> list[float]:
    """Pucker, jaw and cheek: one of them moves, the other two are 0."""
    done = [0.0, 0.0, 0.0]
    done[int(rng.integers(3))] = rng.uniform(0.4, 1.0)
    return [done[0], done[1] * rng.choice((-1, 1)), done[2]]


def glances(rng: np.random.Generator, seconds: float) -> tuple[Values, Values]:
    """Knots of the gaze: times [K] and gaze [K, 2]; it rests, then moves quickly, often back to the viewer."""
    now, times, values = 0.0, [0.0], [np.zeros(2)]
    while now <= seconds:
        aim = np.zeros(2) if likely(rng, 0.35) else np.clip(rng.normal(0, (0.5, 0.35)), -1, 1)
        start = now + rng.uniform(0.3, 1.8)
        now = start + 0.06
        times += [start, now]
        values += [values[-1], aim]
    return np.array(times), np.array(values)
