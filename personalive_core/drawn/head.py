"""The shape of a head in motion: its solid, and the curves of eyes, brows, nose and mouth on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..media.chart import Colour
from .canvas import FaceMotion, Points, View, curve

HairStyle = Literal["long", "bob", "short", "curly", "bun", "bald", "fringe"]
Glasses = Literal["none", "round", "square"]
Clothes = Literal["round", "v", "collar", "jacket"]
Background = Literal["plain", "gradient", "bokeh", "stripes", "window"]

EYE_HEIGHT, MOUTH_HEIGHT = -0.045, 0.29  # of an average face, in head units
# Rings of an average head from crown to chin: height, half width, front, back, share of the motion of mouth and jaw
RINGS = np.array(
    [
        (-0.525, 0.02, -0.05, -0.12, 0.0),
        (-0.49, 0.16, 0.1, -0.3, 0.0),
        (-0.39, 0.28, 0.24, -0.42, 0.0),
        (-0.22, 0.355, 0.315, -0.48, 0.0),
        (-0.05, 0.368, 0.33, -0.48, 0.0),
        (0.12, 0.352, 0.335, -0.4, 0.0),
        (0.27, 0.3, 0.335, -0.25, 0.4),
        (0.39, 0.215, 0.325, -0.1, 0.8),
        (0.465, 0.12, 0.305, 0.04, 1.0),
        (0.5, 0.05, 0.27, 0.12, 1.0),
    ]
)
JAW_RING, CHIN_RINGS = 6, slice(7, 10)
JAW_DROP, JAW_SWING, CHEEK_PUFF = 0.06, 0.045, 0.05  # largest motion, head units: chin, chin, mouth's height


@dataclass(frozen=True)
class Identity:
    """The looks of a drawn person. Sizes are factors: 1 is the average face."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    shirt: Colour
    backdrop: Colour
    style: HairStyle = "short"
    face_width: float = 1.0
    face_length: float = 1.0
    jaw: float = 1.0  # width of the jaw
    chin: float = 1.0  # width of the chin
    parting: float = 0.0  # -1 at the picture's left .. 1 at its right
    hairline: float = 0.0  # -1 low .. 1 receding
    brows: float = 1.0  # thickness of the brows
    lashes: float = 1.0  # thickness of the lashes
    eye_size: float = 1.0
    eye_gap: float = 1.0
    eye_tilt: float = 0.0  # 1 outer corners up .. -1 down
    nose: float = 1.0
    mouth_width: float = 1.0
    fullness: float = 1.0  # of the lips
    glasses: Glasses = "none"
    frame: Colour = (40, 36, 36)  # of the glasses
    beard: float = 0.0  # 0 shaved .. 1 full
    clothes: Clothes = "round"
    background: Background = "plain"
    pattern: int = 0  # random seed of the background's pattern
    light: float = -1.0  # -1 from the picture's left .. 1 from its right


