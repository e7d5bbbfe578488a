"""Draws sharp and soft shapes on a picture, or on a head that turns before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Points = NDArray[np.float64]  # [N, 2] in half pictures, x right, y down; [N, 3] in head units, z towards the viewer

SOFTNESS_SIDE = 256  # blurred shapes are computed on a canvas reduced to about this many pixels
HEAD_CENTRE = np.array([0.0, -0.1])


@dataclass(frozen=True)
class FaceMotion:
    """How the head is held and what the face does; all zero is a calm look into the camera."""

    yaw: float = 0.0  # degrees, positive turns to the picture's right
    pitch: float = 0.0  # degrees, positive looks down
    roll: float = 0.0  # degrees, positive tilts to the picture's right
    shift: tuple[float, float] = (0.0, 0.0)  # of the head, in half pictures
    scale: float = 1.0  # of the head
    mouth: float = 0.0  # 0 closed .. 1 wide open
    smile: float = 0.0  # -1 rounded lips .. 1 wide smile
    blink: float = 0.0  # 0 eyes open .. 1 closed
    brow: float = 0.0  # -1 lowered .. 1 raised
    gaze: float = 0.0  # -1 to the picture's left .. 1 to its right


@dataclass(frozen=True)
class Canvas:
    """A square picture to draw on, and the head's motion that places points of the head on it."""

    image: Image.Image
    motion: FaceMotion

    def place(self, points: Points) -> Points:
        """Head points [N, 3] turned, tilted and moved: [N, 2] in half pictures."""
        yaw, pitch, roll = np.radians([self.motion.yaw, self.motion.pitch, self.motion.roll])
        x, y, z = points.T
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y = y * np.cos(pitch) + z * np.sin(pitch)
        turned = np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)], 1)
        placed: Points = turned * self.motion.scale + HEAD_CENTRE + np.array(self.motion.shift)
        return placed

    def pixels(self, points: Points) -> list[tuple[float, float]]:
        """Where `points` ([N, 2], or [N, 3] of the head) lie, in pixels of the canvas."""
        flat = self.place(points) if points.shape[1] == len("xyz") else points
        return [(float(x), float(y)) for x, y in (flat + 1) * self.image.width / 2]

    def fill(self, points: Points, colour: Colour) -> None:
        ImageDraw.Draw(self.image).polygon(self.pixels(points), fill=colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """An open stroke, `width` in half pictures."""
        pixels = max(1, round(width * self.image.width / 2))
        ImageDraw.Draw(self.image).line(self.pixels(points), fill=colour, width=pixels, joint="curve")

    def soft(self, points: Points, colour: Colour, opacity: float, blur: float) -> None:
        """A filled shape with edges blurred over `blur` half pictures."""
        grid = max(1, self.image.width // SOFTNESS_SIDE)
        sigma = blur * self.image.width / 2
        left, top, right, bottom = (grid * round(edge / grid) for edge in self.extent(points, 3 * sigma))
        if right <= left or bottom <= top:
            return
        mask = Image.new("L", ((right - left) // grid, (bottom - top) // grid))
        shape = [((x - left) / grid, (y - top) / grid) for x, y in self.pixels(points)]
        ImageDraw.Draw(mask).polygon(shape, fill=round(255 * opacity))
        mask = mask.filter(ImageFilter.GaussianBlur(sigma / grid))
        mask = mask.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        self.image.paste(colour, (left, top, right, bottom), mask)

    def within(self, points: Points, draw: Callable[[Canvas], None]) -> None:
        """Whatever `draw` draws, kept inside the shape `points`."""
        inner = Canvas(self.image.copy(), self.motion)
        draw(inner)
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self.pixels(points), fill=255)
        box = self.extent(points, 1)
        self.image.paste(inner.image.crop(box), box, mask.crop(box))

    def extent(self, points: Points, margin: float) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what holds `points` with `margin` pixels around, within the canvas."""
        spots, side = np.array(self.pixels(points)), self.image.width
        left, top = (spots.min(0) - margin).clip(0, side)
        right, bottom = np.ceil(spots.max(0) + margin).clip(0, side)
        return int(left), int(top), int(right), int(bottom)


def curve(points: list[tuple[float, float]], closed: bool = False, steps: int = 12) -> Points:
    """A smooth line through `points` (Catmull-Rom): [N, 2]."""
    knots = np.array(points)
    around = np.vstack([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False):
        pieces.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.vstack([*pieces, knots[-1:]])


def evenly(line: Points, count: int = 40) -> Points:
    """`count` points at equal steps along `line`."""
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    steps = np.linspace(0, along[-1], count)
    return np.stack([np.interp(steps, along, line[:, axis]) for axis in (0, 1)], 1)


def mirrored(half: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The whole outline of a symmetric shape from its right half, given from top to bottom."""
    return half + [(-x, y) for x, y in reversed(half) if x]


def ellipse(x: float, y: float, across: float, down: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 48)
    return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], 1)


def at_depth(points: Points, depth: float) -> Points:
    """Points [N, 2] in a plane of the head: [N, 3]."""
    return np.column_stack([points, np.full(len(points), depth)])
