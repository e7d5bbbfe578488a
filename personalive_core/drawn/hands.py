"""Hands before the face: when they come in a film, where they are, and which features they hide.

A hand that crosses is no part of the driving signal: neither keypoints nor expression tell of it. In a training target
it would be noise, which a model learns as a skin-coloured blur before every mouth. So hands cross in the pictures of
actors alone, from which motion is read, and there in a path of the clip: what they hide is not asked for. In targets
is only the hand that rests at the jaw of a few people (`Finery.resting`): it is there in all their pictures, follows
the head, and the reference shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .body import body_frame
from .canvas import Canvas, FaceMotion, Points, curve, view_of
from .head import Identity
from .motion import likely

HANDED = 0.5  # share of the films in which hands come at all
GAP_SECONDS, RISE_SECONDS, HOLD_SECONDS = 2.2, 0.4, 0.7  # means: until a hand comes, of its way, of its stay
BOTH_HANDS, SWEEPS, PALMS = 0.15, 0.25, 0.3  # shares of the crossings: two hands, from side to side, palm to the viewer
BELOW = np.array([0.6, 1.75])  # where a hand rests, out of the picture: on its side of the scene, down
ELBOW = np.array([0.85, 1.25])  # from the base of the neck, in units of the shoulders
MAKES_WAY = 0.45  # head units that a resting hand moves outwards for a face that turns by a right angle
BEFORE = 0.3  # head units from the head's axis to a hand before the face
COVER_SIDE = 128  # pixels a side of the picture in which hidden landmarks are looked up
# of the little finger and on to the index: root in hand units (thumb at positive x), length, half width, lean
FINGERS = (
    (-0.134, -0.12, 0.27, 0.036, -1.5), (-0.047, -0.16, 0.35, 0.041, -0.5), (0.045, -0.17, 0.38, 0.043, 0.5),
    (0.134, -0.15, 0.34, 0.042, 1.5),
)  # fmt: skip
HAND_UNIT = 1.1  # units of the scene per hand unit, at the head's scale 1
LEAN = 9.0  # degrees between spread fingers
PALM = ((-0.115, 0.3), (-0.13, 0.22), (-0.178, 0.06), (-0.172, -0.13), (0.0, -0.19), (0.174, -0.16), (0.18, 0.0),
        (0.165, 0.14), (0.125, 0.24), (0.112, 0.3))  # fmt: skip
THUMB_LINE = ((0.1, 0.16), (0.2, 0.06), (0.27, -0.07), (0.3, -0.17))  # its middle line when it is spread
ARM = (0, 0.6, 0.85, 1), (0.16, 0.135, 0.107, 0.11)  # shares of the forearm's length, and its half widths there
WRIST = 0.27  # from the middle of the palm


@dataclass(frozen=True)
class Hand:
    """One hand in one frame."""

    side: int  # -1: it comes from the picture's left, 1: from its right
    aim: tuple[float, float]  # middle of the palm at full reach, in head units before the head's axis: right, down
    reach: float = 1.0  # 0 below the picture .. 1 at its aim
    turn: float = 0.0  # degrees by which it bends off the forearm, positive clockwise
    spread: float = 0.3  # of the fingers: 0 .. 1
    curl: float = 0.0  # of the fingers: 0 straight .. 1 bent towards the face
    palm: bool = False  # shows the palm; False: its back


@dataclass(frozen=True)
class Crossing:
    """A gesture in which one hand or both come before the face and leave."""

    times: tuple[float, float, float, float]  # seconds: it sets out, arrives, leaves, is gone
    ways: tuple[tuple[Hand, Hand], ...]  # how each hand arrives and leaves


def hand_path(rng: np.random.Generator, frames: int, rate: float = 25.0) -> tuple[tuple[Hand, ...], ...]:
    """The hands before the face in each of `frames` frames: often none.

    With an equal `rng`, a longer film begins with the shorter one.
    """
    known = crossings(rng, frames / rate) if likely(rng, HANDED) else []
    return tuple(
        tuple(
            between(*way, one.times, frame / rate)
            for one in known
            if one.times[0] < frame / rate < one.times[-1]
            for way in one.ways
        )
        for frame in range(frames)
    )


def crossings(rng: np.random.Generator, seconds: float) -> list[Crossing]:
    """The crossings of a film: one after the other."""
    known, now = list[Crossing](), 0.0
    while now <= seconds:
        start = now + rng.exponential(GAP_SECONDS) - (0.5 * GAP_SECONDS if not known else 0.0)
        top = start + RISE_SECONDS * rng.uniform(0.7, 1.4)
        end = top + HOLD_SECONDS * rng.uniform(0.3, 2.2)
        now = end + RISE_SECONDS * rng.uniform(0.7, 1.4)
        known.append(Crossing((start, top, end, now), crossing_ways(rng)))
    return known


def crossing_ways(rng: np.random.Generator) -> tuple[tuple[Hand, Hand], ...]:
    """Random ways of one hand or of two that mirror each other."""
    side, both = int(rng.choice((-1, 1))), likely(rng, BOTH_HANDS)
    across, down = float(rng.uniform(0.16 if both else -0.1, 0.42)), float(rng.uniform(0.1, 0.85))
    turn, spread, curl = float(rng.uniform(-22, 22)), float(rng.uniform(0, 1)), float(rng.uniform(0, 0.6))
    come = Hand(side, (side * across, down), 1.0, side * turn, spread, curl, likely(rng, PALMS))
    far = 0.8 if likely(rng, SWEEPS) and not both else 0.05
    away, lower = float(rng.uniform(-far, 0.05)), float(rng.uniform(-0.08, 0.08))
    aim = (side * (across + away), down + lower)
    go = replace(come, aim=aim, turn=come.turn + float(rng.uniform(-10, 10)), spread=float(rng.uniform(0, 1)))
    one = (come, go)
    return (one, (mirrored_hand(come), mirrored_hand(go))) if both else (one,)


def resting_hand(who: Identity, side: int, motion: FaceMotion) -> Hand:
    """The hand of a person who leans the jaw on it, in every picture; it makes way for a face that turns to it."""
    turned = max(0.0, side * float(np.sin(np.radians(motion.yaw))))
    aim = side * (0.38 * who.face_width + MAKES_WAY * turned), 0.63
    return Hand(side, aim, turn=16.0 * side, spread=0.25, curl=0.55)


def mirrored_hand(hand: Hand) -> Hand:
    return replace(hand, side=-hand.side, aim=(-hand.aim[0], hand.aim[1]), turn=-hand.turn)


def between(come: Hand, go: Hand, times: tuple[float, float, float, float], now: float) -> Hand:
    """The hand of a crossing at a time, in seconds."""
    start, top, end, gone = times
    share = rising((now - top) / (end - top))
    x, y, turn, spread = (
        (1 - share) * a + share * b
        for a, b in zip((*come.aim, come.turn, come.spread), (*go.aim, go.turn, go.spread), strict=True)
    )
    reach = rising((now - start) / (top - start)) * (1 - rising((now - end) / (gone - end)))
    return replace(come, aim=(x, y), turn=turn, spread=spread, reach=reach)


def rising(share: float) -> float:
    """0 below 0, 1 above 1, and without a kink between."""
    t = min(1.0, max(0.0, share))
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class HandShape:
    """The outlines of a hand in the scene, from back to front."""

    arm: Points  # middle line [A, 2] from the elbow to the wrist
    arm_half: NDArray[np.float64]  # half widths [A] along it
    across: NDArray[np.float64]  # [2] towards the thumb, as long as a hand unit
    down: NDArray[np.float64]  # [2] towards the wrist, likewise
    palm: Points  # [N, 2]
    fingers: tuple[Points, ...]  # middle lines [M, 2] from the root to the tip: four fingers, then the thumb
    widths: tuple[NDArray[np.float64], ...]  # half widths [M] along them

    def outlines(self) -> list[Points]:
        fingers = (limb(line, half) for line, half in zip(self.fingers, self.widths, strict=True))
        return [limb(self.arm, self.arm_half), self.palm, *fingers]


def hand_shape(hand: Hand, motion: FaceMotion) -> HandShape:
    """Where a hand is, for a person in this motion."""
    base, scale = body_frame(motion)
    elbow = base + scale * ELBOW * np.array([hand.side, 1])
    aim = view_of(motion).place(np.array([[*hand.aim, BEFORE]]))[0]
    middle = (1 - hand.reach) * BELOW * np.array([hand.side, 1]) + hand.reach * aim
    up = (middle - elbow) / (np.linalg.norm(middle - elbow) + 1e-9)
    (cos, sin), size = (f(np.radians(hand.turn)) for f in (np.cos, np.sin)), HAND_UNIT * motion.scale
    down = -size * np.array([cos * up[0] - sin * up[1], sin * up[0] + cos * up[1]])
    thumb = hand.side * (-1 if hand.palm else 1)  # the hand's back is seen when it lies on its owner's face
    across = thumb * np.array([down[1], -down[0]])

    def at(points: Points | Sequence[Sequence[float]]) -> Points:
        local = np.asarray(points, float)
        return np.asarray(middle + local[:, :1] * across + local[:, 1:] * down)

    thumb_line = curve(np.array(THUMB_LINE) * np.array([1 - 0.25 * (1 - hand.spread), 1.0]), steps=4)
    thumb_half = 0.052 * np.interp(np.linspace(0, 1, len(thumb_line)), (0, 0.35, 0.7, 1), (1.25, 1.0, 0.95, 0.7))
    limbs = [*(finger_line(*finger, hand) for finger in FINGERS), (thumb_line, thumb_half)]
    fingers, widths = tuple(at(line) for line, _ in limbs), tuple(size * half for _, half in limbs)
    wrist = at([(0.0, WRIST)])[0]
    arm = curve([elbow, 0.5 * (elbow + wrist), wrist - 0.06 * down, wrist - 0.12 * down], steps=4)
    arm_half = size * np.interp(np.linspace(0, 1, len(arm)), *ARM)
    return HandShape(arm, arm_half, across, down, at(curve(PALM)), fingers, widths)


def finger_line(
    x: float, y: float, long: float, half: float, lean: float, hand: Hand
) -> tuple[Points, NDArray[np.float64]]:
    """The middle line [13, 2] and half widths [13] of a finger in hand units."""
    turn = np.radians(LEAN * lean * hand.spread)
    share, length = np.linspace(0, 1, 13), long * (1 - 0.45 * hand.curl)
    bow = 0.05 * hand.curl * np.sin(np.pi * share) * -np.sign(lean)
    line = np.stack([x + length * share * np.sin(turn) + bow, y - length * share * np.cos(turn)], 1)
    return line, half * np.interp(share, (0, 0.3, 0.45, 0.7, 0.8, 1), (1.05, 0.98, 1.04, 0.93, 0.95, 0.78))


def limb(line: Points, half: NDArray[np.float64]) -> Points:
    """The outline [N, 2] of a limb along a middle line [M, 2], with half widths [M]; its end is round."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    turn = np.linspace(np.pi / 2, -np.pi / 2, 9)[1:-1, None]
    tip = line[-1] + half[-1] * (np.cos(turn) * along[-1] + np.sin(turn) * normal[-1])
    wide = half[:, None] * normal
    return np.vstack([line + wide, tip, (line - wide)[::-1]])


def hidden_points(hands: Sequence[Hand], motion: FaceMotion, places: Points) -> NDArray[np.bool_]:
    """Which of the picture's points [N, 2], which spans -1 .. 1, lie behind these hands: [N]."""
    canvas = Canvas(np.zeros((COVER_SIDE, COVER_SIDE, 3), np.uint8), view_of(motion))
    for hand in hands:
        for outline in hand_shape(hand, motion).outlines():
            canvas.fill(outline, (255, 255, 255))
    column, row = ((places + 1) * COVER_SIDE / 2).astype(int).T
    inside = (column >= 0) & (column < COVER_SIDE) & (row >= 0) & (row < COVER_SIDE)
    found = canvas.image[row.clip(0, COVER_SIDE - 1), column.clip(0, COVER_SIDE - 1), 0] > 0
    return np.asarray(inside & found)
