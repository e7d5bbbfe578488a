"""Draws everything around a head: the background, shoulders with their clothes, and the neck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..media.picture import Picture
from .canvas import Ball, Canvas, FaceMotion, Points, View, curve, ellipse, mirrored
from .face import dusk, shade, source
from .head import Head, Identity

Knots = list[tuple[float, float]]
OnBody = Callable[[Knots | Points], Points]  # places points on the shoulders in the scene
Weaver = Callable[[Canvas, OnBody], None]  # draws a pattern on the shoulders

BACKDROP_SIDE = 64  # pixels a side of the background before it is enlarged
THROAT_BALL = Ball((0.0, -0.2, 0.0), (0.24, 1.2, 0.24))  # relative to the base of the neck
FOLLOW = 0.45  # share of the head's horizontal shift that the shoulders follow


@lru_cache(maxsize=4)  # all frames of a clip share one background
def backdrop(who: Identity, side: int) -> Picture:
    """The background [side, side, 3], read-only: a wall lit from the light's side, with the pattern of its kind."""
    import cv2

    rng = np.random.default_rng(who.pattern)
    y, x = np.mgrid[-1 : 1 : BACKDROP_SIDE * 1j, -1 : 1 : BACKDROP_SIDE * 1j]
    light = np.exp(-((x - 0.3 * who.light) ** 2 + (y + 0.4) ** 2) / 1.2)
    wall = np.array(who.backdrop) * (0.72 + 0.4 * light)[..., None]
    if who.background == "gradient":
        wall = wall + (y * rng.choice((-1, 1)))[..., None] * np.array(rng.uniform(-10, 55, 3))
    if who.background == "stripes":
        wall = wall * (1 + 0.13 * np.tanh(4 * np.sin(x * rng.uniform(6, 13) + y * rng.choice((0, 0, 4)))))[..., None]
    if who.background == "bokeh":
        for _ in range(12):
            (u, v), radius = rng.uniform(-1, 1, 2), rng.uniform(0.06, 0.22)
            disc = 1 / (1 + np.exp((np.hypot(x - u, y - v) - radius) * 45))
            wall = wall + disc[..., None] * rng.uniform(8, 60) * rng.uniform(0.5, 1, 3)
    if who.background == "window":
        left, top = rng.uniform(-1.3, 0.3), rng.uniform(-1.2, -0.6)
        inside = pane(x, left, left + 0.9) * pane(y, top, top + 1.3)
        bar = 1 - 0.5 * pane(x, left + 0.42, left + 0.48)
        wall = wall + (inside * bar)[..., None] * np.array((90, 100, 110)) * rng.uniform(0.5, 1)
    enlarged = cv2.resize(wall.clip(0, 255).astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    picture = np.asarray(enlarged, np.uint8)
    picture.setflags(write=False)
    return picture


def pane(along: NDArray[np.float64], first: float, last: float) -> NDArray[np.float64]:
    """1 between `first` and `last`, 0 elsewhere, with soft edges."""
    return np.asarray(1 / (1 + np.exp(-30 * (along - first))) / (1 + np.exp(30 * (along - last))))


def body_frame(motion: FaceMotion) -> tuple[Points, float]:
    """Position of the base of the neck ([2], units of the scene) and scale of the shoulders."""
    scale = 0.5 + 0.5 * motion.scale
    return np.array([FOLLOW * motion.shift[0], 0.72 * scale + 0.6 * motion.shift[1]]), scale


def draw_body(canvas: Canvas, head: Head, motion: FaceMotion, weave: Weaver | None = None) -> None:
    """Draws shoulders that do not turn and follow the head only partly, and the neck that joins them to it.

    `weave` draws a pattern on the clothes.
    """
    who, (base, scale) = head.who, body_frame(motion)
    clothes, skin = canvas.on("clothes"), canvas.on("skin")

    def on_body(points: Knots | Points) -> Points:
        return base + np.asarray(points) * scale

    draw_shoulders(clothes, who, on_body, weave)
    away = 1 if who.light <= 0 else -1
    # The neck: from under the chin down to the neckline of the clothes
    depth = {"round": 0.12, "v": 0.34, "collar": 0.2, "jacket": 0.3}[who.clothes]
    neckline = on_body([(0.28, -0.02), (0.15, 0.55 * depth if who.clothes != "v" else 0.6 * depth), (0.0, depth)])
    left = neckline[1::-1] * np.array([-1, 1]) + np.array([2 * base[0], 0])
    top = canvas.view.place(head.around(np.radians([-90.0, 90.0]), np.array([0.1, 0.1]), -0.19))
    root = canvas.view.place(head.around(np.radians([-90.0, 90.0]), np.array([0.3, 0.3]), -0.14))
    foot = on_body([(-0.19, -0.1), (0.19, -0.1)])
    hem = np.vstack([neckline, left]) if who.clothes != "round" else curve(np.vstack([neckline, left]))
    neck = np.vstack([curve([top[1], 0.45 * root[1] + 0.55 * foot[1], foot[1], neckline[0]]), hem])
    neck = np.vstack([neck, curve([left[-1], foot[0], 0.45 * root[0] + 0.55 * foot[0], top[0]])])
    skin.fill(neck, shade(who.skin, -0.08))
    # Light on the neck, and the shadow that the chin casts on it
    chin = canvas.view.place(head.on(np.array([[0.0, 0.46]])))[0]

    def shadow(inner: Canvas) -> None:
        replace(inner, view=View(np.eye(3), scale, base)).light(neck, THROAT_BALL, source(who), 0.8)
        inner.soft(chin + ellipse(0.04 * away, 0.0, 0.34, 0.16), dusk(who.skin), 0.85, 0.06)
        inner.soft(on_body(ellipse(0.25 * away, -0.05, 0.13, 0.3)), dusk(who.skin), 0.45, 0.06)

    skin.within(neck, shadow)
    draw_neckline(clothes, who, hem, on_body)


def draw_shoulders(clothes: Canvas, who: Identity, on_body: OnBody, weave: Weaver | None) -> None:
    """Draws the clothes on the shoulders, with their folds."""
    half = [(0.0, -0.06), (0.2, -0.05), (0.42, 0.04), (0.66, 0.12), (0.8, 0.26), (0.88, 0.5), (0.9, 0.8), (0.0, 0.9)]
    shoulders = on_body(curve(mirrored(half), closed=True))
    clothes.fill(shoulders, who.shirt)
    away = 1 if who.light <= 0 else -1

    def folds(inner: Canvas) -> None:
        if weave:
            weave(inner, on_body)
        inner.soft(on_body(ellipse(0.72 * away, 0.4, 0.3, 0.5)), shade(who.shirt, -0.6), 0.6, 0.14)
        inner.soft(on_body(ellipse(-0.5 * away, 0.2, 0.25, 0.08)), shade(who.shirt, 0.35), 0.35, 0.08)

    clothes.within(shoulders, folds)


def draw_neckline(canvas: Canvas, who: Identity, hem: Points, on_body: Callable[[Knots], Points]) -> None:
    """Draws the hem, the collar or the lapels."""
    if who.clothes in ("round", "v"):
        canvas.line(hem, shade(who.shirt, -0.3), 0.03)
        return
    pale = shade(who.shirt, 0.75) if who.clothes == "jacket" else shade(who.shirt, 0.12)
    for side in (-1, 1):
        if who.clothes == "jacket":
            lapel = [(0.24, -0.06), (0.34, 0.0), (0.36, 0.2), (0.12, 0.6), (0.0, 0.62), (0.04, 0.4)]
            canvas.fill(on_body([(x * side, y) for x, y in lapel]), shade(who.shirt, -0.2))
            inner = [(0.2, -0.04), (0.27, -0.06), (0.1, 0.4), (0.0, 0.34)]
            canvas.fill(on_body([(x * side, y) for x, y in inner]), pale)
        flap = [(0.17, -0.09), (0.29, -0.08), (0.25, 0.12), (0.12, 0.27), (0.0, 0.18), (0.13, 0.08)]
        flap_points = on_body([(x * side, y) for x, y in flap])
        canvas.soft(flap_points + np.array([0, 0.02]), shade(who.shirt, -0.7), 0.45, 0.015)
        canvas.fill(flap_points, pale)
        canvas.line(flap_points[1:5], shade(pale, -0.3), 0.007)
