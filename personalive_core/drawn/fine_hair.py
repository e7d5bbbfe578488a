"""Draws hair of the fine style: single strands over the masses, curls, the fall behind the neck, and whiskers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..media.chart import Colour
from .canvas import Canvas, FaceMotion, Points, curve
from .face import mixed, shade
from .finery import scattered
from .hair import HANGING, VOLUME, curled, hair_mass, hairline
from .head import Head, Identity, facing

Lines = NDArray[np.float64]  # [K, N, 2] in the scene, or [K, N, 3] of the head

STRANDS, CURLS, RINGLETS, FALLING, CURTAIN, WHISKERS, STRAYS = 110, 190, 260, 56, 20, 240, 16
BARE_LIPS = (0.13, 0.24, 0.36)  # half width, top and bottom of what no whisker grows on
STRANDS_SEEN = 1.42  # radians from the viewer's direction beyond which a strand is not drawn


def strand_colour(who: Identity, angle: float, tone: float) -> Colour:
    """The colour of a strand at an angle around the head: lighter towards the light, with its own `tone` (0..1)."""
    lit = 0.16 * np.cos(angle - 0.6 * np.sign(who.light)) - 0.06
    return shade(who.hair, float(np.clip(lit + 0.34 * (tone - 0.55), -0.5, 0.45)))


def along_head(head: Head, angles: NDArray[np.float64], heights: NDArray[np.float64], out: float) -> Lines:
    """Lines [K, N, 3] around the head at `angles` and `heights` [K, N], `out` outside its surface."""
    return head.around(angles.ravel(), heights.ravel(), out).reshape(*angles.shape, 3)


def draw_falling_hair(canvas: Canvas, head: Head) -> None:
    """Draws what hangs behind neck and cheeks, or curls; face and shoulders come over them."""
    who = head.who
    if who.style == "curly":
        outline = curled(canvas.outline(hair_mass(head)))
        canvas.within(outline, lambda inner: draw_ringlets(inner, who, outline))
    if who.style not in HANGING:
        return
    across, tone, wave = scattered(who.pattern, "fall", FALLING, 3).T[..., None]
    heights = np.linspace(-0.25, HANGING[who.style][-1][0], 25)[None]
    x = (2 * across - 1) * 0.46 * who.face_width + 0.016 * np.sin(9 * heights + 6 * wave)
    depth = np.minimum(-0.3 + 0.26 * np.sqrt(np.maximum(0.0, 1 - (2 * across - 1) ** 2)), -0.12)
    lines = np.stack(np.broadcast_arrays(x, heights, depth), -1)
    colours = [shade(who.hair, -0.36 + 0.34 * t) for t in tone[:, 0]]
    canvas.within(canvas.outline(hair_mass(head)), lambda inner: inner.lines(lines, colours, 0.011))


def draw_ringlets(canvas: Canvas, who: Identity, outline: Points) -> None:
    """Draws ringlets all over the hair's `outline` [N, 2] in the scene."""
    low, high = outline.min(0), outline.max(0)
    numbers = scattered(who.pattern, "ringlets", RINGLETS, 4)
    centres = low + (high - low) * numbers[:, :2]
    canvas.lines(rings(centres, numbers[:, 2], numbers[:, 3]), [shaded(who, t) for t in numbers[:, 2]], 0.009)


def rings(centres: Points, turns: NDArray[np.float64], sizes: NDArray[np.float64]) -> Lines:
    """Open rings [K, 9, D] around `centres` [K, D]."""
    turn = np.linspace(0, 1.5 * np.pi, 9) + 6 * turns[:, None]
    radius = 0.02 + 0.022 * sizes[:, None]
    flat = np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn], -1)
    return centres[:, None] + flat[..., : centres.shape[1]]


def shaded(who: Identity, tone: float) -> Colour:
    return shade(who.hair, float(0.5 * tone - 0.34))


