"""Draws the people of the bundled sample: a plain portrait, posed and with an expression, out of polygons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .canvas import Canvas, Colour, FaceMotion, Points, at_depth, curve, ellipse, evenly, mirrored

OVERSAMPLING = 2  # drawn this much larger, then reduced: smooth edges
WHITE: Colour = (255, 255, 255)
THROAT: Colour = (58, 18, 22)


@dataclass(frozen=True)
class Identity:
    """Who is drawn."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    shirt: Colour
    backdrop: Colour
    long_hair: bool
    jaw: float = 1.0  # width of the jaw
    brows: float = 1.0  # thickness of the brows


def shade(colour: Colour, amount: float) -> Colour:
    """`colour` towards black (amount < 0) or white (amount > 0)."""
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(value + abs(amount) * (goal - value)) for value in colour)
    return red, green, blue


def on_face(points: Points, lift: float = 0.0) -> Points:
    """Face points [N, 2] laid on the rounded front of the head, `lift` before it: [N, 3]."""
    x, y = points.T
    depth = 0.33 * np.sqrt(np.clip(1 - (x / 0.44) ** 2 - (y / 0.66) ** 2, 0.02, None))
    return np.column_stack([points, depth + lift])


def face_outline(who: Identity, motion: FaceMotion) -> Points:
    """The face's edge, [N, 3]: the chin lies forward and follows the mouth."""
    chin = 0.5 + 0.055 * motion.mouth
    half = [(0, -0.5), (0.2, -0.47), (0.33, -0.32), (0.37, -0.1), (0.36, 0.1)]
    half += [(0.315 * who.jaw, 0.27), (0.215 * who.jaw, chin - 0.1), (0.1 * who.jaw, chin - 0.015), (0, chin)]
    edge = curve(mirrored([(float(x), y) for x, y in half]), closed=True)
    return np.column_stack([edge, 0.22 * np.clip(edge[:, 1] / 0.5, 0, 1)])


def draw_portrait(who: Identity, motion: FaceMotion, size: int) -> NDArray[np.uint8]:
    """The portrait as [size, size, 3] uint8; the same arguments give the same picture."""
    canvas = Canvas(backdrop(who.backdrop, size * OVERSAMPLING), motion)
    draw_back_hair(canvas, who)
    draw_body(canvas, who)
    draw_head(canvas, who)
    for side in (-1, 1):
        draw_eye(canvas, who, side)
    draw_nose(canvas, who)
    draw_mouth(canvas, who)
    draw_front_hair(canvas, who)
    return np.asarray(canvas.image.reduce(OVERSAMPLING))


