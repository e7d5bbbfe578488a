"""Draws a person from polygons: a softly lit portrait with a head pose and an expression."""

from __future__ import annotations

import numpy as np

from ..media.picture import Picture
from .body import backdrop, draw_body
from .canvas import Canvas, FaceMotion, view_of
from .face import draw_beard, draw_brow, draw_ear, draw_eye, draw_glasses, draw_mouth, draw_nose, draw_skin
from .hair import COVERED_EARS, draw_back_hair, draw_front_hair, skin_patch
from .head import Identity, facing, head_of, ring_points

OVERSAMPLING = 2  # factor by which pictures are drawn larger and then reduced, for smooth edges
EAR_SHOWS = 0.12  # radians of head turn beyond which the nearer ear is drawn in front of the face


def draw_portrait(who: Identity, motion: FaceMotion, size: int) -> Picture:
    """The portrait as [size, size, 3] uint8; the same arguments give the same picture."""
    import cv2

    canvas = Canvas(backdrop(who, size * OVERSAMPLING).copy(), view_of(motion))
    draw_person(canvas, who, motion)
    return np.asarray(cv2.resize(canvas.image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def draw_person(canvas: Canvas, who: Identity, motion: FaceMotion) -> None:
    """Draws the person on `canvas`, in place, from back to front."""
    head = head_of(who, motion)
    skin, hair, details = canvas.on("skin"), canvas.on("hair"), canvas.on("details")
    draw_back_hair(hair, head)
    draw_body(canvas, head, motion)
    turned = facing(canvas.view)
    ears = () if who.style in COVERED_EARS else (-1, 1)
    for side in ears:
        draw_ear(skin, head, side)
    face = canvas.outline(ring_points(head.rings))
    if who.style == "bald":
        draw_skin(skin, head, face)
    else:
        skin.within(skin_patch(canvas, head), lambda inner: draw_skin(inner, head, face))
    if who.beard > 0:
        draw_beard(details, head, motion, face)
    for side in (-1, 1):
        draw_eye(canvas, head, motion, side)
        draw_brow(details, head, motion, side)
    draw_mouth(canvas, head, motion)
    draw_nose(skin, head)
    draw_front_hair(hair, head)
    for side in ears:
        if turned * side > EAR_SHOWS:
            draw_ear(skin, head, side)
    if who.glasses != "none":
        draw_glasses(details, head)
