"""The whole evaluation of a model as one value, and which of its targets are met."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import StreamConfig
from ..bench.measure import size_of
from ..device import device_name
from ..drawn.landmarker import SIZE, Landmarker
from .ablations import AblationResult, run_ablations
from .adaptation import Adaptation, line_case, run_adaptation
from .cases import cross_case, self_case
from .reenactment import DRIVING, MODEL, REPEATED, Column, Reenactment, reenact, run_task
from .stability import Stability, long_case, measured, run_long

GAIN, LORA_GAIN, LANDMARK_SHARE, IDENTITY_SHARE, MOST_LOSS, MOST_DRIFT = 4.0, 1.0, 1 / 3, 1 / 2, 1.0, 2.0
ABLATION_PEOPLE = 8  # at most

_T = TypeVar("_T")


class Watch(Protocol):
    """Shows how far something is: `items` as they are, of which `total` may come."""

    def __call__(self, items: Iterable[_T], title: str, total: int) -> Iterable[_T]: ...


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    people: int = 16  # of each task
    frames: int = 48  # of each driving clip
    long: int = 3000  # frames of the long stream
    ablation_frames: int = 100


@dataclass(frozen=True)
class Target:
    """What a figure should be, and what it is."""

    name: str
    wanted: str
    found: str
    met: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.found}, wanted {self.wanted}: {'met' if self.met else 'NOT met'}"


@dataclass(frozen=True)
class Evaluation:
    """All figures of a model."""

    options: Options
    parameters: int
    device: str
    rate: float  # frames a second of a whole short stream, from reference and driving pictures to animated ones
    tasks: tuple[Reenactment, Reenactment]  # self- and cross-reenactment
    stability: Stability
    findings: tuple[AblationResult, ...]
    adaptation: Adaptation | None = None  # where a LoRA was given
    torch: str = torch.__version__

    @property
    def targets(self) -> tuple[Target, ...]:
        """In the order in which they were set."""
        gains = [gain_target(task) for task in self.tasks]
        places = [landmark_target(task) for task in self.tasks]
        adapted = [adaptation_target(self.adaptation)] if self.adaptation else []
        return (*gains, *places, identity_target(self.tasks[1]), *stability_targets(self.stability), *adapted)


def gain_target(task: Reenactment) -> Target:
    gain = task.rows[MODEL].psnr - task.rows[REPEATED].psnr
    return Target(f"{task.name}: PSNR above the reference repeated", f"+{GAIN:g} dB", f"{gain:+.2f} dB", gain >= GAIN)


def landmark_target(task: Reenactment) -> Target:
    share = task.rows[MODEL].landmarks / task.rows[REPEATED].landmarks
    name = f"{task.name}: landmark error, as a share of the reference repeated's"
    return Target(name, f"at most {LANDMARK_SHARE:.3f}", f"{share:.3f}", share <= LANDMARK_SHARE)


def identity_target(task: Reenactment) -> Target:
    share = task.rows[MODEL].identity / task.rows[DRIVING].identity
    name = f"{task.name}: identity error, as a share of the driving frame's"
    return Target(name, f"below {IDENTITY_SHARE:.3f}", f"{share:.3f}", share < IDENTITY_SHARE)


def stability_targets(found: Stability) -> tuple[Target, Target]:
    name, drift = max(found.drift.items(), key=lambda item: item[1])
    loss = Target(
        "Long stream: PSNR lost", f"at most {MOST_LOSS:g} dB", f"{found.loss:.2f} dB", found.loss <= MOST_LOSS
    )
    moved = f"{drift:.2f} ΔE ({name})"
    return loss, Target("Long stream: largest colour drift", f"at most {MOST_DRIFT:g} ΔE", moved, drift <= MOST_DRIFT)


def adaptation_target(found: Adaptation) -> Target:
    gain = found.gain
    return Target("Line-art: PSNR that the LoRA adds", f"+{LORA_GAIN:g} dB", f"{gain:+.2f} dB", gain >= LORA_GAIN)


@dataclass(frozen=True)
class Subject:
    """The model that is evaluated, and its relatives."""

    model: PersonaLive
    ablations: Mapping[str, PersonaLive] = field(default_factory=dict)  # models of trained ablations
    adapted: PersonaLive | None = None  # the model with a LoRA for line-art


def evaluate(
    subject: Subject, judge: Landmarker, options: Options, watch: Watch
) -> tuple[Evaluation, Mapping[str, list[Column]]]:
    """Every figure, and the columns of the picture sheets."""
    model = subject.model
    people, frames = options.people, options.frames
    tasks, sheets = [], {}
    for key, name, make in (("self", "Self-reenactment", self_case), ("cross", "Cross-reenactment", cross_case)):
        cases = watch((make(i, frames) for i in range(people)), name, people)
        task, sheets[key] = run_task(name, cases, model, judge)
        tasks.append(task)
    few = min(people, ABLATION_PEOPLE)
    cases = watch((cross_case(i, options.ablation_frames) for i in range(few)), "Ablations", few)
    findings = run_ablations(model, cases, judge, subject.ablations)
    adaptation = None
    if subject.adapted:
        cases = watch((line_case(i, frames) for i in range(few)), "Line-art", few)
        adaptation, sheets["line"] = run_adaptation(model, subject.adapted, cases)
    case = long_case(options.long)
    windows = watch(measured(model, case), "Long stream", -(-options.long // StreamConfig.window))
    stability = run_long(windows, options.long, model.device)
    networks = [network for network in vars(model).values() if isinstance(network, torch.nn.Module)]
    evaluation = Evaluation(
        options,
        size_of(networks)[0],
        device_name(model.device),
        measured_rate(model, frames),
        (tasks[0], tasks[1]),
        stability,
        tuple(findings),
        adaptation,
    )
    return evaluation, sheets


def measured_rate(model: PersonaLive, frames: int) -> float:
    """Frames a second of a stream of `frames` whose driving pictures are there already."""
    case = cross_case(0, frames)
    portrait, driving = case.reference(SIZE), [*case.driving(SIZE)]
    begun = time.perf_counter()
    done = sum(map(len, reenact(model, portrait, driving)))
    return done / (time.perf_counter() - begun)