def backdrop(colour: Colour, side: int) -> Image.Image:
    """A wall lit from the upper left."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    light = np.exp(-((x + 0.3) ** 2 + (y + 0.4) ** 2) / 1.2)[..., None]
    wall = np.array(colour) * (0.72 + 0.4 * light)
    return Image.fromarray(wall.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def draw_body(canvas: Canvas, who: Identity) -> None:
    """Shoulders stay where they are; the neck leans between them and the head."""
    lean = 0.5 * (canvas.place(np.array([[0.0, 0.35, -0.05]]))[0, 0])
    half = [(0.0, 0.66), (0.18, 0.68), (0.42, 0.76), (0.66, 0.84), (0.8, 0.98), (0.86, 1.2), (0.0, 1.3)]
    shoulders = curve(mirrored(half), closed=True)
    shoulders[:, 0] += 0.3 * lean
    canvas.fill(shoulders, who.shirt)
    canvas.soft(shoulders + np.array([0.25, 0.2]), shade(who.shirt, -0.5), 0.55, 0.12)
    top, base = 2 * lean, 0.3 * lean
    middle = (top + base) / 2
    neck = [(top - 0.12, 0.15), (top + 0.12, 0.15), (middle + 0.165, 0.4), (base + 0.18, 0.6), (base + 0.29, 0.72)]
    neckline = [(base + 0.16, 0.81), (base, 0.85), (base - 0.16, 0.81), (base - 0.29, 0.72)]
    skin = curve([*neck, *neckline, (base - 0.18, 0.6), (middle - 0.165, 0.4)], closed=True)
    canvas.line(curve([(base + 0.3, 0.71), *neckline[:3], (base - 0.3, 0.71)]), shade(who.shirt, -0.35), 0.05)
    canvas.fill(skin, shade(who.skin, -0.1))

    def shadow(inner: Canvas) -> None:
        inner.soft(ellipse(1.4 * lean + 0.03, 0.34, 0.3, 0.22), shade(who.skin, -0.6), 0.75, 0.06)
        inner.soft(ellipse(base + 0.26, 0.6, 0.12, 0.3), shade(who.skin, -0.5), 0.5, 0.06)

    canvas.within(skin, shadow)


def draw_head(canvas: Canvas, who: Identity) -> None:
    """Ears and the face with its light and shade."""
    dark = shade(who.skin, -0.45)
    for side in (-1, 1):
        canvas.fill(at_depth(ellipse(0.375 * side, 0.03, 0.05, 0.1), -0.06), shade(who.skin, -0.12))
        canvas.soft(at_depth(ellipse(0.38 * side, 0.03, 0.02, 0.06), -0.05), dark, 0.6, 0.015)
    edge = face_outline(who, canvas.motion)
    canvas.fill(edge, who.skin)

    def light(inner: Canvas) -> None:
        inner.soft(at_depth(ellipse(0.37, 0.1, 0.13, 0.6), 0.1), dark, 0.65, 0.08)
        inner.soft(at_depth(ellipse(0.0, 0.6, 0.45, 0.13), 0.2), dark, 0.45, 0.06)
        inner.soft(at_depth(ellipse(0.0, -0.46, 0.4, 0.13), 0.1), dark, 0.5, 0.07)
        inner.soft(on_face(ellipse(-0.14, -0.27, 0.13, 0.08)), shade(who.skin, 0.5), 0.45, 0.06)
        for side in (-1, 1):
            inner.soft(on_face(ellipse(0.21 * side, 0.14, 0.08, 0.06)), who.lips, 0.33, 0.05)
            inner.soft(on_face(ellipse(0.15 * side, -0.045, 0.1, 0.06)), dark, 0.38, 0.03)
        inner.soft(on_face(ellipse(-0.2, 0.09, 0.06, 0.035)), shade(who.skin, 0.6), 0.4, 0.035)
        inner.soft(on_face(ellipse(-0.03, 0.43, 0.06, 0.03)), shade(who.skin, 0.5), 0.3, 0.03)

    canvas.within(edge, light)


def draw_eye(canvas: Canvas, who: Identity, side: int) -> None:
    """One eye with its lids, lashes and brow; `side` -1 is on the picture's left."""
    motion, centre, height = canvas.motion, 0.16 * side, -0.045
    t = np.linspace(-1, 1, 25)
    arch = np.sqrt(np.clip(1 - t**2, 0, 1)) * (1 - 0.2 * t * side)
    x, tilt = centre + 0.082 * t, height - 0.012 * t * side
    low = tilt + 0.026 * arch
    upper = tilt + (-0.047 * (1 - motion.blink) + 0.022 * motion.blink) * arch
    lid, under = np.stack([x, upper], 1), np.stack([x, low], 1)

    def ball(inner: Canvas) -> None:
        look = (centre + 0.025 * motion.gaze, height - 0.006)
        inner.fill(on_face(np.vstack([lid, under[::-1]])), (240, 236, 232))
        inner.fill(on_face(ellipse(*look, 0.043, 0.043)), shade(who.iris, -0.5))
        inner.fill(on_face(ellipse(*look, 0.036, 0.036)), who.iris)
        inner.fill(on_face(ellipse(*look, 0.018, 0.018)), (14, 12, 14))
        inner.soft(on_face(lid), (20, 14, 14), 0.5, 0.012)
        inner.fill(on_face(ellipse(look[0] - 0.014, look[1] - 0.016, 0.009, 0.009)), WHITE)

    canvas.within(on_face(np.vstack([lid, under[::-1]])), ball)
    canvas.line(on_face(under), shade(who.skin, -0.3), 0.006)
    canvas.line(on_face(lid), shade(who.hair, -0.75), 0.02 if who.long_hair else 0.014)
    crease = np.stack([x, np.minimum(upper, tilt - 0.02) - 0.02 * (arch + 0.2)], 1)
    canvas.line(on_face(crease[2:-2]), shade(who.skin, -0.35), 0.006)
    raised = height - 0.105 - 0.04 * motion.brow
    spine = curve([(centre + x * side, raised + y) for x, y in ((-0.1, 0.015), (0.02, -0.02), (0.115, 0.02))])
    thickness = 0.02 * who.brows * np.linspace(1, 0.25, len(spine))[:, None] * np.array([0, 1])
    brow = np.vstack([spine - thickness, (spine + thickness)[::-1]])
    canvas.soft(on_face(brow), shade(who.hair, -0.4), 0.95, 0.008)


def draw_nose(canvas: Canvas, who: Identity) -> None:
    """The ridge by its light and its shade, the tip well before the face."""
    dark, light = shade(who.skin, -0.5), shade(who.skin, 0.6)
    canvas.soft(at_depth(np.array([[0.03, -0.06], [0.06, 0.12], [0.015, 0.13], [0.012, -0.06]]), 0.4), dark, 0.5, 0.02)
    canvas.soft(at_depth(ellipse(0.0, 0.165, 0.085, 0.025), 0.38), dark, 0.6, 0.02)
    canvas.soft(at_depth(ellipse(-0.012, 0.02, 0.013, 0.12), 0.43), light, 0.5, 0.015)
    canvas.soft(at_depth(ellipse(-0.012, 0.115, 0.026, 0.022), 0.45), light, 0.6, 0.014)
    for side in (-1, 1):
        wing = curve([(0.05 * side, 0.095), (0.075 * side, 0.13), (0.062 * side, 0.162)])
        canvas.line(at_depth(wing, 0.38), shade(who.skin, -0.3), 0.007)
        canvas.soft(at_depth(ellipse(0.035 * side, 0.163, 0.021, 0.009), 0.42), shade(who.skin, -0.8), 0.95, 0.005)


