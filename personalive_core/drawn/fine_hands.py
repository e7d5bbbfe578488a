"""Draws a hand of the fine style: forearm with its sleeve, palm, fingers with nails and folds, light and shadow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..media.chart import Colour
from .canvas import Ball, Canvas, FaceMotion, Points, View, curve, ellipse
from .face import dusk, mixed, shade, source
from .hands import Hand, HandShape, hand_shape, limb
from .head import Identity

SLEEVE = 0.5  # share of the forearm that is in a sleeve
JOINTS, TIP = (0.4, 0.72), 0.86  # along a finger: its joints, the middle of its nail
SHADOW: Colour = (34, 18, 16)  # that a hand casts; dark enough for every wall behind
HAND_BALL = Ball((0.0, -0.05, 0.0), (0.32, 0.55, 0.2))


def draw_hand(canvas: Canvas, who: Identity, motion: FaceMotion, hand: Hand) -> None:
    """Draws a hand before the person, with the shadow that it casts on them."""
    shape, skin = hand_shape(hand, motion), canvas.on("skin")
    tone = mixed(who.skin, (232, 164, 140), 0.3) if hand.palm else shade(who.skin, -0.04)
    cast = np.array([-0.05 * np.sign(who.light), 0.06])
    tips = np.stack([line[-1] for line in shape.fingers])
    skin.soft(np.vstack([shape.palm[[0, len(shape.palm) // 4]], tips, shape.palm[-1:]]) + cast, SHADOW, 0.42, 0.035)
    draw_forearm(canvas, who, shape, tone)
    skin.fill(shape.palm, tone)
    skin.within(shape.palm, lambda inner: draw_palm(inner, who, hand, shape))
    for number, (line, width) in enumerate(zip(shape.fingers, shape.widths, strict=True)):
        draw_finger(canvas, who, hand, (line, width), shade(tone, -0.03 if number % 2 else 0.02))


def draw_forearm(canvas: Canvas, who: Identity, shape: HandShape, tone: Colour) -> None:
    """Draws the forearm, which ends in the wrist, and the sleeve over its lower part."""
    line, half, size = shape.arm, shape.arm_half, float(np.linalg.norm(shape.down))
    arm, skin, clothes = limb(line, half), canvas.on("skin"), canvas.on("clothes")
    away = np.array([-0.09 * size * np.sign(who.light), 0.0])

    def rounded(inner: Canvas, colour: Colour) -> None:
        inner.soft(limb(line + away, 0.55 * half), colour, 0.5, 0.04)

    skin.fill(arm, tone)
    skin.within(arm, lambda inner: rounded(inner, dusk(who.skin)))
    last = int(SLEEVE * len(line))
    cloth, wide = line[:last], half[:last] + 0.04 * size
    sleeve = limb(cloth, wide)
    clothes.fill(sleeve, who.shirt)
    clothes.within(sleeve, lambda inner: rounded(inner, shade(who.shirt, -0.6)))
    hem = cloth[-1] + wide[-1] * np.linspace(-1, 1, 9)[:, None] * across_of(cloth[-1] - cloth[-2])
    clothes.line(hem, shade(who.shirt, -0.35), 0.03)


def across_of(way: Points) -> Points:
    """The unit vector [2] across a direction [2]."""
    return np.asarray(np.array([-way[1], way[0]]) / (np.linalg.norm(way) + 1e-9))


def draw_palm(canvas: Canvas, who: Identity, hand: Hand, shape: HandShape) -> None:
    """Draws light and shade on the palm or the back of the hand, its lines or its tendons."""
    middle, dark = shape.palm.mean(0), dusk(who.skin)

    def at(points: list[tuple[float, float]]) -> Points:
        local = np.array(points) + np.array([0.0, -0.02])
        return np.asarray(middle + local[:, :1] * shape.across + local[:, 1:] * shape.down)

    view = View(np.eye(3), float(np.linalg.norm(shape.down)), middle)
    replace(canvas, view=view).light(shape.palm, HAND_BALL, source(who), 0.7)
    edge = float(np.sign(shape.across[0] * -who.light))
    rim = at([(0.17 * edge, -0.2), (0.2 * edge, 0.0), (0.14 * edge, 0.25)])
    canvas.soft(np.vstack([rim, rim[::-1] + 0.02]), dark, 0.6, 0.035)
    if hand.palm:
        for points in ([(-0.14, -0.06), (0.0, -0.08), (0.12, -0.13)], [(0.15, -0.04), (0.02, 0.02), (-0.02, 0.2)]):
            canvas.line(curve(at(points)), mixed(dark, who.skin, 0.45), 0.007)
        return
    for line in shape.fingers[:4]:
        root = line[0] + 0.045 * shape.down
        knuckle = np.stack([root - 0.025 * shape.across, root + 0.025 * shape.across])
        canvas.soft(np.vstack([knuckle, knuckle[::-1] + 0.012 * shape.down]), shade(who.skin, 0.4), 0.5, 0.014)
        tendon = np.stack([root, 0.35 * root + 0.65 * (middle + 0.2 * shape.down)])
        canvas.soft(np.vstack([tendon, tendon[::-1] + 0.014 * shape.across]), dark, 0.3, 0.01)


def draw_finger(canvas: Canvas, who: Identity, hand: Hand, finger: tuple[Points, Points], tone: Colour) -> None:
    """Draws a finger: its middle line [M, 2] and half widths [M]."""
    (line, half), skin, dark = finger, canvas.on("skin"), dusk(who.skin)
    outline, across = limb(line, half), across_of(line[-1] - line[0])
    lit = float(np.sign(across[0] * who.light)) or 1.0
    skin.fill(outline, tone)

    def rounded(inner: Canvas) -> None:
        shadow = line - 0.85 * lit * half[:, None] * across
        inner.soft(np.vstack([shadow, (shadow + 0.5 * lit * half[:, None] * across)[::-1]]), dark, 0.6, 0.014)
        light = line + 0.4 * lit * half[:, None] * across
        inner.soft(np.vstack([light, (light + 0.01)[::-1]]), shade(who.skin, 0.5), 0.45, 0.012)
        for joint in JOINTS:
            at = int(joint * (len(line) - 1))
            fold = line[at] + 0.7 * half[at] * np.linspace(-1, 1, 5)[:, None] * across
            inner.line(fold, mixed(dark, who.skin, 0.5), 0.004)

    skin.within(outline, rounded)
    skin.line(outline, mixed(dark, who.skin, 0.25), 0.006)
    if hand.palm:
        return
    way = (line[-1] - line[-4]) / (np.linalg.norm(line[-1] - line[-4]) + 1e-9)
    oval, size = ellipse(0.0, 0.0, 0.62, 0.85), float(half[-1])
    nail = line[int(TIP * (len(line) - 1))] + 0.3 * size * way + size * (oval[:, :1] * across + oval[:, 1:] * way)
    skin.fill(nail, mixed(who.skin, (255, 214, 206), 0.55))
    skin.line(nail, mixed(dark, who.skin, 0.5), 0.003)
