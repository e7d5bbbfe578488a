"""The expression editor: the sliders of both editors as one, and how an edit moves a source picture's keypoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...errors import InputError
from .editing import PageEdit, edited_by_node, edited_by_page
from .expressions import NECK, Expression
from .sliders import EDITORS, Slider, slider
from .stitching import Retargeter, eyes_moved, lips_moved, stitched
from .types import ImplicitMotion

SIZE_SLIDER, EYES_SLIDER, LIPS_SLIDER, OWN_SLIDER = "move_z", "eyes_open", "lips_open", "source_expression"
SPECIAL = (SIZE_SLIDER, EYES_SLIDER, LIPS_SLIDER, OWN_SLIDER)  # sliders that add nothing to expression and rotation
UNCHANGED = -1.0  # of EYES_SLIDER and LIPS_SLIDER; any value below 0 leaves them as open as they are


@dataclass(frozen=True)
class EditorEdit:
    """An edit of a source picture. Raises InputError for an unknown editor, or a number that is not finite."""

    editor: str = "advanced"  # whose way it is: one of EDITORS
    expression: Expression = field(default_factory=Expression.none)  # that is added
    own: float = 1.0  # how much of the source's own expression stays
    eyes: float | None = None  # target ratio; None: as open as they are
    lips: float | None = None  # likewise
    stitching: bool = True

    def __post_init__(self) -> None:
        if self.editor not in EDITORS:
            raise InputError(f"the editor is {' or '.join(EDITORS)}, got {self.editor!r}: choose one of these")
        numbers = (self.own, self.expression.scale, *self.expression.translation, self.eyes or 0, self.lips or 0)
        tensors = (self.expression.delta, self.expression.turn)
        if not (all(map(math.isfinite, numbers)) and all(bool(torch.isfinite(tensor).all()) for tensor in tensors)):
            raise InputError("an edit has a number that is not finite: set its sliders back")


def limits(one: Slider) -> tuple[float, float, float]:
    """Least, most and default of a slider over both editors; the open eyes' and lips' begin at UNCHANGED."""
    if one.name in (EYES_SLIDER, LIPS_SLIDER):
        return UNCHANGED, one.gradio.most if one.gradio else 0.0, UNCHANGED
    there = [variant for variant in (one.gradio, one.advanced) if variant]
    return min(each.least for each in there), max(each.most for each in there), there[0].default


def slider_expression(values: Mapping[str, float], editor: str) -> Expression:
    """The expression of slider values by name, those of EYES_SLIDER, LIPS_SLIDER and OWN_SLIDER left out.

    A slider that `editor`, one of EDITORS, does not have works as in the other one. Raises InputError for an unknown
    slider.
    """
    plain = {name: value for name, value in values.items() if name not in SPECIAL}
    found = Expression.none()
    for which in sorted(EDITORS, key=lambda name: name != editor):
        here = {name: value for name, value in plain.items() if slider(name).variant(which)}
        plain = {name: value for name, value in plain.items() if name not in here}
        found = found + Expression.of(here, which)
    return replace(found, scale=values.get(SIZE_SLIDER, 1.0) - 1.0)


def slider_edit(values: Mapping[str, float], editor: str, added: Expression, stitching: bool = True) -> EditorEdit:
    """The edit of slider values by name and an expression that is added to theirs. Raises InputError as EditorEdit."""

    def ratio(name: str) -> float | None:
        value = values.get(name, UNCHANGED)
        return value if value >= 0 else None

    expression, own = slider_expression(values, editor) + added, values.get(OWN_SLIDER, 1.0)
    return EditorEdit(editor, expression, own, ratio(EYES_SLIDER), ratio(LIPS_SLIDER), stitching)


def edited(source: ImplicitMotion, edit: EditorEdit, networks: Retargeter) -> Tensor:
    """Keypoints [1, 21, 3] of the source picture [1] as an edit moves them.

    Raises InputError if eyes or lips are to open without landmarks that say how open they are.
    """
    for wanted, known, what in ((edit.eyes, source.eyes, "eyes"), (edit.lips, source.lips, "lips")):
        if wanted is not None and not bool(torch.isfinite(known).all()):
            raise InputError(
                f"how open the {what} are is read from 203 landmarks, which the picture lacks: leave {what}_open below "
                "0, or put landmark.onnx into the weights folder"
            )
    if edit.editor == "gradio":
        gone = (edit.own - 1) * source.expression[0]
        gone[NECK] = 0
        added = replace(edit.expression, delta=edit.expression.delta + gone)
        return edited_by_page(
            source, PageEdit(eyes=edit.eyes, lips=edit.lips, stitching=edit.stitching, added=added), networks
        )
    own, found = source.keypoints, edited_by_node(source, edit.expression, edit.own)
    if edit.eyes is not None:
        found = found + eyes_moved(networks, own, source.eyes, torch.tensor([[edit.eyes]]))
    if edit.lips is not None:
        found = found + lips_moved(networks, own, source.lips, torch.tensor([[edit.lips]]))
    return stitched(networks, own, found) if edit.stitching else found
