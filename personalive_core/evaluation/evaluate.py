"""Runs the whole evaluation of a model and checks its targets."""

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

# Targets: gains in dB, errors as a share of a baseline's, PSNR lost in dB, colour drift in Delta E.
GAIN, LORA_GAIN, LANDMARK_SHARE, IDENTITY_SHARE, MOST_LOSS, MOST_DRIFT = 4.0, 1.0, 1 / 3, 1 / 2, 1.0, 2.0
ABLATION_PEOPLE = 8  # most people in the ablations and in the line-art evaluation

_T = TypeVar("_T")


class Watch(Protocol):
    """Progress display: yields `items` unchanged, of which `total` are expected."""

    def __call__(self, items: Iterable[_T], title: str, total: int) -> Iterable[_T]: ...


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    people: int = 16  # per task
    frames: int = 48  # per driving clip
    long: int = 3000  # frames of the long stream
    ablation_frames: int = 100  # per clip of the ablations


@dataclass(frozen=True)
class Target:
    """A target: the wanted and the measured figure, and whether it is met."""

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
    rate: float  # frames per second of one short stream, from reference and driving pictures to output pictures
    tasks: tuple[Reenactment, Reenactment]  # self- and cross-reenactment
    stability: Stability
    findings: tuple[AblationResult, ...]
    adaptation: Adaptation | None = None  # None: no LoRA was given
    torch: str = torch.__version__

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets in report order; the LoRA's only if one was evaluated."""
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
    """The model to evaluate, its trained ablations and its version with a LoRA."""

    model: PersonaLive
    ablations: Mapping[str, PersonaLive] = field(default_factory=dict)  # models of the trained ablations, by key
    adapted: PersonaLive | None = None  # the model with a LoRA for line-art


def evaluate(
    subject: Subject, judge: Landmarker, options: Options, watch: Watch
) -> tuple[Evaluation, Mapping[str, list[Column]]]:
    """Returns all figures, and the columns of each picture sheet by its key (self, cross, line)."""
    model = subject.model
    people, frames = options.people, options.frames
    # Short clips: self- and cross-reenactment.
    tasks, sheets = [], {}
    for key, name, make in (("self", "Self-reenactment", self_case), ("cross", "Cross-reenactment", cross_case)):
        cases = watch((make(i, frames) for i in range(people)), name, people)
        task, sheets[key] = run_task(name, cases, model, judge)
        tasks.append(task)
    # Fewer people: ablations, and line-art with the LoRA.
    few = min(people, ABLATION_PEOPLE)
    cases = watch((cross_case(i, options.ablation_frames) for i in range(few)), "Ablations", few)
    findings = run_ablations(model, cases, judge, subject.ablations)
    adaptation = None
    if subject.adapted:
        cases = watch((line_case(i, frames) for i in range(few)), "Line-art", few)
        adaptation, sheets["line"] = run_adaptation(model, subject.adapted, cases)
    # One long stream, scored window by window.
    case = long_case(options.long, people)
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
    """Frames per second of a stream of `frames` frames; drawing the driving pictures is not timed."""
    case = cross_case(0, frames)
    portrait, driving = case.reference(SIZE), [*case.driving(SIZE)]
    begun = time.perf_counter()
    done = sum(map(len, reenact(model, portrait, driving)))
    return done / (time.perf_counter() - begun)
