"""Draws the parts of a head: skin with light and shade, eyes, brows, nose, mouth, beard, glasses and ears."""

from __future__ import annotations

import numpy as np

from ..media.chart import Colour
from .canvas import Ball, Canvas, FaceMotion, Points, curve, ellipse
from .head import Head, Identity, brow_of, eye_of, facing, mouth_of, nose_of

WHITE: Colour = (255, 255, 255)
THROAT: Colour = (58, 18, 22)
TEETH: Colour = (236, 230, 220)
TONGUE: Colour = (172, 80, 84)
PUPIL: Colour = (14, 12, 14)
PALE_HAIR = 420  # sum of the hair colour's channels from which brows are mixed with skin, to look sparse
TEMPLE_SHOWS = 0.1  # radians of head turn beyond which one temple of the glasses is not drawn
SKULL = Ball((0.0, 0.0, -0.06), (0.4, 0.56, 0.44))


def shade(colour: Colour, amount: float) -> Colour:
    """Blends `colour` with black (amount < 0) or white (amount > 0); -1 gives black, 1 white."""
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(value + abs(amount) * (goal - value)) for value in colour)
    return red, green, blue


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """Blends `one` with a `share` (0 .. 1) of `other`."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(one, other, strict=True))
    return red, green, blue


def dusk(skin: Colour) -> Colour:
    """The colour of shadows on skin: darker, and redder."""
    return round(skin[0] * 0.55), round(skin[1] * 0.42), round(skin[2] * 0.38)


def source(who: Identity) -> tuple[float, float, float]:
    """Direction to the light: x right, y down, z towards the viewer; not normalised."""
    return 0.75 * who.light, -0.55, 0.9


def draw_ear(canvas: Canvas, head: Head, side: int) -> None:
    """Draws one ear; `side` -1 is on the picture's left."""
    skin = head.who.skin
    middle = head.around(np.array([side * 1.66]), np.array([0.015]), -0.015)[0]
    out = np.array([0.45 * side, 0, -0.9])
    rim = curve([(-0.045, -0.06), (0.01, -0.105), (0.07, -0.08), (0.06, 0.01), (0.02, 0.09), (-0.03, 0.095)], True)
    ear = middle + rim[:, :1] * out + rim[:, 1:] * np.array([0, 1, 0])
    canvas.fill(ear, shade(skin, -0.1))
    hollow = middle + 0.5 * (ear - middle) + np.array([0.012 * side, -0.01, 0])
    canvas.soft(hollow, dusk(skin), 0.6, 0.012)


def draw_skin(canvas: Canvas, head: Head, face: Points) -> None:
    """Draws the face's skin, with light and shade, inside the outline `face` [N, 2]."""
    who = head.who
    canvas.fill(face, who.skin)

    def light(inner: Canvas) -> None:
        inner.light(face, SKULL, source(who), 0.95)
        dark, away = dusk(who.skin), 1 if who.light <= 0 else -1
        inner.soft(head.on(ellipse(0.0, 0.52, 0.3, 0.07)), dark, 0.5, 0.06)
        inner.soft(head.on(ellipse(0.29 * away, 0.22, 0.06, 0.16)), dark, 0.35, 0.06)
        inner.soft(head.on(ellipse(-0.1 * away, -0.25, 0.13, 0.07)), shade(who.skin, 0.55), 0.35, 0.07)
        for side in (-1, 1):
            inner.soft(head.on(ellipse(0.21 * side, 0.13, 0.075, 0.055)), who.lips, 0.26, 0.05)
            inner.soft(head.on(ellipse(0.15 * side * who.eye_gap, -0.05, 0.105, 0.055)), dark, 0.36, 0.03)
        inner.soft(head.on(ellipse(-0.2 * away, 0.07, 0.06, 0.03)), shade(who.skin, 0.6), 0.35, 0.04)
        inner.soft(head.on(ellipse(-0.02 * away, 0.445, 0.05, 0.025)), shade(who.skin, 0.5), 0.25, 0.03)

    canvas.within(face, light)


