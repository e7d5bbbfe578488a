"""The targets of a model, of 128 pixels and of 256, and whether figures meet them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..drawn.landmarker import SIZE
from ..drawn.truth import Style
from .adaptation import Adaptation
from .reenactment import DRIVING, MEAN, MODEL, REPEATED, Reenactment
from .stability import StreamFigures


@dataclass(frozen=True)
class Goals:
    """Wanted figures; None: no target. Gains in dB, errors as shares of a baseline's."""

    said: str  # whose goals they are
    gain: Mapping[str, float]  # least PSNR above the reference repeated, by task
    landmark_share: Mapping[str, float]  # most, of the reference repeated's landmark error, by task
    lora_gain: float
    over_mean: float | None = None  # the others are of cross-reenactment; least PSNR above the mean frame
    sharpness: float | None = None  # least gradient energy, as a share of the truth's
    shares: Mapping[str, float] | None = None  # most, of the reference repeated's errors, by the name in Closeness
    landmarks: float | None = None  # most landmark error, in pixels of a picture of SIZE pixels
    identity_share: float = 1 / 2  # of the driving frame's identity error
    most_loss: float = 1.0  # dB of PSNR lost in the long stream
    most_drift: float = 2.0  # Delta E, largest colour drift of the long stream


SELF, CROSS = "Self-reenactment", "Cross-reenactment"
GOALS_OF_128 = Goals("the 128-pixel model", {SELF: 4.0, CROSS: 4.0}, {SELF: 1 / 3, CROSS: 1 / 3}, 1.0)
GOALS_OF_256 = Goals(
    "the 256-pixel model of fine people",
    {CROSS: 8.0},
    {},
    lora_gain=3.0,
    over_mean=3.0,
    sharpness=0.85,
    shares={"gaze": 0.35, "jaw": 0.4, "cheeks": 0.4},
    landmarks=1.0,
)
GOALS: dict[tuple[int, Style], Goals] = {(256, "fine"): GOALS_OF_256}  # every other size and style: GOALS_OF_128


@dataclass(frozen=True)
class Target:
    """A target: the wanted and the measured figure, and whether it is met."""

    name: str
    wanted: str
    found: str
    met: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.found}, wanted {self.wanted}: {'met' if self.met else 'NOT met'}"


def goals_of(size: int, style: Style) -> Goals:
    return GOALS.get((size, style), GOALS_OF_128)


def task_targets(tasks: Sequence[Reenactment], goals: Goals, size: int) -> list[Target]:
    """The targets of both tasks, whose pictures have `size` pixels a side."""
    found = [gain_target(task, REPEATED, goals.gain[task.name]) for task in tasks if task.name in goals.gain]
    found += [landmark_target(task, goals.landmark_share[task.name]) for task in tasks
              if task.name in goals.landmark_share]  # fmt: skip
    cross = tasks[-1]
    if goals.over_mean is not None:
        found.append(gain_target(cross, MEAN, goals.over_mean))
    if goals.sharpness is not None and MODEL in cross.close:
        sharp = cross.close[MODEL].sharpness
        name = f"{cross.name}: sharpness, as a share of the truth's"
        found.append(Target(name, f"at least {goals.sharpness:g}", f"{sharp:.3f}", sharp >= goals.sharpness))
    found += share_targets(cross, goals.shares or {})
    if goals.landmarks is not None:
        error = cross.rows[MODEL].landmarks * SIZE / size
        name = f"{cross.name}: landmark error, in pixels of {SIZE}"
        found.append(Target(name, f"at most {goals.landmarks:g}", f"{error:.2f}", error <= goals.landmarks))
    return [*found, identity_target(cross, goals.identity_share)]


def gain_target(task: Reenactment, baseline: str, least: float) -> Target:
    gain = task.rows[MODEL].psnr - task.rows[baseline].psnr
    return Target(f"{task.name}: PSNR above the {baseline}", f"+{least:g} dB", f"{gain:+.2f} dB", gain >= least)


def landmark_target(task: Reenactment, most: float) -> Target:
    share = task.rows[MODEL].landmarks / task.rows[REPEATED].landmarks
    name = f"{task.name}: landmark error, as a share of the reference repeated's"
    return Target(name, f"at most {most:.3f}", f"{share:.3f}", share <= most)


def share_targets(task: Reenactment, most: Mapping[str, float]) -> list[Target]:
    """One target for each share that is measured and has a limit in `most`; NaN does not meet it."""
    found = []
    for each in task.shares:
        if each.name in most:
            told = f"{each.share:.3f}" + (f" ± {each.error:.3f}" if math.isfinite(each.error) else "")
            name = f"{task.name}: error of {each.name}, as a share of the reference repeated's"
            found.append(Target(name, f"at most {most[each.name]:g}", told, each.share <= most[each.name]))
    return found


def identity_target(task: Reenactment, most: float) -> Target:
    share = task.rows[MODEL].identity / task.rows[DRIVING].identity
    name = f"{task.name}: identity error, as a share of the driving frame's"
    return Target(name, f"below {most:.3f}", f"{share:.3f}", share < most)


def stability_targets(found: StreamFigures, goals: Goals) -> list[Target]:
    name, drift = max(found.drift.items(), key=lambda item: item[1])
    loss, most = found.loss, goals.most_drift
    kept = Target(
        "Long stream: PSNR lost", f"at most {goals.most_loss:g} dB", f"{loss:.2f} dB", loss <= goals.most_loss
    )
    moved = f"{drift:.2f} ΔE ({name})"
    return [kept, Target("Long stream: largest colour drift", f"at most {most:g} ΔE", moved, drift <= most)]


def adaptation_target(found: Adaptation, goals: Goals) -> Target:
    gain, least = found.gain, goals.lora_gain
    return Target("Line-art: PSNR that the LoRA adds", f"+{least:g} dB", f"{gain:+.2f} dB", gain >= least)
