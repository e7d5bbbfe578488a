"""Draws hats, jewels and the patterns of clothes of the fine style."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .body import OnBody, body_frame
from .canvas import Ball, Canvas, FaceMotion, Points, curve, ellipse
from .face import WHITE, shade, source
from .finery import Finery
from .hair import VOLUME
from .head import Head, Identity, facing

BEANIE_TILT, ROUND_TOP, FLAT_TOP = 0.1, 2.2, 3.2  # how much lower a beanie is behind; `flat` of crowns
BRIM_OUT, BRIM_HEIGHT = 0.24, -0.27  # width of a brim; its height on the head
LOBE_ANGLE, LOBE_HEIGHT = 1.62, 0.115  # of an ear, around the head


def hat_thickness(head: Head) -> float:
    return min(VOLUME[head.who.style], 0.09) + 0.03


def visible_ring(head: Head, turned: float, height: float, out: float, tilt: float = 0.0) -> Points:
    """The half [21, 3] of a ring around the head that faces the viewer; the ring is lower behind by 2 `tilt`."""
    angles = turned + np.linspace(-np.pi / 2, np.pi / 2, 21)
    ring = head.around(angles, np.full(21, height), out)
    return ring + np.stack([0 * angles, tilt * (1 - np.cos(angles)), 0 * angles], 1)


def crown(head: Head, angles: NDArray[np.float64], low: float, tilt: float, flat: float) -> NDArray[np.float64]:
    """Lines [A, 9, 3] up a hat's crown at `angles` [A] around the head: from the ring at the height `low` to the top.

    The lower edge is lower behind by 2 `tilt`. The larger `flat` is, the flatter is the top.
    """
    out, share = hat_thickness(head), 1 - np.linspace(1, 0, 9)[None, :, None] ** 2
    foot = head.around(angles, np.full(len(angles), low), out)
    foot = (foot + np.stack([0 * angles, tilt * (1 - np.cos(angles)), 0 * angles], 1))[:, None]
    top = np.array([0.0, -0.57 - 1.15 * out, -0.08])
    wide = (1 - share**flat) ** (1 / flat) * np.array([1.0, 0.0, 1.0]) + (1 - share) * np.array([0.0, 1.0, 0.0])
    return np.asarray(top + (foot - top) * wide)


def draw_brim(canvas: Canvas, head: Head, fine: Finery, front: bool) -> None:
    """Draws the half of a brim that is in front of the head, or behind it."""
    turned = facing(canvas.view) + (0.0 if front else np.pi)
    out = hat_thickness(head)
    inner, outer = (visible_ring(head, turned, BRIM_HEIGHT, out + more, 0.0) for more in (-0.02, BRIM_OUT))
    outer = outer + np.array([0.0, 0.045, 0.0])
    canvas.fill(np.vstack([inner, outer[::-1]]), shade(fine.hat_colour, -0.18 if front else -0.4))
    canvas.line(outer, shade(fine.hat_colour, 0.12), 0.008)


def draw_hat(canvas: Canvas, head: Head, fine: Finery) -> None:
    """Draws the hat over the hair."""
    turned, colour = facing(canvas.view), fine.hat_colour
    if fine.hat == "band":
        out = hat_thickness(head) - 0.02
        upper, lower = (visible_ring(head, turned, height, out, 0.16) for height in (-0.46, -0.38))
        band = np.vstack([upper, lower[::-1]])
        canvas.fill(band, colour)
        canvas.line((0.7 * upper + 0.3 * lower), shade(colour, 0.3), 0.006)
        canvas.line(lower, shade(colour, -0.4), 0.005)
        return
    brimmed = fine.hat == "brimmed"
    low, tilt, flat = (BRIM_HEIGHT, 0.0, FLAT_TOP) if brimmed else (-0.25, BEANIE_TILT, ROUND_TOP)
    top = canvas.outline(crown(head, np.linspace(-np.pi, np.pi, 49), low, tilt, flat).reshape(-1, 3))
    rim = canvas.view.place(visible_ring(head, turned, low, hat_thickness(head), tilt))
    up = canvas.view.place(np.array([[0.0, -2.0, 0.0], [0.0, 0.0, 0.0]]))
    above = np.vstack([rim, rim[::-1][[0, -1]] + up[0] - up[1]])
    ball = Ball((0.0, -0.1, -0.06), (0.5, 0.62, 0.52))

    def felt(inner: Canvas) -> None:
        inner.fill(top, colour)
        inner.within(top, lambda shape: shape.light(top, ball, source(head.who), 1.0))
        if not brimmed:
            inner.within(top, lambda shape: draw_ribs(shape, head, fine, turned))

    canvas.within(above, felt)
    if brimmed:
        ribbon = [visible_ring(head, turned, height, hat_thickness(head) - 0.005) for height in (-0.28, -0.34)]
        canvas.fill(np.vstack([ribbon[0], ribbon[1][::-1]]), shade(colour, -0.55))
        draw_brim(canvas, head, fine, front=True)
        return
    thick = hat_thickness(head)
    fold = [visible_ring(head, turned, height, out, tilt) for height, out in ((-0.345, thick), (-0.245, thick - 0.012))]
    cuff = np.vstack([fold[0], fold[1][::-1]])
    canvas.soft(cuff + np.array([0, 0.02, 0]), (20, 14, 14), 0.35, 0.02)
    canvas.fill(cuff, shade(colour, 0.12))
    for a, b in zip(fold[0][::1], fold[1][::1], strict=True):
        canvas.line(np.stack([a, b]), shade(colour, -0.12), 0.006)
    canvas.line(fold[1], shade(colour, -0.35), 0.006)


def draw_ribs(canvas: Canvas, head: Head, fine: Finery, turned: float) -> None:
    """Draws the knitted ribs of a beanie."""
    ribs = crown(head, turned + np.linspace(-1.5, 1.5, 27), -0.26, BEANIE_TILT, ROUND_TOP)
    canvas.lines(ribs, [shade(fine.hat_colour, -0.2)] * len(ribs), 0.005)


def draw_earring(canvas: Canvas, head: Head, fine: Finery, side: int) -> None:
    """Draws an earring, which hangs straight down from the lobe."""
    lobe = head.around(np.array([LOBE_ANGLE * side]), np.array([LOBE_HEIGHT]), 0.005)
    at, size = canvas.view.place(lobe)[0], canvas.view.scale
    if fine.earrings == "hoop":
        ring = ellipse(at[0], at[1] + 0.05 * size, 0.035 * size, 0.05 * size)
        canvas.line(np.vstack([ring, ring[:1]]), shade(fine.metal, -0.25), 0.014)
        canvas.line(ring[14:28], shade(fine.metal, 0.4), 0.006)
        return
    canvas.fill(ellipse(at[0], at[1], 0.016 * size, 0.016 * size), fine.metal)
    if fine.earrings == "drop":
        canvas.line(np.stack([at, at + np.array([0, 0.05 * size])]), fine.metal, 0.006)
        canvas.fill(ellipse(at[0], at[1] + 0.075 * size, 0.018 * size, 0.028 * size), fine.second)
        canvas.fill(ellipse(at[0] - 0.006, at[1] + 0.066 * size, 0.005 * size, 0.008 * size), WHITE)
    canvas.fill(ellipse(at[0] - 0.005, at[1] - 0.005, 0.005 * size, 0.005 * size), WHITE)


def draw_necklace(canvas: Canvas, fine: Finery, motion: FaceMotion) -> None:
    """Draws a chain with a pendant around the foot of the neck."""
    base, scale = body_frame(motion)
    chain = base + scale * curve([(-0.2, -0.09), (-0.12, 0.02), (0.0, 0.075), (0.12, 0.02), (0.2, -0.09)])
    canvas.line(chain, shade(fine.metal, -0.3), 0.008)
    canvas.line(chain[::2], shade(fine.metal, 0.3), 0.003)
    x, y = base + scale * np.array([0.0, 0.1])
    canvas.fill(ellipse(x, y, 0.02 * scale, 0.025 * scale), fine.metal)
    canvas.fill(ellipse(x - 0.005, y - 0.007, 0.006 * scale, 0.007 * scale), WHITE)


def draw_weave(canvas: Canvas, who: Identity, fine: Finery, on_body: OnBody) -> None:
    """Draws the pattern of the clothes; `on_body` places points on the shoulders in the scene."""
    steps = np.linspace(-1, 1, 21)
    if fine.weave in ("stripes", "checks"):
        for y in np.arange(-0.08, 1.0, 0.11):
            canvas.line(on_body(np.stack([steps, y + 0.2 * steps**2], 1)), fine.second, 0.03)
    if fine.weave == "checks":
        for x in np.arange(-0.95, 1.0, 0.14):
            canvas.line(on_body(np.stack([x + 0 * steps, 0.5 + 0.7 * steps], 1)), shade(fine.second, -0.15), 0.014)
    if fine.weave == "dots":
        for row, y in enumerate(np.arange(-0.05, 1.0, 0.1)):
            for x in np.arange(-0.95, 1.0, 0.13) + 0.065 * (row % 2):
                canvas.fill(on_body(ellipse(x, y, 0.02, 0.02)), fine.second)
    if fine.weave == "knit":
        for x in np.arange(-0.95, 1.0, 0.045):
            zigzag = np.stack([x + 0.01 * np.cos(np.pi * np.arange(40)), np.linspace(-0.1, 0.9, 40)], 1)
            canvas.line(on_body(zigzag), shade(who.shirt, -0.28), 0.004)
