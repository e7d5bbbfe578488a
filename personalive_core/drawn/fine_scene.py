"""Backgrounds of the fine style, out of focus behind the person, and the light that lies over the whole picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..media.chart import Colour
from ..media.picture import Picture
from .body import backdrop
from .face import mixed, shade
from .finery import finery, pleasant
from .head import Identity
from .motion import likely

Shape = Callable[[Picture, np.random.Generator, Identity], None]

FOCUS = 0.007  # sigma of the background's blur, in picture sides
LIGHT_SIDE = 48  # samples a side of the light over the picture, before it is enlarged
WARM, COOL = np.array([1.06, 1.0, 0.9]), np.array([0.93, 1.0, 1.08])


@lru_cache(maxsize=8)  # all frames of a clip share one background
def scene(who: Identity, side: int) -> Picture:
    """The background [side, side, 3] of the fine style, read-only."""
    import cv2

    kind, rng = finery(who).scene, np.random.default_rng((4, who.pattern))
    picture = backdrop(who, side).copy()
    if kind != "own":
        SCENERY[kind](picture, rng, who)
        sigma = FOCUS * side * rng.uniform(0.5, 1.6)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=8)
def light_over(who: Identity, side: int) -> NDArray[np.float32]:
    """Factors [side, side, 3] of the light: warmer and brighter from its side, darker in the corners; read-only."""
    import cv2

    fine = finery(who)
    y, x = np.mgrid[-1 : 1 : LIGHT_SIDE * 1j, -1 : 1 : LIGHT_SIDE * 1j]
    towards = 0.5 + 0.5 * np.tanh(1.1 * (who.light * x - 0.5 * y))
    tint = WARM if fine.warmth > 0 else COOL
    coloured = 1 + abs(fine.warmth) * towards[..., None] * (tint - 1)
    bright = 1 + 0.22 * fine.contrast * (towards - 0.55)
    corners = 1 - 0.16 * fine.contrast * np.clip(np.hypot(x, y) - 0.75, 0, 1)
    factors = (coloured * (bright * corners)[..., None]).astype(np.float32)
    enlarged = np.asarray(cv2.resize(factors, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    enlarged.setflags(write=False)
    return enlarged


def rectangle(picture: Picture, corners: tuple[float, float, float, float], colour: Colour) -> None:
    """Fills left, top, right, bottom (shares of the side) of `picture` with a colour."""
    side = len(picture)
    left, top, right, bottom = (round(side * edge) for edge in corners)
    picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = colour


def blot(picture: Picture, place: tuple[float, float], radii: tuple[float, float], colour: Colour, turn: float) -> None:
    """Fills an ellipse around `place`, turned by degrees; places and radii are shares of the side."""
    import cv2

    side = len(picture)
    centre, axes = (round(side * v) for v in place), (max(1, round(side * v)) for v in radii)
    cv2.ellipse(picture, (*centre,), (*axes,), turn, 0, 360, colour, -1, cv2.LINE_AA)


def shelf(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """Books on shelves."""
    wood = mixed((112, 78, 52), who.backdrop, 0.35)
    picture[:] = shade(wood, -0.55)
    rows = int(rng.integers(3, 5))
    for row in range(rows):
        top, bottom, x = row / rows, (row + 1) / rows, 0.0
        while x < 1:
            wide, tall = rng.uniform(0.018, 0.05), rng.uniform(0.55, 0.88) / rows
            if likely(rng, 0.9):
                colour = mixed(pleasant(rng), who.backdrop, 0.25)
                rectangle(picture, (x, bottom - 0.02 - tall, x + wide - 0.004, bottom - 0.02), colour)
                rectangle(
                    picture, (x + 0.3 * wide, bottom - 0.02 - tall, x + 0.45 * wide, bottom - 0.02), shade(colour, 0.2)
                )
                rectangle(picture, (x, bottom - 0.02 - 0.8 * tall, x + wide - 0.004, bottom - 0.012 - 0.8 * tall), wood)
            x += wide
        rectangle(picture, (0, bottom - 0.025, 1, bottom), wood)
        rectangle(picture, (0, top, 1, top + 0.012), shade(wood, -0.7))


def bricks(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """A wall of bricks."""
    wall = mixed((168, 92, 70), who.backdrop, 0.45)
    picture[:] = mixed(shade(wall, 0.5), (170, 165, 158), 0.4)
    tall, wide = 0.062, 0.15
    for row in range(18):
        for column in range(-1, 8):
            left = column * wide + (row % 2) * wide / 2
            colour = shade(wall, float(rng.uniform(-0.3, 0.14)))
            rectangle(picture, (left, row * tall, left + wide - 0.009, (row + 1) * tall - 0.009), colour)


def city(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """Houses with lit windows, at dusk or by day."""
    day = likely(rng, 0.5)
    top, foot = ((120, 170, 220), (225, 232, 236)) if day else ((22, 26, 58), (196, 112, 96))
    fade = np.linspace(0, 1, len(picture))[:, None, None]
    sky = (1 - fade) * np.array(mixed(top, who.backdrop, 0.2)) + fade * np.array(foot)
    picture[:] = np.broadcast_to(sky, picture.shape).astype(np.uint8)
    for depth in (0.55, 0.0):
        x = -0.05
        while x < 1:
            wide, high = rng.uniform(0.09, 0.2), rng.uniform(0.25, 0.6) + 0.12 * depth
            wall = mixed(mixed((96, 100, 116), pleasant(rng), 0.3), foot, depth)
            wall = wall if day else shade(wall, -0.55)
            rectangle(picture, (x, 1 - high, x + wide, 1), wall)
            for row in np.arange(1 - high + 0.03, 1, 0.05):
                for column in np.arange(x + 0.014, x + wide - 0.02, 0.034):
                    lit = likely(rng, 0.25 if day else 0.5)
                    glass = (246, 214, 138) if lit and not day else shade(wall, 0.25 if lit else -0.25)
                    rectangle(picture, (column, row, column + 0.018, row + 0.026), glass)
            x += wide + rng.uniform(0.0, 0.03)


def leaves(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """Foliage with patches of sky."""
    green = mixed((62, 112, 58), who.backdrop, 0.3)
    picture[:] = shade(green, -0.45)
    for size, light, count in ((0.07, -0.3, 130), (0.05, 0.0, 160), (0.035, 0.25, 120)):
        for _ in range(count):
            colour = shade(mixed(green, pleasant(rng), 0.12), light + float(rng.uniform(-0.15, 0.15)))
            long = size * rng.uniform(0.6, 1.3)
            x, y = (float(n) for n in rng.uniform(-0.05, 1.05, 2))
            blot(picture, (x, y), (long, 0.4 * long), colour, float(rng.uniform(0, 180)))
    for _ in range(40):
        x, y = (float(n) for n in rng.uniform(0, 1, 2))
        blot(picture, (x, 0.75 * y), (0.012, 0.012), (238, 244, 226), 0.0)


def frames(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """Pictures on a papered wall."""
    paper = picture[len(picture) // 3, len(picture) // 3].tolist()
    tone = (int(paper[0]), int(paper[1]), int(paper[2]))
    for x in np.arange(0.0, 1.0, 0.08):
        rectangle(picture, (x, 0, x + 0.03, 1), shade(tone, 0.09))
    for _ in range(4):
        left, top = (float(n) for n in rng.uniform(-0.1, 0.85, 2))
        wide, tall = (float(n) for n in rng.uniform(0.16, 0.34, 2))
        rectangle(picture, (left + 0.012, top + 0.016, left + wide + 0.012, top + tall + 0.016), shade(tone, -0.35))
        rectangle(picture, (left, top, left + wide, top + tall), mixed((70, 48, 34), pleasant(rng), 0.4))
        rectangle(picture, (left + 0.015, top + 0.015, left + wide - 0.015, top + tall - 0.015), (236, 232, 224))
        inner = (left + 0.04, top + 0.04, left + wide - 0.04, top + tall - 0.04)
        rectangle(picture, inner, mixed(pleasant(rng), who.backdrop, 0.2))
        rectangle(picture, (inner[0], (inner[1] + inner[3]) / 2, inner[2], inner[3]), pleasant(rng))


def hills(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """Hills under a sky with clouds."""
    import cv2

    side, fade = len(picture), np.linspace(0, 1, len(picture))[:, None, None]
    top, foot = mixed((86, 138, 200), who.backdrop, 0.25), (242, 222, 196)
    picture[:] = np.broadcast_to((1 - fade) * np.array(top) + fade * np.array(foot), picture.shape).astype(np.uint8)
    for _ in range(14):
        x, y = float(rng.uniform(0, 1)), float(rng.uniform(0.02, 0.35))
        blot(picture, (x, y), (float(rng.uniform(0.06, 0.16)), 0.022), (244, 244, 246), 0.0)
    ground = mixed((70, 104, 72), pleasant(rng), 0.3)
    across = np.linspace(0, side, 40)
    for layer, depth in enumerate((0.65, 0.35, 0.0)):
        phase, pace = rng.uniform(0, 6, 2), rng.uniform(3, 9, 2)
        waves = np.sin(pace[0] * across / side + phase[0]) + 0.5 * np.sin(2 * pace[1] * across / side + phase[1])
        height = side * (0.5 + 0.14 * layer - 0.05 * waves)
        shape = np.vstack([np.stack([across, height], 1), [[side, side], [0, side]]]).astype(np.int32)
        cv2.fillPoly(picture, [shape], mixed(shade(ground, -0.12 * layer), foot, 0.75 * depth), cv2.LINE_AA)


def room(picture: Picture, rng: np.random.Generator, who: Identity) -> None:
    """A room with a window, a lamp and a plant."""
    wall = mixed(who.backdrop, (214, 204, 190), 0.4)
    picture[:] = shade(wall, -0.1)
    rectangle(picture, (0, 0.78, 1, 1), shade(mixed(wall, (120, 86, 60), 0.6), -0.2))
    left, sky = float(rng.uniform(-0.1, 0.55)), mixed((206, 226, 240), pleasant(rng), 0.15)
    rectangle(picture, (left - 0.02, 0.06, left + 0.42, 0.62), (238, 236, 230))
    for column in (0, 1):
        for row in (0, 1):
            x, y = left + 0.205 * column, 0.085 + 0.26 * row
            rectangle(picture, (x, y, x + 0.19, y + 0.245), shade(sky, 0.1 * (1 - row)))
    curtain = pleasant(rng)
    for number, x in enumerate(np.arange(left - 0.1, left, 0.02)):
        rectangle(picture, (x, 0.03, x + 0.02, 0.8), shade(curtain, 0.16 if number % 2 else -0.1))
    lamp = left + 0.62
    blot(picture, (lamp, 0.4), (0.2, 0.2), shade(wall, 0.25), 0.0)
    rectangle(picture, (lamp - 0.006, 0.42, lamp + 0.006, 0.8), (60, 52, 46))
    rectangle(picture, (lamp - 0.08, 0.3, lamp + 0.08, 0.44), (250, 226, 170))
    for turn in rng.uniform(0, 180, 16):
        place = (left - 0.22 + float(rng.uniform(-0.08, 0.08)), 0.66 + float(rng.uniform(-0.1, 0.1)))
        blot(picture, place, (0.07, 0.02), shade((64, 116, 70), float(rng.uniform(-0.3, 0.2))), float(turn))


SCENERY: dict[str, Shape] = {
    "shelf": shelf, "bricks": bricks, "city": city, "leaves": leaves, "frames": frames, "hills": hills, "room": room,
}  # fmt: skip
