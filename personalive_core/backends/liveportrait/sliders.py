"""The sliders of LivePortrait's two expression editors as one table: what each adds to expression and rotation.

"gradio" is LivePortrait's own page, "advanced" the editor node of ComfyUI-AdvancedLivePortrait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import InputError
from ...modules.keypoints import KEYPOINTS
from .regions import coordinate

EDITORS = ("gradio", "advanced")
Moves = Mapping[str, float]  # coordinate of the expression, such as "14y" -> what a value of 1 adds to it


@dataclass(frozen=True)
class Variant:
    """A slider in one of the editors."""

    name: str  # there
    least: float
    most: float
    default: float = 0.0
    moves: Moves = field(default_factory=dict)  # besides those in both editors
    turns: tuple[float, float, float] = (0.0, 0.0, 0.0)  # degrees of pitch, yaw, roll that a value of 1 adds


@dataclass(frozen=True)
class Slider:
    """A slider; values other than its default move it."""

    name: str
    group: str  # of the face: eyes, brows, mouth or head
    gradio: Variant | None = None  # None: the editor does not have it
    advanced: Variant | None = None
    moves: Moves = field(default_factory=dict)  # in both editors
    below: Moves | None = None  # where the value is 0 or less, if it is not the same
    linked: tuple[str, float] | None = None  # another slider, which moves with this one by this factor

    def variant(self, editor: str) -> Variant | None:
        """The slider in the editor of this name."""
        return self.gradio if editor == "gradio" else self.advanced

    def moved(self, value: float) -> Moves:
        """What a value of 1 adds in both editors, on this value's side of 0."""
        return self.moves if self.below is None or value > 0 else self.below


_SMILE = {"20y": -0.01, "14y": -0.02, "17y": 0.0065, "17z": 0.003}
_SMILE |= {"13y": -0.00275, "16y": -0.00275, "3y": -0.0035, "7y": -0.0035}
_WINK = {"11y": 0.001, "13y": -0.0003, "17x": 0.0003, "17y": 0.0003, "3y": -0.0003}

SLIDERS = (
    Slider("smile", "mouth", Variant("smile", -0.3, 1.3), Variant("smile", -0.3, 1.3), _SMILE),
    Slider("wink", "eyes", Variant("wink", 0, 39), Variant("wink", 0, 25, turns=(0, -0.1, -0.1)), _WINK),
    Slider(
        "eyebrow",
        "brows",
        Variant("eyebrow", -30, 30),
        Variant("eyebrow", -10, 15),
        {"1y": 0.001, "2y": -0.001},
        {"1x": -0.001, "2x": 0.001, "1y": 0.0003, "2y": -0.0003},
    ),
    Slider(
        "gaze_x",
        "eyes",
        Variant("gaze_x", -30, 30),
        Variant("pupil_x", -15, 15),
        {"11x": 0.0007, "15x": 0.001},
        {"11x": 0.001, "15x": 0.0007},
    ),
    Slider(
        "gaze_y",
        "eyes",
        Variant("gaze_y", -63, 63),
        Variant("pupil_y", -15, 15),
        {"11y": -0.001, "15y": -0.001},
        linked=("blink", -0.5),
    ),
    Slider(
        "blink",
        "eyes",
        None,
        Variant("blink", -20, 5, moves={"1y": -0.00025, "2y": 0.00025}),
        {"11y": -0.001, "15y": -0.001, "13y": 0.0003, "16y": 0.0003},
    ),
    Slider(
        "lip_open",
        "mouth",
        Variant("lip_open", -90, 120),
        Variant("aaa", -30, 120, turns=(-0.05, 0, 0)),
        {"19y": 0.001, "19z": 0.0001, "17y": -0.0001},
    ),
    Slider(
        "grin",
        "mouth",
        Variant("grin", 0, 15),
        Variant("eee", -20, 15),
        {"20y": -0.001, "20z": -0.001, "14y": -0.001},
    ),
    Slider(
        "pursing",
        "mouth",
        Variant("pursing", -20, 15),
        Variant("woo", -20, 15),
        {"14y": 0.001, "3y": -0.0005, "7y": -0.0005, "17z": -0.0005},
    ),
    Slider("pouting", "mouth", Variant("pouting", -0.09, 0.09), None, {"19x": 1}),
    Slider("move_x", "head", Variant("mov_x", -0.19, 0.19), None, {"5x": -1}),
    Slider("move_y", "head", Variant("mov_y", -0.19, 0.19), None, {"5y": 1}),
    Slider("move_z", "head", Variant("mov_z", 0.9, 1.2, 1.0)),  # multiplies the scale
    Slider(
        "pitch", "head", Variant("pitch", -15, 15, turns=(1, 0, 0)), Variant("rotate_pitch", -20, 20, turns=(1, 0, 0))
    ),
    Slider("yaw", "head", Variant("yaw", -25, 25, turns=(0, 1, 0)), Variant("rotate_yaw", -20, 20, turns=(0, -1, 0))),
    Slider("roll", "head", Variant("roll", -15, 15, turns=(0, 0, 1)), Variant("rotate_roll", -20, 20, turns=(0, 0, 1))),
    Slider("eyes_open", "eyes", Variant("eye_ratio", 0, 0.8)),  # these two begin at the source's own ratios
    Slider("lips_open", "mouth", Variant("lip_ratio", 0, 0.8)),
    Slider("source_expression", "head", None, Variant("src_ratio", 0, 1, 1.0)),  # multiplies the source's own
)

