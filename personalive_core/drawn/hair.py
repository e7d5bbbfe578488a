"""Draws a head's hair: the mass behind the neck, and the strands in front of the forehead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import Ball, Canvas, Points, at_depth, curve
from .face import shade, source
from .head import Head, Identity, facing, ring_points, unhidden

VOLUME = {"long": 0.075, "bob": 0.08, "short": 0.062, "curly": 0.15, "bun": 0.03, "bald": 0.0, "fringe": 0.075}
COVERED_EARS = ("long", "bob", "curly", "fringe")
SKULL_HEIGHT, SKULL_RADIUS = -0.1, 0.4  # middle and mean radius of the skull
CAP = Ball((0.0, -0.1, -0.08), (0.46, 0.52, 0.5))
SIDEBURN = 0.05  # height at which the drawn edge of the hairline ends
STRAND_SEEN = 1.35  # radians from the viewer's direction beyond which a strand is not drawn
# Rings of hanging hair: height, half width, front, back
HANGING = {
    "long": [(0.0, 0.44, 0.05, -0.5), (0.3, 0.46, 0.02, -0.5), (0.6, 0.46, 0.0, -0.44), (0.8, 0.4, -0.03, -0.38)],
    "bob": [(0.0, 0.45, 0.1, -0.52), (0.2, 0.47, 0.1, -0.5), (0.36, 0.46, 0.08, -0.46), (0.42, 0.42, 0.05, -0.42)],
}
HANGING["fringe"] = HANGING["bob"]


def hair_mass(head: Head) -> Points:
    """Surface points [N, 3] of the solid that the whole hair fills."""
    who, thick = head.who, VOLUME[head.who.style]
    low = 0.12 if who.style in ("short", "bun") else 0.2
    cap = head.rings[head.rings[:, 0] < low].copy()
    thin = np.clip((low - cap[:, :1]) / 0.2, 0, 1) if who.style in ("short", "bun") else 1.0
    cap[:, 1:4] *= 1 + thick / SKULL_RADIUS * thin
    cap[:, 0] += np.minimum(cap[:, 0] - SKULL_HEIGHT, 0) * thick / SKULL_RADIUS
    if who.style in HANGING:
        hanging = np.array([(*ring, 0.0) for ring in HANGING[who.style]])
        hanging[:, 1] *= who.face_width
        cap = np.vstack([cap, hanging])
    return ring_points(cap)


def hairline(who: Identity) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The border of skin and hair: angles in radians [N] and heights [N].

    It runs from the ear on the picture's left over the forehead to the ear on its right.
    """
    top = -0.36 - 0.06 * who.hairline
    corner, brow = (-0.24, -0.19) if who.style == "fringe" else (top + 0.1, top)
    side, wave = (62, 0.0) if who.style != "short" else (66, 0.03)
    part = who.parting
    knots = [(-104, 0.3), (-98, 0.1), (-78, -0.02), (-side, -0.15), (-46, corner), (-22 + 14 * part, brow - wave)]
    knots += [(18 * part, brow - 0.03), (24 + 14 * part, brow - wave)]
    knots += [(46, corner), (side, -0.15), (78, -0.02), (98, 0.1), (104, 0.3)]
    line = curve(knots, steps=5)
    return np.radians(line[:, 0]), line[:, 1]


def skin_patch(canvas: Canvas, head: Head) -> Points:
    """Polygon [N, 2] of the head's area that hair does not cover; it reaches beyond the chin."""
    angles, heights = hairline(head.who)
    line = canvas.view.place(head.around(unhidden(angles, canvas.view), heights, 0.01))
    below = canvas.view.place(np.array([[0.7, 0.3, 0.0], [0.6, 0.9, 0.2], [-0.6, 0.9, 0.2], [-0.7, 0.3, 0.0]]))
    return np.vstack([line, below])


def draw_back_hair(canvas: Canvas, head: Head) -> None:
    """Draws the whole hair mass; face, neck and shoulders are drawn over it later."""
    who = head.who
    if who.style == "bald":
        return
    if who.style == "bun":
        knot = Ball((0.0, -0.62, -0.22), (0.19, 0.17, 0.19))
        draw_mass(canvas, who, ball_outline(canvas, knot), knot)
    outline = canvas.outline(hair_mass(head))
    if who.style == "curly":
        outline = curled(outline)
    draw_mass(canvas, who, outline, CAP)
    if who.style in HANGING:
        nape = at_depth(np.array([(-0.3, 0.1), (0.3, 0.1), (0.32, 0.8), (-0.32, 0.8)]), -0.1)
        canvas.within(outline, lambda inner: inner.soft(nape, shade(who.hair, -0.75), 0.7, 0.06))


