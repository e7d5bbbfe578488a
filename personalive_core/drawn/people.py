"""Random people to draw, from a wide and plausible distribution."""

from __future__ import annotations

import colorsys
from typing import TypeVar

import numpy as np

from ..media.chart import Colour
from .face import mixed, shade
from .head import Background, Clothes, Glasses, HairStyle, Identity
from .motion import likely

Choice = TypeVar("Choice")

SKINS: tuple[Colour, ...] = (  # from very light to very dark
    (242, 212, 194), (234, 192, 164), (220, 170, 136), (200, 144, 106), (164, 108, 74), (120, 76, 52), (78, 48, 36),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (26, 22, 22), (44, 32, 28), (72, 46, 32), (104, 68, 42), (128, 62, 34), (176, 92, 46), (186, 144, 88),
    (216, 186, 132), (150, 146, 144), (208, 206, 204),
)  # fmt: skip
DARK_HAIRS = 3  # the first so many of HAIRS go with every skin
BROWN_EYED = 3.5  # index in SKINS above which all eyes are brown
IRISES: tuple[Colour, ...] = (
    (62, 40, 28), (88, 56, 34), (116, 82, 44), (104, 110, 62), (84, 122, 92), (86, 128, 160), (112, 126, 138),
)  # fmt: skip
STYLES: tuple[HairStyle, ...] = ("long", "bob", "short", "curly", "bun", "bald", "fringe")
STYLE_SHARES = (0.2, 0.14, 0.24, 0.12, 0.12, 0.06, 0.12)
BEARDED: tuple[HairStyle, ...] = ("short", "bald", "curly")  # styles that may go with a beard
CLOTHES: tuple[Clothes, ...] = ("round", "v", "collar", "jacket")
BACKGROUNDS: tuple[Background, ...] = ("plain", "gradient", "bokeh", "stripes", "window")
GLASSES: tuple[Glasses, ...] = ("none", "round", "square")


def random_identity(rng: np.random.Generator) -> Identity:
    """A random person; all random numbers come from `rng`."""
    # Skin and hair style come first: lips, eyes, beard and proportions depend on them
    tone = rng.uniform(0, len(SKINS) - 1)
    skin = varied(rng, mixed(SKINS[int(tone)], SKINS[min(int(tone) + 1, len(SKINS) - 1)], tone % 1), 5)
    lips = mixed(shade(skin, -0.2), (188, 62, 72), rng.uniform(0.25, 0.75))
    style = STYLES[rng.choice(len(STYLES), p=STYLE_SHARES)]
    bearded = style in BEARDED and likely(rng, 0.5)
    return Identity(
        skin=skin,
        hair=random_hair(rng, tone),
        iris=varied(rng, choose(rng, IRISES[:3] if tone > BROWN_EYED else IRISES), 8),
        lips=mixed(skin, lips, 0.55) if bearded else lips,
        shirt=random_colour(rng, (0.0, 0.85), (0.12, 0.92)),
        backdrop=random_colour(rng, (0.0, 0.7), (0.2, 0.95)),
        style=style,
        face_width=around(rng, 1.0, 0.05, 0.12),
        face_length=around(rng, 1.0, 0.05, 0.1),
        jaw=around(rng, 1.06 if bearded else 0.98, 0.07, 0.16),
        chin=around(rng, 1.0, 0.2, 0.4),
        parting=rng.uniform(-1, 1),
        hairline=rng.uniform(-1, 1),
        brows=around(rng, 1.25 if bearded else 1.0, 0.25, 0.5),
        lashes=0.2 if bearded else rng.uniform(0.2, 1.4),
        eye_size=around(rng, 1.0, 0.07, 0.16),
        eye_gap=around(rng, 1.0, 0.04, 0.08),
        eye_tilt=rng.uniform(-1, 1),
        nose=around(rng, 1.0, 0.15, 0.3),
        mouth_width=around(rng, 1.0, 0.08, 0.18),
        fullness=around(rng, 1.0, 0.2, 0.4),
        glasses=GLASSES[rng.choice(len(GLASSES), p=(0.72, 0.14, 0.14))],
        frame=choose(rng, ((34, 30, 30), (86, 56, 36), (150, 120, 70), (70, 74, 84), (140, 40, 50))),
        beard=rng.uniform(0.15, 1.0) if bearded else 0.0,
        clothes=choose(rng, CLOTHES),
        background=choose(rng, BACKGROUNDS),
        pattern=int(rng.integers(1 << 31)),
        light=rng.choice((-1, 1)) * rng.uniform(0.35, 1.0),
    )  # fmt: skip


def random_hair(rng: np.random.Generator, tone: float) -> Colour:
    """A hair colour: mostly natural, more often dark with a darker skin `tone` (index in SKINS); sometimes dyed."""
    if likely(rng, 0.07):
        return random_colour(rng, (0.4, 0.8), (0.35, 0.8))
    dark = likely(rng, tone / len(SKINS))
    return varied(rng, choose(rng, HAIRS[:DARK_HAIRS] if dark else HAIRS), 8)


def random_colour(rng: np.random.Generator, strength: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A colour of any hue, its saturation in the range `strength` and its value in the range `value` (0 .. 1)."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*strength), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


def varied(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """`colour` made a little lighter or darker, with a slight change of hue."""
    lighter = rng.normal(0, amount)
    red, green, blue = (int(np.clip(value + lighter + rng.normal(0, amount / 5), 0, 255)) for value in colour)
    return red, green, blue


def around(rng: np.random.Generator, middle: float, spread: float, most: float) -> float:
    """A normally distributed number, clipped to at most `most` from `middle`."""
    return float(middle + np.clip(rng.normal(0, spread), -most, most))


def choose(rng: np.random.Generator, choices: tuple[Choice, ...]) -> Choice:
    return choices[int(rng.integers(len(choices)))]