def draw_beard(canvas: Canvas, head: Head, motion: FaceMotion, face: Points) -> None:
    """Draws beard and moustache; the person's `beard` sets how dense they look."""
    who, mouth = head.who, mouth_of(head.who, motion)
    middle = 0.55 * float(mouth.top[12, 1] + mouth.bottom[12, 1]) - 0.1 * 0.29
    low = 0.6 + 0.06 * motion.mouth
    half = [(0.375, 0.06), (0.335, 0.2), (0.22, 0.235), (0.12, 0.215), (0.03, 0.2)]
    edge = [*half, *((-x, y) for x, y in reversed(half)), (-0.33, 0.45), (0.0, low), (0.33, 0.45)]
    whiskers = mixed(who.hair, who.skin, 0.45 * (1 - who.beard))
    shape = head.on(curve(edge, closed=True))

    def grow(inner: Canvas) -> None:
        inner.soft(shape, whiskers, 0.25 + 0.7 * who.beard, 0.035)
        inner.soft(head.on(ellipse(0.0, middle, 0.1, 0.05)), who.skin, 0.35, 0.03)

    canvas.within(face, grow)


def draw_eye(canvas: Canvas, head: Head, motion: FaceMotion, side: int) -> None:
    """Draws one eye with its lids and lashes; `side` -1 is on the picture's left."""
    who, eye = head.who, eye_of(head.who, motion, side)
    opening, (x, y), radius = head.on(eye.opening), eye.look, eye.radius
    skin, details = canvas.on("skin"), canvas.on("details")

    def ball(inner: Canvas) -> None:
        inner.fill(opening, (232, 226, 220))
        inner.fill(head.on(ellipse(x, y, radius, radius)), shade(who.iris, -0.55))
        inner.fill(head.on(ellipse(x, y, 0.84 * radius, 0.84 * radius)), who.iris)
        inner.fill(head.on(ellipse(x, y, 0.46 * radius, 0.46 * radius)), PUPIL)
        inner.soft(head.on(eye.upper - np.array([0, 0.004])), (24, 16, 16), 0.5, 0.014)
        glint = (x + 0.36 * radius * (1 if who.light > 0 else -1), y - 0.4 * radius)
        inner.fill(head.on(ellipse(*glint, 0.24 * radius, 0.24 * radius)), WHITE)

    if motion.blink[side > 0] < 1:
        details.within(opening, ball)
    details.line(head.on(eye.under), shade(who.skin, -0.3), 0.006)
    details.line(head.on(eye.upper), mixed(shade(who.hair, -0.7), PUPIL, 0.5), 0.009 + 0.007 * who.lashes)
    skin.line(head.on(eye.crease[2:-2]), dusk(who.skin), 0.005)


def draw_brow(canvas: Canvas, head: Head, motion: FaceMotion, side: int) -> None:
    who, spine = head.who, brow_of(head.who, motion, side)
    thick = 0.017 * who.brows * np.linspace(1, 0.3, len(spine))[:, None] * np.array([0, 1])
    shape = head.on(np.vstack([spine - thick, (spine + thick)[::-1]]))
    colour = shade(who.hair, -0.35) if sum(who.hair) < PALE_HAIR else mixed(shade(who.hair, -0.4), who.skin, 0.25)
    canvas.soft(shape, colour, 0.95, 0.007)


def draw_nose(canvas: Canvas, head: Head) -> None:
    """Draws the nose in relief: when the head turns, its far side covers the cheek."""
    who, nose, view = head.who, nose_of(head), canvas.view
    skin, dark, away = head.who.skin, dusk(head.who.skin), 1 if head.who.light <= 0 else -1
    turn = facing(view)
    for wing, side in zip(nose.wings, (-1, 1), strict=True):
        body = np.vstack([nose.bridge, wing[::-1]])
        strength = (0.34 if side == away else 0.1) + 0.25 * max(0.0, -np.sin(turn) * side)
        canvas.soft(body, dark if side == away or side * turn < 0 else shade(skin, 0.2), strength, 0.016)
    ridge = nose.bridge + np.array([-0.008 * away, 0, 0])
    canvas.soft(np.vstack([ridge, ridge[::-1] + np.array([0.022, 0, 0])]), shade(skin, 0.45), 0.4, 0.014)
    x, y, z = nose.tip
    ball = ellipse(x - 0.012 * away, y - 0.02, 0.024 * who.nose, 0.02 * who.nose)
    canvas.soft(np.column_stack([ball, np.full(len(ball), z)]), shade(skin, 0.65), 0.5, 0.013)
    canvas.soft(np.vstack([nose.wings[0][-6:], nose.base[None], nose.wings[1][-6:][::-1]]), dark, 0.6, 0.012)
    for wing, side in zip(nose.wings, (-1, 1), strict=True):
        canvas.line(wing[3:], mixed(dark, skin, 0.25), 0.007)
        hole = ellipse(wing[-1, 0] - 0.02 * side, wing[-1, 1] - 0.002, 0.02, 0.0085)
        canvas.soft(np.column_stack([hole, np.full(len(hole), wing[-1, 2] + 0.02)]), shade(dark, -0.6), 0.9, 0.005)