def ball_outline(canvas: Canvas, ball: Ball) -> Points:
    levels = np.linspace(-0.99, 0.99, 15)
    reach = np.sqrt(1 - levels**2)
    (x, y, z), (across, down, deep) = ball.centre, ball.axes
    rings = np.stack([y + down * levels, across * reach, z + deep * reach, z - deep * reach, x + 0 * levels], 1)
    return canvas.outline(ring_points(rings))


def curled(outline: Points, curls: int = 26) -> Points:
    """Adds `curls` round bumps to an outline [M, 2]: [12 curls, 2]."""
    closed = np.vstack([outline, outline[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    steps = np.linspace(0, along[-1], 12 * curls, endpoint=False)
    even = np.stack([np.interp(steps, along, closed[:, axis]) for axis in (0, 1)], 1)
    middle = even.mean(0)
    bump = 1 + 0.045 * np.abs(np.sin(np.pi * curls * steps / along[-1]))
    return np.asarray(middle + (even - middle) * bump[:, None])


def draw_mass(canvas: Canvas, who: Identity, outline: Points, ball: Ball) -> None:
    """Draws one mass of hair inside `outline` [N, 2], lit like `ball`."""
    canvas.fill(outline, who.hair)
    canvas.within(outline, lambda inner: inner.light(outline, ball, source(who), 1.0))


def draw_front_hair(canvas: Canvas, head: Head) -> None:
    """Draws strands and sheen on the cap, and the hair that hangs in front of the shoulders."""
    who = head.who
    if who.style == "bald":
        return
    draw_strands(canvas, head)
    light, thick = -1 if who.light <= 0 else 1, VOLUME[who.style]
    sheen = head.around(np.radians(np.linspace(-34, 34, 9) + 14 * light), np.full(9, -0.42), thick)
    canvas.soft(np.vstack([sheen, sheen[::-1] + np.array([0, 0.045, 0])]), shade(who.hair, 0.5), 0.36, 0.03)
    if who.style in HANGING:
        for side in (-1, 1):
            draw_curtain(canvas, head, side)


def draw_strands(canvas: Canvas, head: Head) -> None:
    """Draws the hairline, and combed or curled strands from the parting down to it."""
    who, middle, thick = head.who, facing(canvas.view), VOLUME[head.who.style]
    angles, heights = hairline(who)
    rim = head.around(unhidden(angles, canvas.view), heights, 0.012)
    canvas.line(rim[(np.abs(angles - middle) < np.pi / 2) & (heights < SIDEBURN)], shade(who.hair, -0.4), 0.01)
    share = np.linspace(0, 1, 9)
    for number, end in enumerate(np.radians(np.arange(-126, 127, 14))):
        if abs(end - middle) > STRAND_SEEN:
            continue
        low = min(0.0, float(np.interp(end, angles, heights))) - 0.02
        way = head.around(
            0.2 * who.parting + (end - 0.2 * who.parting) * np.sqrt(share), -0.5 + (low + 0.5) * share**1.6, 0.7 * thick
        )
        if who.style == "curly":
            way = way[2:] + 0.025 * np.stack([np.sin(6 * share), np.cos(6 * share), 0 * share], 1)[2:]
        canvas.line(way, shade(who.hair, 0.07 if number % 2 else -0.16), 0.006)


def curtain(canvas: Canvas, head: Head, side: int) -> tuple[Points, Points]:
    """The inner and outer edge [14, 3] of the hair at one side of the face: from the temple down."""
    who, view, long = head.who, canvas.view, head.who.style == "long"
    heights = np.linspace(-0.34, 0.7 if long else 0.4, 14)
    share = np.linspace(0, 1, 14)
    base = np.clip(heights, None, 0.1)
    outer = head.around(unhidden(np.full(14, 1.8 * side), view), base, VOLUME[who.style])
    inner = head.around(unhidden(np.radians(62 + 34 * share) * side, view), base, 0.02)
    taper = np.clip(3 * share, 0, 1) * np.sqrt(np.clip(5 * (1 - share), 0.04, 1))
    outer[:, 1] = inner[:, 1] = heights
    wave = side * (0.02 * np.sin(5 * share + who.parting) + 0.02 * share)
    outer[:, 0] += wave
    inner[:, 0] += wave
    return outer + (inner - outer) * taper[:, None], outer


def draw_curtain(canvas: Canvas, head: Head, side: int) -> None:
    """Draws the hair at one side of the face, narrow at both ends."""
    who = head.who
    inner, outer = curtain(canvas, head, side)
    shape = curve(np.vstack([inner, outer[::-1]]), closed=True, steps=4)
    canvas.soft(shape + np.array([-0.02 * side, 0.02, 0]), (20, 12, 10), 0.3, 0.02)
    lit = 0.06 if side * who.light > 0 else -0.3
    canvas.fill(shape, shade(who.hair, lit))
    for part in (0.2, 0.4, 0.6, 0.8):
        line = curve((1 - part) * inner + part * outer)
        canvas.line(line, shade(who.hair, lit + (0.08 if part in (0.2, 0.6) else -0.16)), 0.008)