def draw_cap_strands(canvas: Canvas, head: Head) -> None:
    """Draws combed strands, or curls, from the parting down to the hairline."""
    who, middle, thick = head.who, facing(canvas.view), VOLUME[head.who.style]
    if who.style == "bald":
        return
    angles, heights = hairline(who)
    if who.style == "curly":
        place, high, tone, size = scattered(who.pattern, "curls", CURLS, 4).T
        around = middle + STRANDS_SEEN * (2 * place - 1)
        low = np.minimum(0.1, np.interp(around, angles, heights)) - 0.02
        centres = head.around(around, -0.58 + (low + 0.58) * high, 0.85 * thick)
        canvas.lines(rings(centres, tone, size), [shaded(who, t) for t in tone], 0.008)
        return
    ends = np.radians(np.linspace(-128, 128, STRANDS))
    seen = np.abs(ends - middle) < STRANDS_SEEN
    tone, bend, high = scattered(who.pattern, "cap", STRANDS, 3)[seen].T[..., None]
    end, share = ends[seen, None], np.linspace(0, 1, 14)[None]
    low = np.minimum(0.04, np.interp(end, angles, heights)) + 0.02 - 0.06 * bend * high  # they end unevenly
    part, start = 0.2 * who.parting, -0.5 - 0.03 * high
    way = part + (end - part) * np.sqrt(share) + 0.07 * (bend - 0.5) * np.sin(np.pi * share)
    lines = along_head(head, way, start + (low - start) * share**1.6, 0.9 * thick)
    colours = [strand_colour(who, float(e) - middle, float(t)) for e, t in zip(end[:, 0], tone[:, 0], strict=True)]
    canvas.lines(lines, colours, 0.005)


def draw_curtain_strands(canvas: Canvas, who: Identity, inner: Points, outer: Points, side: int) -> None:
    """Draws strands between the `inner` and `outer` edge of the hair at one side of the face."""
    lit = 0.1 if side * who.light > 0 else -0.24
    part, tone = scattered(who.pattern, f"curtain{side}", CURTAIN, 2).T
    place = (0.06 + 0.88 * part)[:, None, None]
    lines = (1 - place) * curve(inner, steps=3) + place * curve(outer, steps=3)
    canvas.lines(lines, [shade(who.hair, float(np.clip(lit + 0.4 * (t - 0.5), -0.6, 0.5))) for t in tone], 0.005)


def draw_strays(canvas: Canvas, head: Head) -> None:
    """Draws a few hairs that stand off the outline of the hair."""
    who, middle = head.who, canvas.view.centre
    if who.style in ("bald", "curly"):
        return
    edge = canvas.outline(hair_mass(head))
    place, long, lean = scattered(who.pattern, "strays", STRAYS, 3).T
    roots = edge[(place * (len(edge) - 1)).astype(int)]
    out = (roots - middle) / (np.linalg.norm(roots - middle, axis=1, keepdims=True) + 1e-9)
    side = np.stack([-out[:, 1], out[:, 0]], 1) * np.sign(lean - 0.5)[:, None]
    ends = roots + (0.004 + 0.012 * long)[:, None] * out + 0.05 * side
    lines = np.stack([roots - 0.01 * out, roots + 0.006 * out + 0.022 * side, ends], 1)
    canvas.lines(lines, [shade(who.hair, 0.05)] * STRAYS, 0.002)


def draw_whiskers(canvas: Canvas, head: Head, motion: FaceMotion, face: Points) -> None:
    """Draws single hairs over a beard."""
    who, drop = head.who, 0.06 * motion.mouth
    count = int(WHISKERS * (0.4 + 0.6 * who.beard))
    across, high, lean, tone = scattered(who.pattern, "beard", WHISKERS, 4)[:count].T
    x = 0.66 * (across - 0.5)
    top = np.interp(np.abs(x), [0.0, 0.12, 0.2, 0.3, 0.36], [0.215, 0.22, 0.27, 0.25, 0.18])
    y = top + (0.56 + drop - top) * high
    grown = (np.abs(x) > BARE_LIPS[0]) | (y < BARE_LIPS[1]) | (y > BARE_LIPS[2] + drop)
    x, y, lean, tone = x[grown], y[grown], lean[grown], tone[grown]
    flat = np.stack([np.stack([x, y], 1), np.stack([1.05 * x + 0.012 * (lean - 0.5), y + 0.03], 1)], 1)
    lines = head.on(flat.reshape(-1, 2)).reshape(-1, 2, 3)
    colours = [mixed(shade(who.hair, 0.52 * t - 0.3), who.skin, 0.4 * (1 - who.beard)) for t in tone]
    canvas.within(face, lambda inner: inner.lines(lines, colours, 0.004))