@dataclass(frozen=True)
class Head:
    """The solid of a person's head with an expression: horizontal rings from crown to chin."""

    who: Identity
    rings: NDArray[np.float64]  # [L, 5]: height, half width, front, back, centre

    def on(self, points: Points, lift: float = 0.0) -> Points:
        """Projects points [N, 2] of an average face onto the front of this head, `lift` in front of it: [N, 3]."""
        x, y = points[:, 0] * self.who.face_width, stretched(points[:, 1], self.who)
        width, front, back, centre = self.at(y)
        middle, depth = (front + back) / 2, (front - back) / 2
        z = middle + depth * np.sqrt(np.maximum(1 - ((x - centre) / width) ** 2, 0.02))
        return np.stack([x, y, z + lift], 1)

    def around(self, angles: NDArray[np.float64], heights: NDArray[np.float64], thicker: float) -> Points:
        """Points [N, 3] all around the head, `thicker` outside its surface.

        `angles` [N] are radians from the front, positive to the picture's right; `heights` [N] are in head units.
        """
        width, front, back, centre = self.at(heights)
        middle, depth = (front + back) / 2, (front - back) / 2 + thicker
        x, z = centre + (width + thicker) * np.sin(angles), middle + depth * np.cos(angles)
        return np.stack([x, heights, z], 1)

    def at(self, heights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half width, front, back and centre of the head at those heights [N]: [4, N]."""
        last = len(self.rings) - 1
        place = np.interp(heights, self.rings[:, 0], np.arange(last + 1))
        above = np.minimum(place.astype(int), last - 1)
        share = (place - above)[:, None]
        at: NDArray[np.float64] = (self.rings[above] * (1 - share) + self.rings[above + 1] * share).T[1:]
        return at


ROUND = np.stack([np.sin(np.linspace(-np.pi, np.pi, 40)), np.cos(np.linspace(-np.pi, np.pi, 40))])


def ring_points(rings: NDArray[np.float64]) -> Points:
    """Points [40 L, 3] of the rings [L, 5] (height, half width, front, back, centre)."""
    height, width, front, back, centre = (column[:, None] for column in rings.T)
    x, z = centre + width * ROUND[0], (front + back) / 2 + (front - back) / 2 * ROUND[1]
    return np.stack([x, np.broadcast_to(height, x.shape), z], -1).reshape(-1, 3)


def stretched(heights: NDArray[np.float64], who: Identity) -> NDArray[np.float64]:
    """Maps heights [N] of an average face to this longer or shorter face: only what is below the eyes moves."""
    below = heights - EYE_HEIGHT
    return np.asarray(heights + np.maximum(below, 0) * (who.face_length - 1))


def head_of(who: Identity, motion: FaceMotion) -> Head:
    """The head's solid with an expression: the chin follows the mouth and the jaw, cheeks may be puffed."""
    height, width, front, back, follow = RINGS.T
    width = width * who.face_width
    width[JAW_RING] *= who.jaw
    width[CHIN_RINGS] *= np.array([0.5 * (who.jaw + who.chin), who.chin, who.chin])
    height = stretched(height, who) + JAW_DROP * motion.mouth * follow
    width = width + CHEEK_PUFF * motion.cheek * np.exp(-(((height - 0.24) / 0.13) ** 2))
    rings = curve(np.stack([height, width, front, back, JAW_SWING * motion.jaw * follow], 1), steps=3)
    return Head(who, rings)


def facing(view: View) -> float:
    """The angle around the head that faces the viewer: radians from its front, positive to the picture's right."""
    return float(np.arctan2(view.rotation[2, 0], view.rotation[2, 2]))


def unhidden(angles: NDArray[np.float64], view: View) -> NDArray[np.float64]:
    """Clamps angles around the head to its visible half: hidden ones move to the rim."""
    middle = facing(view)
    return np.clip(angles, middle - np.pi / 2, middle + np.pi / 2)


@dataclass(frozen=True)
class Eye:
    """One eye in the plane of an average face: lines [N, 2] from the picture's left to its right, and the iris."""

    upper: Points  # edge of the upper lid
    under: Points  # edge of the lower lid
    crease: Points  # fold above the upper lid
    look: tuple[float, float]  # centre of the iris
    radius: float  # of the iris

    @property
    def opening(self) -> Points:
        return np.vstack([self.upper, self.under[::-1]])


def eye_of(who: Identity, motion: FaceMotion, side: int) -> Eye:
    """The eye on the picture's left (side -1) or right (1)."""
    blink, (right, down) = motion.blink[side > 0], motion.gaze
    size, centre = who.eye_size, 0.162 * side * who.eye_gap
    t = np.linspace(-1, 1, 21)
    arch = np.sqrt(np.clip(1 - t**2, 0, 1)) * (1 - 0.2 * t * side)
    x, tilt = centre + 0.08 * size * t, EYE_HEIGHT - 0.014 * (0.5 + who.eye_tilt) * t * side
    open_lid = -0.045 + 0.01 * max(down, 0.0) - 0.006 * max(motion.brow[side > 0], 0.0)
    upper = tilt + size * (open_lid * (1 - blink) + 0.022 * blink) * arch
    under = tilt + size * (0.027 - 0.009 * max(motion.smile, 0.0)) * arch
    crease = np.minimum(upper - 0.006, tilt - 0.02 * arch) - 0.016 * (arch + 0.3)
    look = (centre + 0.03 * size * right, EYE_HEIGHT - 0.006 + 0.017 * size * down)
    return Eye(np.stack([x, upper], 1), np.stack([x, under], 1), np.stack([x, crease], 1), look, 0.039 * size)


def brow_of(who: Identity, motion: FaceMotion, side: int) -> Points:
    """The brow's centre line [N, 2], from the nose outwards."""
    raised = motion.brow[side > 0]
    centre, height = 0.162 * side * who.eye_gap, EYE_HEIGHT - 0.07 - 0.032 * who.eye_size - 0.045 * raised
    inner = 0.012 - 0.03 * min(raised, 0.0)
    knots = [(-0.1, inner), (-0.03, -0.01), (0.045, -0.02), (0.115, 0.016)]
    return curve([(centre + x * side, height + y) for x, y in knots])


@dataclass(frozen=True)
class Mouth:
    """Lips in the plane of an average face: four lines [N, 2] from the picture's left to its right, top line first."""

    over: Points  # upper edge of the upper lip
    top: Points  # lower edge of the upper lip
    bottom: Points  # upper edge of the lower lip
    beneath: Points  # lower edge of the lower lip
    lift: float  # how far the lips stand forward

    @property
    def opening(self) -> Points:
        return np.vstack([self.top, self.bottom[::-1]])


def mouth_of(who: Identity, motion: FaceMotion) -> Mouth:
    smile, mouth, pucker = motion.smile, motion.mouth, motion.pucker
    t = np.linspace(-1, 1, 25)
    arch = 1 - t**2
    wider = 0.26 * max(smile, 0.0) - 0.14 * mouth - 0.45 * pucker - 0.1 * motion.cheek
    half = 0.122 * who.mouth_width * (1 + wider)
    swing = JAW_SWING * motion.jaw
    x = half * t + 0.45 * swing
    corner = MOUTH_HEIGHT + 0.03 * mouth - 0.03 * (0.3 + smile) * t**2
    bow = 1 - 0.35 * np.exp(-((t / 0.17) ** 2))
    full = who.fullness * (1 + 0.35 * pucker) * (1 - 0.2 * abs(smile))
    top = corner - 0.016 * mouth * arch
    bottom = corner + (0.003 + 0.105 * mouth) * arch
    over, beneath = top - 0.033 * full * arch**0.8 * bow, bottom + 0.044 * full * arch**0.8
    low = x + 0.4 * swing * arch
    upper = np.stack([x, over], 1), np.stack([x, top], 1)
    lower = np.stack([low, bottom], 1), np.stack([low, beneath], 1)
    return Mouth(*upper, *lower, lift=0.012 + 0.045 * pucker)


@dataclass(frozen=True)
class Nose:
    """Points of the nose in head units, [N, 3] or [3] each."""

    bridge: Points  # from between the eyes to the tip
    tip: Points
    wings: tuple[Points, Points]  # the picture's left and right, from above to the nostril
    base: Points  # between nose and lip


def nose_of(head: Head) -> Nose:
    size = head.who.nose
    across = 0.75 + 0.25 * size
    low = 0.12 + 0.03 * size
    ridge = head.on(np.array([[0, -0.06], [0, 0.02], [0, low - 0.05], [0, low - 0.01]]))
    ridge[:, 2] += np.array([0.01, 0.045, 0.105, 0.135]) * size
    tip = head.on(np.array([[0.0, low]]), 0.135 * size)[0]
    under = head.on(np.array([[0.0, low + 0.038]]), 0.05 * size)[0]
    wings = []
    for side in (-1, 1):
        wing = [(0.04, low - 0.045), (0.07, low - 0.012), (0.074, low + 0.015), (0.055, low + 0.03)]
        points = head.on(curve([(x * side * across, y) for x, y in wing], steps=4))
        wings.append(points + np.array([0, 0, 0.03 * size]))
    return Nose(curve(np.vstack([ridge, tip[None]]), steps=4), tip, (wings[0], wings[1]), under)
