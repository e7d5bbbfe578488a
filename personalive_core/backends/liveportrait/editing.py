"""Keypoints of a source picture as the sliders of either editor move it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...modules.keypoints import rotation_matrix
from ...motion.types import HeadPose, concat_motion
from .closed_lips import closed_lips
from .expressions import NECK, Expression
from .kalman import kalman_smoothed
from .regions import EYE_POINTS
from .sliders import slider_moves
from .stitching import Retargeter, eyes_moved, lips_moved, stitched
from .types import ImplicitMotion, Placing

LIP_VARIANCE = 3e-6  # of the smoothing of lips in a source video


@dataclass(frozen=True)
class PageEdit:
    """Sliders of LivePortrait's own page."""

    values: Mapping[str, float] = field(default_factory=dict)  # by name; those that move expression and rotation
    size: float = 1.0  # of the face, times its own
    eyes: float | None = None  # target ratio; None: as open as they are
    lips: float | None = None  # likewise
    stitching: bool = True
    added: Expression = field(default_factory=Expression.none)  # to what the sliders move


def initial_openness(source: ImplicitMotion) -> tuple[float, float]:
    """Where the page's sliders for open eyes and lips begin: the source's ratios, rounded to hundredths."""
    return round(float(source.eyes[0].mean()), 2), round(float(source.lips[0, 0]), 2)


def edited_by_page(source: ImplicitMotion, edit: PageEdit, networks: Retargeter) -> Tensor:
    """Keypoints [1, 21, 3] of the source picture [1] as LivePortrait's page moves them."""
    total = Expression(*slider_moves(edit.values, "gradio")) + edit.added
    placing = source.turned(total.turn[None]).placing
    placing = replace(
        placing,
        expression=placing.expression + total.delta,
        scale=placing.scale * edit.size * (1 + total.scale),
        translation=placing.translation + torch.tensor(total.translation),
    )
    own, found = source.keypoints, placing.keypoints(source.canonical, keep_depth=True)
    if edit.eyes is not None:
        found = found + eyes_moved(networks, own, source.eyes, torch.tensor([[edit.eyes]]))
    if edit.lips is not None:
        found = found + lips_moved(networks, own, source.lips, torch.tensor([[edit.lips]]))
    return stitched(networks, own, found) if edit.stitching else found


def video_lips_at(source: ImplicitMotion, ratio: float, networks: Retargeter) -> Tensor:
    """Keypoints [F, 21, 3] of a source video whose lips are all as open as `ratio` says."""
    own = source.keypoints
    change = kalman_smoothed(lips_moved(networks, own, source.lips, torch.full_like(source.lips, ratio)), LIP_VARIANCE)
    return stitched(networks, own, own + change)


def video_lips_silent(source: ImplicitMotion, networks: Retargeter) -> Tensor:
    """Keypoints [F, 21, 3] of a source video whose face keeps still but for the eyes, with closed lips."""
    expression = closed_lips().repeat(len(source), 1, 1)
    expression[:, list(EYE_POINTS)] = source.expression[:, list(EYE_POINTS)]
    placing = replace(source.placing, expression=expression)
    return stitched(networks, source.keypoints, placing.keypoints(source.canonical, keep_depth=True))


def edited_by_node(source: ImplicitMotion, expression: Expression, own_ratio: float = 1.0) -> Tensor:
    """Keypoints [1, 21, 3] of the source picture [1] as the advanced editor moves them, before stitching.

    `own_ratio` is how much of the source's own expression stays. Unlike everywhere else, the expression turns with the
    head here, and depth of the translation is kept.
    """
    own = own_ratio * source.expression
    own[:, NECK] = source.expression[:, NECK]
    rotation = rotation_matrix(source.pose.angles + expression.turn)
    face = source.canonical + own + expression.delta
    placing = Placing(
        rotation,
        torch.zeros_like(own),
        source.pose.scale * (1 + expression.scale),
        source.pose.translation + torch.tensor(expression.translation),
    )
    return placing.keypoints(face, keep_depth=True)


def expression_motion(
    source: ImplicitMotion, expressions: Iterable[Expression], own_ratio: float = 1.0, turned: bool = True
) -> ImplicitMotion:
    """The source picture [1] with each expression added, as the motion [F] of a driving that looks so.

    Its keypoints are those of `edited_by_node`, but for depth; without `turned` the expression does not turn with the
    head, as on LivePortrait's page. How open eyes and lips are is not known. Raises InputError without an expression.
    """
    gone = (own_ratio - 1) * source.expression
    gone[:, NECK] = 0
    unknown = {name: torch.full_like(getattr(source, name), torch.nan) for name in ("eyes", "lips")}

    def moved(added: Expression) -> ImplicitMotion:
        pose = HeadPose(
            source.pose.angles + added.turn,
            source.pose.translation + torch.tensor(added.translation),
            source.pose.scale * (1 + added.scale),
        )
        face = source.expression + gone + added.delta
        face = face @ rotation_matrix(pose.angles) if turned else face
        return replace(source, expression=face, pose=pose, **unknown)

    return concat_motion(map(moved, expressions))
