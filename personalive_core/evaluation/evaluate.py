"""Runs the whole evaluation of a model and checks its targets."""

from __future__ import annotations

import hashlib
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
from ..drawn.truth import Style
from .ablations import AblationResult, run_ablations
from .adaptation import Adaptation, line_case, run_adaptation
from .cases import cross_case, journey_case, self_case
from .goals import CROSS, SELF, Goals, Target, adaptation_target, goals_of, stability_targets, task_targets
from .reenactment import Column, Reenactment, reenact, run_task
from .stability import StreamFigures, Trace, long_case, measured, run_long, stream_figures

ABLATION_PEOPLE = 8  # most people in the ablations and in the line-art evaluation
RUN_PARTS = ("tasks", "stability", "ablations", "adaptation", "speed")  # what one run measures, in the report's order
DIGITS = 12  # of the weights' SHA-256

_T = TypeVar("_T")


class Watch(Protocol):
    """Progress display: yields `items` unchanged, of which `total` are expected."""

    def __call__(self, items: Iterable[_T], title: str, total: int) -> Iterable[_T]: ...


@dataclass(frozen=True)
class Options:
    """How much is measured, and of which pictures."""

    people: int = 16  # per task
    frames: int = 48  # per driving clip
    long: int = 3000  # frames of the long stream; 0: not measured
    ablation_frames: int = 100  # per clip of the ablations; 0: not measured
    size: int = SIZE  # pixels a side
    style: Style = "photo"  # of all people but the line-art portraits
    journeys: bool = False  # the ablations' clips have large turns, leaving and coming back


@dataclass(frozen=True)
class RunOrigin:
    """How figures came about."""

    command: str = ""  # "": not kept
    device: str = ""
    torch: str = ""
    weights: str = ""  # first DIGITS of the SHA-256 of all networks' weights


@dataclass(frozen=True)
class Evaluation:
    """All figures of a model; from one run, or put together from several."""

    options: Options
    parameters: int
    rate: float  # frames per second of one short stream, from reference and driving pictures to output pictures
    tasks: tuple[Reenactment, Reenactment]  # self- and cross-reenactment
    stability: StreamFigures | None  # None: not measured
    findings: tuple[AblationResult, ...]  # empty: not measured
    adaptation: Adaptation | None = None  # None: no LoRA was given
    origins: Mapping[str, RunOrigin] = field(default_factory=dict)  # of each of RUN_PARTS

    @property
    def goals(self) -> Goals:
        """What is wanted of a model of this size and style."""
        return goals_of(self.options.size, self.options.style)

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets in report order; only those of what was measured."""
        found, goals = task_targets(self.tasks, self.goals, self.options.size), self.goals
        found += stability_targets(self.stability, goals) if self.stability else []
        return (*found, *([adaptation_target(self.adaptation, goals)] if self.adaptation else []))

    def has(self, part: str) -> bool:
        """Whether one of RUN_PARTS was measured."""
        there = {"stability": self.stability, "ablations": self.findings, "adaptation": self.adaptation}
        return bool(there.get(part, True))


@dataclass(frozen=True, eq=False)
class Views:
    """What the pictures of an evaluation are made of."""

    sheets: Mapping[str, list[Column]]  # the columns of each picture sheet by its key: self, cross, line
    trace: Trace | None  # of the long stream


@dataclass(frozen=True)
class Subject:
    """The model to evaluate, its trained ablations and its version with a LoRA."""

    model: PersonaLive
    ablations: Mapping[str, PersonaLive] = field(default_factory=dict)  # models of the trained ablations, by key
    adapted: PersonaLive | None = None  # the model with a LoRA for line-art


def evaluate(
    subject: Subject, judge: Landmarker, options: Options, watch: Watch, command: str = ""
) -> tuple[Evaluation, Views]:
    """Returns all figures, and what their pictures are made of; `command` is told as the command that measured."""
    model, sheets, trace = subject.model, dict[str, list[Column]](), None
    people, frames, size, style = options.people, options.frames, options.size, options.style
    # Short clips: self- and cross-reenactment.
    tasks = []
    for key, name, make in (("self", SELF, self_case), ("cross", CROSS, cross_case)):
        cases = watch((make(i, frames, style) for i in range(people)), name, people)
        task, sheets[key] = run_task(name, cases, model, judge, size)
        tasks.append(task)
    # Fewer people: ablations, and line-art with the LoRA.
    few, findings = min(people, ABLATION_PEOPLE), list[AblationResult]()
    if options.ablation_frames:
        make = journey_case if options.journeys else cross_case
        cases = watch((make(i, options.ablation_frames, style) for i in range(few)), "Ablations", few)
        findings = run_ablations(model, cases, judge, subject.ablations, size)
    adaptation, stability = None, None
    if subject.adapted:
        cases = watch((line_case(i, frames, style) for i in range(few)), "Line-art", few)
        adaptation, sheets["line"] = run_adaptation(model, subject.adapted, cases, size)
    if options.long:
        stability, trace = _long(model, options, watch)
    rate = measured_rate(model, options)
    origin = RunOrigin(command, device_name(model.device), torch.__version__, digest(model))
    found = Evaluation(
        options, size_of(_networks(model))[0], rate, (tasks[0], tasks[1]), stability, tuple(findings), adaptation,
        dict.fromkeys(RUN_PARTS, origin),
    )  # fmt: skip
    return found, Views(sheets, trace)


def _long(model: PersonaLive, options: Options, watch: Watch) -> tuple[StreamFigures, Trace]:
    """One long stream, scored window by window."""
    case = long_case(options.long, options.people, options.style)
    windows = watch(measured(model, case, options.size), "Long stream", -(-options.long // StreamConfig.window))
    found = run_long(windows, options.long, model.device)
    return stream_figures(found), found.trace


def measured_rate(model: PersonaLive, options: Options) -> float:
    """Frames per second of a stream of `options.frames` frames; drawing the driving pictures is not timed."""
    case = cross_case(0, options.frames, options.style)
    portrait, driving = case.reference(options.size), [*case.driving(options.size)]
    begun = time.perf_counter()
    done = sum(map(len, reenact(model, portrait, driving)))
    return done / (time.perf_counter() - begun)


def digest(model: PersonaLive) -> str:
    """The first DIGITS of the SHA-256 of all networks' weights: two files that have the same measured one model."""
    sha = hashlib.sha256()
    for network in _networks(model):
        for key, tensor in sorted(network.state_dict().items()):
            sha.update(key.encode())
            sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:DIGITS]


def _networks(model: PersonaLive) -> list[torch.nn.Module]:
    return [network for network in vars(model).values() if isinstance(network, torch.nn.Module)]