# Ours, for each eye alone: wink and gaze with left and right exchanged, of the eye that `wink` leaves open.
OTHER_EYE = (
    Slider(
        "wink_other",
        "eyes",
        Variant("wink_other", 0, 39),
        Variant("wink_other", 0, 25, turns=(0, 0.1, 0.1)),
        {"15y": 0.001, "16y": -0.0003, "17x": -0.0003, "17y": 0.0003, "7y": -0.0003},
    ),
    Slider(
        "gaze_x_other",
        "eyes",
        Variant("gaze_x_other", -30, 30),
        Variant("gaze_x_other", -15, 15),
        {"15x": 0.001},
        {"15x": 0.0007},
    ),
    Slider(  # with its half of the linked blink
        "gaze_y_other",
        "eyes",
        Variant("gaze_y_other", -63, 63),
        Variant("gaze_y_other", -15, 15),
        {"15y": -0.0005, "16y": -0.00015},
    ),
)
ALL_SLIDERS = (*SLIDERS, *OTHER_EYE)


def slider(name: str) -> Slider:
    """The slider of this name, ours or that of an editor. Raises InputError for an unknown one."""
    for one in ALL_SLIDERS:
        if name in {one.name, *(variant.name for variant in (one.gradio, one.advanced) if variant)}:
            return one
    raise InputError(f"there is no slider {name!r}: the sliders are {', '.join(one.name for one in ALL_SLIDERS)}")


def slider_moves(values: Mapping[str, float], editor: str) -> tuple[Tensor, Tensor]:
    """What slider values by name add to the expression [21, 3], and to pitch, yaw and roll [3] in degrees.

    `editor` is one of EDITORS. Sliders that do something else (sizes, ratios) add nothing here. Raises InputError for
    an unknown slider, or one that the editor does not have.
    """
    expression, turn = torch.zeros(KEYPOINTS, 3), torch.zeros(3)
    for name, value in values.items():
        one = slider(name)
        variant = one.variant(editor)
        if variant is None:
            raise InputError(f"the {editor} editor has no slider {name!r}: use the other editor's")
        _add(expression, {**one.moved(value), **variant.moves}, value)
        if one.linked:
            other, factor = slider(one.linked[0]), one.linked[1]
            there = other.variant(editor)
            _add(expression, {**other.moves, **(there.moves if there else {})}, factor * value)
        turn += value * torch.tensor(variant.turns)
    return expression, turn


def _add(expression: Tensor, moves: Moves, value: float) -> None:
    for name, amount in moves.items():
        expression[coordinate(name)] += amount * value
