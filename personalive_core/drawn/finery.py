"""What the fine style adds to a drawn person: hat, jewels, freckles, make-up, patterned clothes, scene and light."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..media.chart import Colour
from .head import Identity
from .motion import likely

Hat = Literal["none", "beanie", "brimmed", "band"]
Weave = Literal["plain", "stripes", "dots", "checks", "knit"]
Scene = Literal["own", "shelf", "bricks", "city", "leaves", "frames", "hills", "room"]

RESTING = 0.06  # share of people with a hand at the jaw
FINE_SEED = 3  # part of the seed, so that what is added does not depend on what is there
METALS: tuple[Colour, ...] = ((214, 176, 92), (206, 208, 214), (222, 158, 128), (240, 236, 228))
SCENES: tuple[Scene, ...] = ("own", "shelf", "bricks", "city", "leaves", "frames", "hills", "room")
SCENE_SHARES = (0.12, 0.14, 0.12, 0.13, 0.14, 0.12, 0.12, 0.11)
WEAVES: tuple[Weave, ...] = ("plain", "stripes", "dots", "checks", "knit")
HATS: tuple[Hat, ...] = ("none", "beanie", "brimmed", "band")
HAT_SHARES = (0.68, 0.12, 0.1, 0.1)
BARE = {"bun": (0.9, 0.0, 0.0, 0.1), "bald": (0.8, 0.2, 0.0, 0.0), "curly": (0.85, 0.0, 0.0, 0.15)}
PALE, LONG_LASHED = 520, 0.6  # sum of a skin's channels above which freckles show; lashes of people with make-up
JEWELLED = {"bun": 0.75, "bald": 0.35, "short": 0.2}  # share of people with earrings; other styles cover the ears


@dataclass(frozen=True)
class Finery:
    """Looks of a person that only the fine style draws."""

    hat: Hat
    hat_colour: Colour
    earrings: Literal["none", "stud", "hoop", "drop"]
    metal: Colour
    necklace: bool
    freckles: float  # 0 none .. 1 many
    mole: tuple[float, float] | None  # place on an average face
    shadow: Colour | None  # of the eyelids
    weave: Weave
    second: Colour  # of the clothes' pattern
    scene: Scene
    warmth: float  # of the light: -1 cool .. 1 warm
    contrast: float  # of the light over the picture: 0 .. 1
    resting: int = 0  # side of the hand that rests at the jaw: -1 or 1; 0: none


@lru_cache(maxsize=64)
def finery(who: Identity) -> Finery:
    """The finery of a person: a function of `who.pattern`, and of what goes with the hair."""
    rng = np.random.default_rng((FINE_SEED, who.pattern))
    hat = HATS[rng.choice(len(HATS), p=BARE.get(who.style, HAT_SHARES))]
    ring = likely(rng, JEWELLED.get(who.style, 0.0))
    kind: Literal["stud", "hoop", "drop"] = ("stud", "hoop", "drop")[int(rng.integers(3))]
    mole = (float(rng.uniform(0.08, 0.24) * rng.choice((-1, 1))), float(rng.uniform(0.05, 0.38)))
    light = sum(who.skin) > PALE
    made_up = who.beard == 0 and who.lashes > LONG_LASHED and likely(rng, 0.45)
    return Finery(
        hat=hat,
        hat_colour=pleasant(rng),
        earrings=kind if ring else "none",
        metal=METALS[int(rng.integers(len(METALS)))],
        necklace=who.clothes in ("round", "v") and who.beard == 0 and likely(rng, 0.45),
        freckles=float(rng.uniform(0.4, 1.0)) if light and likely(rng, 0.25) else 0.0,
        mole=mole if likely(rng, 0.2) else None,
        shadow=pleasant(rng) if made_up else None,
        weave=WEAVES[rng.choice(len(WEAVES), p=(0.3, 0.2, 0.14, 0.16, 0.2))],
        second=pleasant(rng),
        scene=SCENES[rng.choice(len(SCENES), p=SCENE_SHARES)],
        warmth=float(rng.uniform(-0.8, 1.0)),
        contrast=float(rng.uniform(0.2, 0.9)),
        resting=int(rng.choice((-1, 1))) if likely(rng, RESTING) else 0,
    )


def pleasant(rng: np.random.Generator) -> Colour:
    """A colour that is neither glaring nor grey."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.85))
    return round(255 * red), round(255 * green), round(255 * blue)


@lru_cache(maxsize=256)
def scattered(seed: int, name: str, rows: int, columns: int) -> NDArray[np.float64]:
    """Numbers [rows, columns] in 0..1 that stay the same for a person: places and shades of strands and freckles."""
    numbers = np.random.default_rng((FINE_SEED, seed, *name.encode())).random((rows, columns))
    numbers.setflags(write=False)
    return numbers
