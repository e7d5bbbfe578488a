"""Other styles to draw the same person in: ink on paper, and label maps that give the region of each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..media.chart import Colour
from ..media.picture import Picture
from .canvas import AIM, SUBPIXEL_BITS, Ball, Canvas, Points, fixed

DRAWING_PAPER, DRAWING_INK = (246, 241, 230), (38, 34, 44)
INK_WIDTH = 0.011  # of an outline, in units of the scene
TINT, DETAIL_TINT = 0.3, 0.75  # share of its colour that a shape keeps in an ink drawing; for brows and beard
HATCH_GAP, HATCH_FROM = 0.03, 0.35  # units of the scene between hatching lines; least opacity of hatched shadows
REGIONS = ("skin", "hair", "clothes", "background")  # label n is the n-th of these, label 0 everything else
BRIGHT = 384  # sum of a colour's channels above which it is light, not shadow


class LineCanvas(Canvas):
    """Ink outlines and pale tints; shadows are hatched."""

    def lines(self, points: NDArray[np.float64], colours: Sequence[Colour], width: float) -> None:
        for line, colour in zip(points, colours, strict=True):
            self.line(line, colour, width)

    def fill(self, points: Points, colour: Colour) -> None:
        super().fill(points, tinted(colour))
        super().line(np.vstack([points, points[:1]]), DRAWING_INK, INK_WIDTH)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        ink = DRAWING_INK if sum(colour) < BRIGHT or self.part != "details" else tinted(colour)
        super().line(points, ink, max(0.6 * INK_WIDTH, 0.6 * width))

    def soft(self, points: Points, colour: Colour, opacity: float, blur: float) -> None:  # noqa: ARG002 - as in Canvas
        if self.part == "details":
            super().fill(points, tinted(colour, DETAIL_TINT))
        elif opacity >= HATCH_FROM and sum(colour) < BRIGHT:
            self.within(points, lambda inner: hatch(inner, points))

    def light(self, points: Points, ball: Ball, source: tuple[float, float, float], contrast: float) -> None:
        """Does nothing: an ink drawing has no light and shade."""


def hatch(canvas: Canvas, points: Points) -> None:
    """Draws thin slanting lines over the bounding box of `points`."""
    spots = (canvas.pixels(points) + 0.5 - len(canvas.image) / 2) / canvas.unit + AIM
    (left, top), (right, bottom) = spots.min(0), spots.max(0)
    tall = bottom - top
    for x in np.arange(np.floor((left - tall) / HATCH_GAP) * HATCH_GAP, right, HATCH_GAP):
        Canvas.line(canvas, np.array([[x, bottom], [x + tall, top]]), (120, 112, 116), 0.004)


def tinted(colour: Colour, tint: float = TINT) -> Colour:
    red, green, blue = (
        round((1 - tint) * paper + tint * value) for paper, value in zip(DRAWING_PAPER, colour, strict=True)
    )
    return red, green, blue


class LabelCanvas(Canvas):
    """Draws each shape in one grey value: the label of its part (see REGIONS). Light and shade are left out."""

    def fill(self, points: Points, colour: Colour) -> None:  # noqa: ARG002 - as in Canvas
        import cv2

        cv2.fillPoly(self.image, [fixed(self.pixels(points))], label(self.part), cv2.LINE_8, SUBPIXEL_BITS)

    def line(self, points: Points, colour: Colour, width: float) -> None:  # noqa: ARG002 - as in Canvas
        import cv2

        if self.part == "details":
            thick = max(1, round(width * self.unit))
            cv2.polylines(self.image, [fixed(self.pixels(points))], False, label(""), thick, cv2.LINE_8, SUBPIXEL_BITS)

    def lines(self, points: NDArray[np.float64], colours: Sequence[Colour], width: float) -> None:
        for line, colour in zip(points, colours, strict=True) if self.part == "details" else ():
            self.line(line, colour, width)

    def soft(self, points: Points, colour: Colour, opacity: float, blur: float) -> None:  # noqa: ARG002 - as in Canvas
        if self.part == "details":
            self.fill(points, colour)

    def within(self, points: Points, draw: Callable[[Canvas], None]) -> None:
        import cv2

        before = self.image.copy()
        draw(self)
        mask = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed(self.pixels(points))], 255, cv2.LINE_8, SUBPIXEL_BITS)
        np.copyto(self.image, before, where=mask[..., None] == 0)

    def light(self, points: Points, ball: Ball, source: tuple[float, float, float], contrast: float) -> None:
        """Does nothing: a label map has no light and shade."""


def label(part: str) -> Colour:
    number = REGIONS.index(part) + 1 if part in REGIONS else 0
    return number, number, number


def paper(side: int) -> Picture:
    return np.full((side, side, 3), DRAWING_PAPER, np.uint8)


def unlabelled(side: int) -> Picture:
    return np.full((side, side, 3), label("background"), np.uint8)
