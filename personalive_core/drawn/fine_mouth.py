"""Draws the mouth of the fine style: teeth with their gaps, gums, tongue, and lips with light and folds."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, FaceMotion, Points, curve, ellipse
from .face import TEETH, THROAT, TONGUE, dusk, mixed, shade
from .head import Head, Mouth, mouth_of

UPPER_TEETH, LOWER_TEETH = 10, 9
TOOTH, LOWER_SHOWN = 0.034, 0.45  # height of the upper teeth; mouth opening from which the lower ones show
FOLDS = 11  # fine lines on each lip


def draw_fine_mouth(canvas: Canvas, head: Head, motion: FaceMotion) -> None:
    """Draws the lips; an open mouth shows teeth, gums and tongue."""
    who, mouth = head.who, mouth_of(head.who, motion)
    details, lips, lift, middle = canvas.on("details"), head.who.lips, mouth.lift, len(mouth.top) // 2
    skin, (x, low) = canvas.on("skin"), (float(n) for n in mouth.beneath[middle])
    skin.soft(head.on(ellipse(x, low + 0.024, 0.07, 0.014)), dusk(who.skin), 0.5, 0.018)
    skin.soft(head.on(ellipse(0.0, 0.205, 0.014, 0.03)), dusk(who.skin), 0.25, 0.012)  # under the nose
    for cheek in (-1, 1):
        fold = [(0.085, 0.16), (0.15 + 0.02 * motion.smile, 0.22), (0.165 + 0.02 * motion.smile, 0.29)]
        line = curve([(x * cheek, y) for x, y in fold])
        depth = 0.18 + 0.34 * max(0.0, motion.smile)
        skin.soft(head.on(np.vstack([line, line[::-1] + 0.008])), dusk(who.skin), depth, 0.012)
        corner = mouth.top[-1 if cheek > 0 else 0]
        skin.soft(head.on(ellipse(corner[0] + 0.006 * cheek, corner[1], 0.012, 0.012)), dusk(who.skin), 0.6, 0.008)
    upper, lower = np.vstack([mouth.over, mouth.top[::-1]]), np.vstack([mouth.bottom, mouth.beneath[::-1]])
    details.fill(head.on(upper, lift), shade(lips, -0.18))
    details.fill(head.on(lower, lift), lips)
    if motion.mouth > 0:
        details.within(head.on(mouth.opening, lift), lambda inner: draw_inside(inner, head, mouth, motion))
    details.within(head.on(upper, lift), lambda inner: draw_folds(inner, head, (mouth.over, mouth.top), lift))
    details.within(head.on(lower, lift), lambda inner: draw_folds(inner, head, (mouth.bottom, mouth.beneath), lift))
    details.line(head.on(mouth.top, lift), shade(lips, -0.6), 0.006)
    if motion.mouth > 0:
        details.line(head.on(mouth.bottom[1:-1], lift), shade(lips, -0.4), 0.004)
    sheen = ellipse(x - 0.02, float(mouth.bottom[middle, 1] + low) / 2 - 0.003, 0.042, 0.007)
    details.soft(head.on(sheen, lift), shade(lips, 0.65), 0.6, 0.009)
    bow = ellipse(x - 0.012, float(mouth.over[middle, 1]) + 0.006, 0.022, 0.004)
    details.soft(head.on(bow, lift), shade(lips, 0.5), 0.4, 0.006)


def draw_folds(canvas: Canvas, head: Head, edges: tuple[Points, Points], lift: float) -> None:
    """Draws the fine lines of a lip between its `edges`, and its darker ends."""
    lips, (above, below) = head.who.lips, edges
    for end in (0, -1):
        x, y = (above[end] + below[end]) / 2
        canvas.soft(head.on(ellipse(x, y, 0.03, 0.02), lift), shade(lips, -0.45), 0.6, 0.012)
    for number in np.linspace(3, len(above) - 4, FOLDS).round().astype(int):
        line = np.stack([above[number], 0.35 * above[number] + 0.65 * below[number]])
        canvas.line(head.on(line, lift), mixed(lips, shade(lips, -0.35), 0.5), 0.002)


def draw_inside(canvas: Canvas, head: Head, mouth: Mouth, motion: FaceMotion) -> None:
    """Draws the inside of an open mouth."""
    middle, lift = len(mouth.top) // 2, mouth.lift
    x, low = mouth.bottom[middle]
    canvas.fill(head.on(mouth.opening, lift), THROAT)
    canvas.fill(head.on(ellipse(x, low + 0.008, 0.068, 0.042), lift), shade(TONGUE, -0.1))
    canvas.soft(head.on(ellipse(x - 0.01, low - 0.006, 0.04, 0.014), lift), shade(TONGUE, 0.4), 0.6, 0.012)
    if motion.mouth > LOWER_SHOWN:
        draw_row(canvas, head, mouth.bottom + np.array([0, -0.018]), (0.02, LOWER_TEETH), lift)
    draw_row(canvas, head, mouth.top + np.array([0, -0.006]), (TOOTH, UPPER_TEETH), lift)
    for end in (0, -1):
        x, y = mouth.top[end]
        canvas.soft(head.on(ellipse(x, y + 0.02, 0.032, 0.05), lift), THROAT, 0.85, 0.016)
    edge = np.vstack([mouth.top, mouth.top[::-1] + np.array([0, 0.006])])
    canvas.soft(head.on(edge, lift), THROAT, 0.6, 0.006)


def draw_row(canvas: Canvas, head: Head, line: Points, row: tuple[float, int], lift: float) -> None:
    """Draws a row of teeth that hang from `line` [N, 2]: `row` is their height and number."""
    (tall, count), middle = row, len(line) // 2
    x, _ = line[middle]
    share = np.clip((line[:, 0] - x) / 0.09, -1, 1)
    length = tall * (1 - 0.3 * share**2)
    ends = line + np.stack([0 * length, length], 1)
    canvas.fill(head.on(np.vstack([line, ends[::-1]]), lift), TEETH)
    canvas.soft(head.on(np.vstack([line, line[::-1] + np.array([0, 0.008])]), lift), (206, 132, 128), 0.6, 0.004)
    for place in np.sin(np.linspace(-1.25, 1.25, count + 1)) * 0.088:
        top = np.array([x + place, np.interp(x + place, line[:, 0], line[:, 1])])
        gap = np.stack([top, top + np.array([0, np.interp(x + place, line[:, 0], length) * 0.95])])
        canvas.line(head.on(gap, lift), shade(TEETH, -0.2), 0.003)
