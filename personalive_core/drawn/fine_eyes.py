"""Draws eyes and brows of the fine style: lids, lashes, an iris with its rays, catch-lights, single hairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, FaceMotion, Points, ellipse
from .face import PALE_HAIR, PUPIL, WHITE, dusk, mixed, shade
from .finery import Finery, scattered
from .head import Eye, Head, brow_of, eye_of

RAYS, LASHES, BROW_HAIRS = 22, 13, 34


def draw_fine_eye(canvas: Canvas, head: Head, motion: FaceMotion, fine: Finery, side: int) -> None:
    """Draws one eye with its lids; `side` -1 is on the picture's left."""
    who, eye = head.who, eye_of(head.who, motion, side)
    skin, details, closed = canvas.on("skin"), canvas.on("details"), motion.blink[side > 0]
    # the lid: from its fold down to its edge
    lid = head.on(np.vstack([eye.crease[1:-1], eye.upper[::-1]]))
    skin.fill(lid, mixed(shade(who.skin, -0.1), fine.shadow or dusk(who.skin), 0.5 if fine.shadow else 0.22))
    arch = eye.crease[3:-3] + np.array([0, 0.004])
    skin.soft(head.on(np.vstack([arch, arch[::-1] + np.array([0, 0.01])])), dusk(who.skin), 0.5, 0.006)
    if closed < 1:
        details.within(head.on(eye.opening), lambda inner: draw_ball(inner, head, eye, side))
    if closed > 0:
        middle = (eye.crease + eye.upper)[6:-6] / 2
        skin.soft(head.on(np.vstack([middle, middle[::-1] + 0.008])), shade(who.skin, 0.4), 0.5 * closed, 0.012)
    details.line(head.on(eye.under), mixed(who.skin, (206, 120, 112), 0.45), 0.007)
    dark = mixed(shade(who.hair, -0.75), PUPIL, 0.6)
    details.line(head.on(eye.upper), dark, 0.009 + 0.006 * who.lashes)
    skin.line(head.on(eye.crease[1:-1]), mixed(dusk(who.skin), who.skin, 0.25), 0.005)
    below = eye.under[3:-3] + np.array([0, 0.02])
    skin.soft(head.on(np.vstack([below, below[::-1] + np.array([0, 0.012])])), dusk(who.skin), 0.28, 0.01)
    draw_lashes(details, head, eye, side)


def draw_ball(canvas: Canvas, head: Head, eye: Eye, side: int) -> None:
    """Draws what shows between the lids: the white with its shadows, the iris, and the lights on it."""
    who, (x, y), r = head.who, eye.look, eye.radius
    canvas.fill(head.on(eye.opening), (238, 233, 229))
    inner, outer = (eye.upper[-1], eye.upper[0]) if side < 0 else (eye.upper[0], eye.upper[-1])
    canvas.soft(head.on(ellipse(outer[0], outer[1], 0.03, 0.03)), (150, 120, 118), 0.55, 0.018)
    canvas.fill(head.on(ellipse(inner[0], inner[1] + 0.002, 0.013, 0.009)), (208, 136, 128))
    canvas.fill(head.on(ellipse(x, y, r, r)), shade(who.iris, -0.62))
    canvas.fill(head.on(ellipse(x, y, 0.88 * r, 0.88 * r)), shade(who.iris, -0.1))
    canvas.soft(head.on(ellipse(x, y + 0.42 * r, 0.6 * r, 0.36 * r)), shade(who.iris, 0.45), 0.75, 0.3 * r)
    far, tone = scattered(who.pattern, "rays", RAYS, 2).T
    turn = 2 * np.pi * np.arange(RAYS) / RAYS
    reach = r * np.stack([np.full(RAYS, 0.46), 0.66 + 0.18 * far], 1)
    rays = np.array([x, y]) + np.stack([np.cos(turn), np.sin(turn)], 1)[:, None] * reach[..., None]
    canvas.lines(on_head(head, rays), [shade(who.iris, 0.34 * np.sign(t - 0.5)) for t in tone], 0.003)
    canvas.fill(head.on(ellipse(x, y, 0.44 * r, 0.44 * r)), PUPIL)
    shadow = np.vstack([eye.upper, eye.upper[::-1] + np.array([0, 0.016])])
    canvas.soft(head.on(shadow), (40, 26, 26), 0.62, 0.01)
    lit = 1 if who.light > 0 else -1
    canvas.fill(head.on(ellipse(x + 0.36 * r * lit, y - 0.38 * r, 0.25 * r, 0.23 * r)), WHITE)
    canvas.soft(head.on(ellipse(x - 0.34 * r * lit, y + 0.42 * r, 0.2 * r, 0.14 * r)), WHITE, 0.5, 0.08 * r)


def draw_lashes(canvas: Canvas, head: Head, eye: Eye, side: int) -> None:
    """Draws single lashes on the edge of the upper lid, longer outwards, and short ones below."""
    who = head.who
    long, dark = 0.012 + 0.02 * who.lashes, mixed(shade(who.hair, -0.8), PUPIL, 0.6)
    share = np.linspace(0.06, 0.97, LASHES)
    outwards, at = share if side > 0 else 1 - share, (share * (len(eye.upper) - 1)).round().astype(int)
    roots = eye.upper[at]
    lean = np.stack([side * (0.15 + 0.75 * outwards), -1.0 + 0.45 * outwards], 1)
    tips = roots + lean * (long * (0.45 + 0.75 * outwards))[:, None]
    bent = (roots + tips) / 2 + np.array([0, 0.003])
    canvas.lines(on_head(head, np.stack([roots, bent, tips], 1)), [dark] * LASHES, 0.003)
    feet = eye.under[at[3:-3]]
    below = np.stack([feet, feet + np.array([side * 0.4, 1.0]) * 0.25 * long], 1)
    canvas.lines(on_head(head, below), [mixed(dark, who.skin, 0.3)] * len(feet), 0.002)


def draw_fine_brow(canvas: Canvas, head: Head, motion: FaceMotion, side: int) -> None:
    """Draws a brow of single hairs over a soft shape."""
    who, spine = head.who, brow_of(head.who, motion, side)
    thick = 0.017 * who.brows * np.linspace(1, 0.35, len(spine))
    colour = shade(who.hair, -0.4) if sum(who.hair) < PALE_HAIR else mixed(shade(who.hair, -0.45), who.skin, 0.15)
    over = np.stack([0 * thick, thick], 1)
    shape: Points = np.vstack([spine - 0.8 * over, (spine + 0.8 * over)[::-1]])
    canvas.soft(head.on(shape), mixed(colour, who.skin, 0.35), 0.8, 0.008)
    up, lean, tone = scattered(who.pattern, f"brow{side}", BROW_HAIRS, 3).T
    share, knots = np.arange(BROW_HAIRS) / BROW_HAIRS, np.linspace(0, 1, len(spine))
    x, y, half = (np.interp(share, knots, values) for values in (spine[:, 0], spine[:, 1], thick))
    roots = np.stack([x, y + half * (1.6 * up - 0.8)], 1)
    along = np.stack([side * (0.25 + 0.9 * share), -0.75 + 1.1 * share + 0.3 * lean], 1)
    hairs = np.stack([roots, roots + along * (0.012 + 0.012 * who.brows)], 1)
    canvas.lines(on_head(head, hairs), [shade(colour, 0.3 * t - 0.22) for t in tone], 0.004)


def on_head(head: Head, lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines [K, N, 2] of an average face on the front of this head: [K, N, 3]."""
    return head.on(lines.reshape(-1, 2)).reshape(*lines.shape[:2], 3)