def draw_mouth(canvas: Canvas, head: Head, motion: FaceMotion) -> None:
    """Draws the lips; an open mouth shows teeth and tongue."""
    who, mouth = head.who, mouth_of(head.who, motion)
    details, lips, lift = canvas.on("details"), head.who.lips, mouth.lift
    opening, middle = head.on(mouth.opening, lift), len(mouth.top) // 2

    def inside(inner: Canvas) -> None:
        x, low = mouth.bottom[middle]
        inner.fill(opening, THROAT)
        inner.fill(head.on(ellipse(x, low, 0.07, 0.038), lift), TONGUE)
        inner.line(head.on(mouth.top + np.array([0, 0.008]), lift), TEETH, 0.034)

    x, low = mouth.beneath[middle]
    canvas.on("skin").soft(head.on(ellipse(x, low + 0.022, 0.07, 0.013)), dusk(who.skin), 0.45, 0.018)
    for cheek in (-1, 1):
        fold = [(0.085, 0.16), (0.15 + 0.02 * motion.smile, 0.22), (0.165 + 0.02 * motion.smile, 0.29)]
        depth = 0.18 + 0.3 * max(0.0, motion.smile)
        line = curve([(x * cheek, y) for x, y in fold])
        canvas.on("skin").soft(head.on(np.vstack([line, line[::-1] + 0.008])), dusk(who.skin), depth, 0.012)
    details.fill(head.on(np.vstack([mouth.over, mouth.top[::-1]]), lift), shade(lips, -0.16))
    details.fill(head.on(np.vstack([mouth.bottom, mouth.beneath[::-1]]), lift), lips)
    if motion.mouth > 0:
        details.within(opening, inside)
    details.line(head.on(mouth.top, lift), shade(lips, -0.55), 0.007)
    sheen = ellipse(float(mouth.beneath[middle, 0]) - 0.02, float(mouth.bottom[middle, 1]) + 0.02, 0.035, 0.007)
    details.soft(head.on(sheen, lift), shade(lips, 0.6), 0.45, 0.01)


def draw_glasses(canvas: Canvas, head: Head) -> None:
    who = head.who
    for side in (-1, 1):
        x, y = 0.165 * side * who.eye_gap, -0.03
        if who.glasses == "round":
            rim = ellipse(x, y, 0.115, 0.108)
        else:
            corners = [(-0.12, -0.07), (0, -0.08), (0.12, -0.075), (0.115, 0.05), (0.08, 0.085), (-0.08, 0.085)]
            rim = curve([(x + a * side, y + b) for a, b in [*corners, (-0.11, 0.05)]], closed=True)
            rim = np.vstack([rim, rim[:1]])
        flat = head.on(rim)
        flat[:, 2] = 0.36 - 0.35 * np.abs(flat[:, 0]) ** 1.5
        canvas.line(flat, who.frame, 0.014)
        temple = flat[np.argmax(flat[:, 0] * side)] + np.array([0, -0.02, 0])
        ear = np.array([0.385 * side * who.face_width, -0.06, -0.05])
        if facing(canvas.view) * side <= TEMPLE_SHOWS:
            canvas.line(np.stack([temple, ear]), who.frame, 0.014)
    bridge = np.array([[-0.055 * who.eye_gap, -0.045, 0.36], [0, -0.065, 0.375], [0.055 * who.eye_gap, -0.045, 0.36]])
    canvas.line(curve(bridge), who.frame, 0.013)