def draw_mouth(canvas: Canvas, who: Identity) -> None:
    """Lips around an opening that shows teeth and tongue."""
    motion = canvas.motion
    t = np.linspace(-1, 1, 33)
    arch, x = 1 - t**2, 0.125 * (1 + 0.22 * motion.smile - 0.12 * motion.mouth) * t
    corner = 0.29 + 0.03 * motion.mouth - 0.028 * (0.35 + motion.smile) * t**2
    bow = 1 - 0.35 * np.exp(-((t / 0.17) ** 2))
    top, bottom = corner - 0.012 * motion.mouth * arch, corner + (0.004 + 0.1 * motion.mouth) * arch
    over, beneath = top - 0.037 * arch**0.8 * bow, bottom + 0.05 * arch**0.8
    upper = np.vstack([np.stack([x, over], 1), np.stack([x, top], 1)[::-1]])
    lower = np.vstack([np.stack([x, bottom], 1), np.stack([x, beneath], 1)[::-1]])
    opening = np.vstack([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])

    def inside(inner: Canvas) -> None:
        inner.fill(on_face(opening), THROAT)
        inner.fill(on_face(ellipse(0, float(bottom[16]), 0.07, 0.035)), (176, 78, 84))
        inner.line(on_face(np.stack([x, top + 0.006], 1)), (238, 234, 228), 0.03)

    canvas.soft(on_face(ellipse(0, float(beneath[16]) + 0.022, 0.07, 0.014)), shade(who.skin, -0.5), 0.5, 0.018)
    canvas.fill(on_face(upper), shade(who.lips, -0.18))
    canvas.fill(on_face(lower), who.lips)
    canvas.within(on_face(opening), inside)
    canvas.line(on_face(np.stack([x, top], 1)), shade(who.lips, -0.6), 0.008)
    canvas.soft(on_face(ellipse(-0.02, float(bottom[16]) + 0.024, 0.04, 0.008)), shade(who.lips, 0.6), 0.5, 0.01)


def draw_back_hair(canvas: Canvas, who: Identity) -> None:
    """What hangs or bulges behind the head."""
    short = [(0, -0.62), (0.25, -0.57), (0.41, -0.36), (0.425, -0.1), (0.4, 0.08), (0.3, 0.16)]
    long = [(0, -0.63), (0.27, -0.58), (0.45, -0.36), (0.5, -0.05), (0.5, 0.3), (0.53, 0.58), (0.44, 0.82)]
    long += [(0.25, 0.86)]
    shape = at_depth(curve(mirrored(long if who.long_hair else short), closed=True), -0.12)
    canvas.fill(shape, shade(who.hair, -0.3))
    canvas.soft(at_depth(ellipse(0.4, 0.25, 0.1, 0.5), -0.12), shade(who.hair, -0.7), 0.5 * who.long_hair, 0.08)


def draw_front_hair(canvas: Canvas, who: Identity) -> None:
    """The hair before the forehead, with a parting on the picture's left, and its sheen."""
    if who.long_hair:
        outer = [(-0.475, 0.32), (-0.475, 0.0), (-0.43, -0.34), (-0.25, -0.58), (0.0, -0.635), (0.25, -0.58)]
        outer += [(0.43, -0.34), (0.475, 0.0), (0.475, 0.32), (0.435, 0.4), (0.4, 0.33)]
        inner = [(0.385, 0.12), (0.35, -0.12), (0.22, -0.3), (0.02, -0.4), (-0.12, -0.46), (-0.24, -0.36)]
        inner += [(-0.34, -0.18), (-0.385, 0.12), (-0.4, 0.33), (-0.435, 0.4)]
    else:
        outer = [(-0.385, 0.0), (-0.42, -0.25), (-0.36, -0.47), (-0.2, -0.61), (0.03, -0.65), (0.26, -0.59)]
        outer += [(0.4, -0.4), (0.42, -0.2), (0.385, 0.0)]
        inner = [(0.355, -0.14), (0.33, -0.28), (0.2, -0.37), (0.0, -0.4), (-0.16, -0.38), (-0.27, -0.33)]
        inner += [(-0.34, -0.24)]
    shape = at_depth(curve(outer + inner, closed=True), 0.1)
    canvas.soft(shape + np.array([0.01, 0.03, 0]), shade(who.skin, -0.7), 0.5, 0.03)
    canvas.fill(shape, who.hair)

    def sheen(inside: Canvas) -> None:
        inside.soft(at_depth(ellipse(0.42, -0.1, 0.12, 0.5), 0.1), shade(who.hair, -0.6), 0.6, 0.06)
        rim, fringe = evenly(curve(outer)), evenly(curve(inner))[::-1]
        for part in np.linspace(0.1, 0.9, 9):
            strand = (1 - part) * rim + part * fringe
            inside.line(at_depth(strand, 0.1), shade(who.hair, 0.07 * np.cos(9 * part)), 0.014)
        inside.soft(at_depth(ellipse(-0.17, -0.5, 0.15, 0.035), 0.14), shade(who.hair, 0.45), 0.5, 0.035)

    canvas.within(shape, sheen)
