"""Draws a person in the fine style: the same head and motion, with hairs, lids, teeth, jewels, hats and scenes."""

from __future__ import annotations

import numpy as np

from ..media.picture import Picture
from .body import draw_body
from .canvas import Canvas, FaceMotion, Points, ellipse, view_of
from .face import draw_beard, draw_ear, draw_glasses, draw_nose, draw_skin, dusk, mixed, shade
from .fine_dress import draw_brim, draw_earring, draw_hat, draw_necklace, draw_weave
from .fine_eyes import draw_fine_brow, draw_fine_eye
from .fine_hair import draw_cap_strands, draw_curtain_strands, draw_falling_hair, draw_strays, draw_whiskers
from .fine_hands import draw_hand
from .fine_mouth import draw_fine_mouth
from .fine_scene import light_over, scene
from .finery import Finery, finery, scattered
from .hair import COVERED_EARS, HANGING, curtain, draw_back_hair, draw_front_hair, skin_patch
from .hands import Hand, resting_hand
from .head import Head, Identity, facing, head_of, ring_points
from .person import EAR_SHOWS, OVERSAMPLING

FRECKLES = 70
RIM_FADES = 0.35  # radians of head turn towards the light from which the cheek's edge is not lit


def draw_fine_portrait(who: Identity, motion: FaceMotion, size: int, hands: tuple[Hand, ...] = ()) -> Picture:
    """The portrait in the fine style as [size, size, 3] uint8, with `hands` before it.

    The same arguments give the same picture.
    """
    import cv2

    side = size * OVERSAMPLING
    canvas = Canvas(scene(who, side).copy(), view_of(motion))
    draw_fine_person(canvas, who, motion)
    for hand in hands:
        draw_hand(canvas, who, motion, hand)
    lit = cv2.multiply(canvas.image, light_over(who, side), dtype=cv2.CV_8U)
    return np.asarray(cv2.resize(lit, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def draw_fine_person(canvas: Canvas, who: Identity, motion: FaceMotion) -> None:
    """Draws the person on `canvas`, in place, from back to front."""
    head, fine = head_of(who, motion), finery(who)
    hair, details, clothes = canvas.on("hair"), canvas.on("details"), canvas.on("clothes")
    if fine.hat == "brimmed":
        draw_brim(clothes, head, fine, front=False)
    draw_back_hair(hair, head)
    draw_falling_hair(hair, head)
    draw_strays(hair, head)
    draw_body(canvas, head, motion, lambda inner, on_body: draw_weave(inner, who, fine, on_body))
    if fine.necklace:
        draw_necklace(details, fine, motion)
    ears = () if who.style in COVERED_EARS else (-1, 1)
    for side in ears:
        draw_jewelled_ear(canvas, head, fine, side)
    draw_fine_face(canvas, head, motion, fine)
    draw_front_hair(hair, head)
    draw_cap_strands(hair, head)
    if who.style in HANGING:
        for side in (-1, 1):
            inner, outer = curtain(canvas, head, side)
            draw_curtain_strands(hair, who, inner, outer, side)
    for side in ears:
        if facing(canvas.view) * side > EAR_SHOWS:
            draw_jewelled_ear(canvas, head, fine, side)
    draw_before(canvas, head, motion, fine)


def draw_before(canvas: Canvas, head: Head, motion: FaceMotion, fine: Finery) -> None:
    """Draws what is before the head: hat, glasses and a hand at the jaw."""
    who = head.who
    if fine.hat != "none":
        draw_hat(canvas.on("clothes"), head, fine)
    if who.glasses != "none":
        draw_glasses(canvas.on("details"), head)
    if fine.resting:
        draw_hand(canvas, who, motion, resting_hand(who, fine.resting, motion))


def draw_jewelled_ear(canvas: Canvas, head: Head, fine: Finery, side: int) -> None:
    draw_ear(canvas.on("skin"), head, side)
    if fine.earrings != "none":
        draw_earring(canvas.on("details"), head, fine, side)


def draw_fine_face(canvas: Canvas, head: Head, motion: FaceMotion, fine: Finery) -> None:
    """Draws the skin and the features on it."""
    who, skin, details = head.who, canvas.on("skin"), canvas.on("details")
    face = canvas.outline(ring_points(head.rings))

    def paint_skin(inner: Canvas) -> None:
        draw_skin(inner, head, face)
        draw_marks(inner, head, fine)

    if who.style == "bald":
        skin.within(face, paint_skin)
        shine = head.around(facing(canvas.view) + np.linspace(-0.3, 0.1, 9), np.full(9, -0.42), 0.0)
        skin.soft(np.vstack([shine, shine[::-1] + np.array([0, 0.04, 0])]), shade(who.skin, 0.6), 0.4, 0.025)
    else:
        skin.within(skin_patch(canvas, head), paint_skin)
    if who.beard > 0:
        draw_beard(details, head, motion, face)
        draw_whiskers(details, head, motion, face)
    for side in (-1, 1):
        draw_fine_eye(canvas, head, motion, fine, side)
        draw_fine_brow(details, head, motion, side)
    draw_fine_mouth(canvas, head, motion)
    draw_nose(skin, head)


def draw_marks(canvas: Canvas, head: Head, fine: Finery) -> None:
    """Draws freckles, a mole, and the light on the edges of the face."""
    who = head.who
    tan = mixed(who.skin, (150, 84, 50), 0.42)
    for x, y, tone, size in scattered(who.pattern, "freckles", FRECKLES, 4)[: int(FRECKLES * fine.freckles)]:
        place: Points = ellipse(0.5 * (x - 0.5), 0.02 + 0.17 * y, 0.004 + 0.005 * size, 0.004 + 0.004 * size)
        canvas.fill(head.on(place), mixed(tan, who.skin, 0.5 * tone))
    if fine.mole:
        canvas.fill(head.on(ellipse(*fine.mole, 0.009, 0.009)), shade(dusk(who.skin), -0.2))
    lit = 1 if who.light > 0 else -1
    turn = facing(canvas.view) * lit
    if turn < RIM_FADES:  # else it would lie on the cheek like a scar
        rim = head.around(np.full(9, (turn + 1.3) * lit), np.linspace(-0.15, 0.3, 9), 0.0)
        shine = 0.4 * min(1.0, 1 - turn / RIM_FADES)
        canvas.soft(np.vstack([rim, rim[::-1] - np.array([0.02 * lit, 0, 0])]), shade(who.skin, 0.5), shine, 0.022)
