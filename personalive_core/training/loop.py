"""The training loop of all stages; a resumed run gives the same bits as an uninterrupted one."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..backends.personalive.model import PersonaLive
from ..errors import InputError, NumericalError
from .checkpoint import RunProgress, load_run, save_run
from .clock import Clock, seconds_to_save
from .files import make_folder
from .interrupt import held_interrupts
from .losses import Losses
from .networks import remembering, save_networks, with_networks
from .optimise import average, clip, freeze, groups, rate_at
from .presets import Preset
from .report import append_metrics, draw_losses, forget_after, open_board, save_sheet
from .source import Source
from .streaming import history_at

if TYPE_CHECKING:
    from accelerate import Accelerator

Objective = Callable[..., Losses]  # (source, row, *numbers) -> loss terms; their sum is minimised
LOG_EVERY, SAMPLE_EVERY = 10, 250  # steps
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """What a stage gives to the loop: its losses, extra networks and callbacks."""

    objective: Objective
    extra: nn.ModuleDict  # trained too, but not part of the model: a discriminator, LoRA parameters
    sheet: Callable[[Source], list[Tensor]] | None = None  # rows of a sample sheet
    finish: Callable[[PersonaLive, Source], None] | None = None  # applied to the networks before export
    statistics: bool = False  # whether batch norms update their running statistics
    frozen: nn.ModuleList = field(default_factory=nn.ModuleList)  # frozen layers of the trained networks
    # replaces Run.export when the trained parameters are none of the model's networks (LoRA, landmarker)
    export: Callable[[PersonaLive, Path], object] | None = None


@dataclass(frozen=True)
class Run:
    """Folder, stage, preset and options of one run."""

    folder: Path
    stage: str
    row: Preset
    seed: int
    precision: str = "no"  # accelerate's name: no, bf16 or fp16
    export: Callable[[PersonaLive, Path], object] = save_networks
    quiet: bool = False
    tensorboard: bool = False
    minutes: float = 0.0  # of this call, saving included: the run is kept before they are over; 0: no limit
    begun: float = field(default_factory=time.monotonic)  # when this call began

    @property
    def settings(self) -> str:
        """JSON of all that must be the same for a run to be resumed."""
        return json.dumps({**asdict(self.row), "stage": self.stage, "seed": self.seed, "precision": self.precision})


class Learner(nn.Module):
    """The trained networks as one module, which `accelerate` wraps; its forward returns the losses."""

    def __init__(self, networks: nn.ModuleDict, stage: Stage, source: Source, row: Preset) -> None:
        super().__init__()
        self.networks, self.extra = networks, stage.extra
        self.objective, self.source, self.row = stage.objective, source, row

    def forward(self, *numbers: int, over: float = 1.0) -> Losses:
        """`over` is the share of the stage's steps or minutes that has passed."""
        return self.objective(self.source, history_at(self.row, over), *numbers)


def train(run: Run, stage: Stage, source: Source, networks: nn.ModuleDict) -> Path:
    """Trains `networks` for the preset's steps or minutes, from the run's checkpoint if there is one.

    Returns the weights folder, also where `run.minutes` ended the call earlier. Ctrl-C saves a checkpoint after the
    current step and raises KeyboardInterrupt. Raises InputError without accelerate or for another run's folder,
    NumericalError for a loss that is not finite, WeightsError, OutputError (disk full).
    """
    accelerator = _accelerator(run)
    make_folder(run.folder)
    freeze(source.model, networks, run.row, accelerator.device)
    stage.extra.to(accelerator.device).requires_grad_(True)
    networks.train(stage.statistics)
    stage.frozen.requires_grad_(False)
    # everything that a checkpoint restores
    learner = Learner(networks, stage, source, run.row)
    adam = AdamW(groups(learner, run.row), lr=run.row.rate, weight_decay=run.row.decay, fused=True)
    mean = {key: value.detach().clone() for key, value in networks.state_dict().items()} if run.row.ema else {}
    progress = load_run(run.folder, learner, mean, adam, run.settings)
    wrapped, adam = accelerator.prepare(learner, adam)
    if accelerator.scaler and progress.scaler:
        accelerator.scaler.load_state_dict(json.loads(progress.scaler))
    main = accelerator.is_main_process
    board = open_board(run.folder, progress.step) if run.tensorboard and main else None
    writer = RunWriter(run, stage, source, learner, mean, adam, accelerator.scaler, board)
    if main:
        forget_after(run.folder, progress.step)
    clock = Clock(60 * run.minutes, 60 * run.row.minutes, progress.seconds, run.begun, time.monotonic())
    _follow(accelerator, writer, wrapped, clock, progress.step)
    accelerator.wait_for_everyone()  # the main process may still be saving
    accelerator.end_training()
    return run.folder / "weights"


def _follow(accelerator: Accelerator, writer: RunWriter, learner: nn.Module, clock: Clock, first: int) -> None:
    """Takes the steps from `first` on and keeps them; one process writes all files. Raises KeyboardInterrupt."""
    run, main, done, saving, longest = writer.run, accelerator.is_main_process, first, 0.0, 0.0
    weights = sum(parameter.numel() for parameter in writer.learner.parameters())
    with held_interrupts() as interrupted:
        for step in _steps(run, first, main):
            if _by_anyone(accelerator, clock.done()):
                break
            begun = time.monotonic()
            values = _descend(accelerator, learner, writer.adam, run, (step, _spent(accelerator, clock)))
            average(writer.mean, writer.learner.networks, run.row.ema)
            done, longest = step + 1, max(longest, time.monotonic() - begun)
            if main:
                saving = writer.after(step, values, clock.trained()) or saving
            pressed = _by_anyone(accelerator, interrupted())
            late = _by_anyone(accelerator, clock.over(longest, seconds_to_save(run.folder, weights, saving)))
            if (pressed or late) and done < run.row.steps:
                if main:
                    writer.save(done, clock.trained())
                    _log.warning("the run is kept after %d steps; the same command goes on from there", done)
                if pressed:
                    raise KeyboardInterrupt
                return
        if main:
            writer.save(done, clock.trained())
        if _by_anyone(accelerator, interrupted()):  # in the last step, or while the run was kept
            raise KeyboardInterrupt


def _by_anyone(accelerator: Accelerator, interrupted: bool) -> bool:
    """Whether any process was interrupted: all must stop after the same step, or they would wait for each other."""
    if accelerator.num_processes == 1:  # without waiting for the device
        return interrupted
    return bool(accelerator.reduce(torch.tensor(float(interrupted), device=accelerator.device)))


def _spent(accelerator: Accelerator, clock: Clock) -> float:
    """The share of the planned time that is over, the mean of all processes' clocks: they share one learning rate."""
    if accelerator.num_processes == 1 or not clock.planned:
        return clock.spent()
    return float(accelerator.reduce(torch.tensor(clock.spent(), device=accelerator.device), "mean"))


def _descend(
    accelerator: Accelerator, learner: nn.Module, adam: Optimizer, run: Run, at: tuple[int, float]
) -> dict[str, float]:
    """One optimiser step, with gradient accumulation; returns step, learning rate, gradient norm, mean of each loss.

    `at` is the step and the share of the planned minutes that is over. Raises NumericalError for a loss that is not
    finite.
    """
    row, (step, spent), totals = run.row, at, dict[str, float]()
    rate = rate_at(row, step, spent)
    for group in adam.param_groups:
        group["lr"] = rate * group["factor"]
    adam.zero_grad()
    for micro in range(row.accumulation):
        last = micro == row.accumulation - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(learner):
            over = max(step / row.steps, spent)
            losses = learner(run.seed, step, micro, accelerator.process_index, over=over)
            accelerator.backward(sum(losses.values()) / row.accumulation)
        for name, value in losses.items():
            totals[f"loss/{name}"] = totals.get(f"loss/{name}", 0.0) + float(value.detach()) / row.accumulation
    norm = clip(accelerator, learner, adam, row.clip_norm)
    if not all(map(math.isfinite, totals.values())):
        raise NumericalError(
            f"a loss of step {step} is no number ({totals}): lower the learning rate, or use --precision bf16 or fp32"
        )
    adam.step()
    return {"step": step, "rate": rate, "gradient": norm, **totals}


@dataclass(frozen=True)
class RunWriter:
    """Writes a run's metrics, sample sheets, checkpoints and exported weights."""

    run: Run
    stage: Stage
    source: Source
    learner: Learner
    mean: dict[str, Tensor]  # EMA weights; empty without EMA
    adam: Optimizer
    scaler: Any = None  # gradient scaler; float16 only
    board: Any = None  # TensorBoard writer

    def after(self, step: int, values: dict[str, float], trained: float = 0.0) -> float:
        """Writes the metrics, sample sheet and checkpoint that are due after `step`; returns the seconds of the latter.

        `trained` are the seconds that the stage has been trained for.
        """
        if step % LOG_EVERY == 0:
            append_metrics(self.run.folder, {**values, "time": round(time.time(), 1)})
            for name, value in values.items() if self.board else ():
                self.board.add_scalar(name, value, step)
        if (step + 1) % SAMPLE_EVERY == 0 and self.stage.sheet:
            with torch.no_grad():
                save_sheet(self.run.folder / f"sheet_{step + 1:06d}.jpg", self.stage.sheet(self.source))
        if (step + 1) % self.run.row.save_every == 0 and step + 1 < self.run.row.steps:
            begun = time.monotonic()
            self.save(step + 1, trained)
            return time.monotonic() - begun
        return 0.0

    def save(self, step: int, trained: float = 0.0) -> None:
        """Writes the checkpoint after `step` steps, the exported weights and the loss curve. Raises OutputError."""
        scaler = json.dumps(self.scaler.state_dict()) if self.scaler else ""
        progress = RunProgress(step, self.run.settings, scaler, round(trained, 1))
        save_run(self.run.folder, self.learner, self.mean, _plain(self.adam), progress)
        networks = copy.deepcopy(self.learner.networks)
        if self.mean:
            networks.load_state_dict(self.mean)
        model = with_networks(self.source.model, {name: net.eval() for name, net in networks.items()})
        if self.run.row.history:  # the weights say so only if they have seen any
            model = remembering(model, history_at(self.run.row, self._over(step - 1, trained)).history)
        if self.stage.finish:
            self.stage.finish(model, self.source)
        (self.stage.export or self.run.export)(model, self.run.folder / "weights")
        draw_losses(self.run.folder)
        if self.board:
            self.board.flush()

    def _over(self, step: int, trained: float) -> float:
        """The share of the stage's steps or minutes that had passed before `step`."""
        row = self.run.row
        return max(step / row.steps, trained / (60 * row.minutes) if row.minutes else 0.0)


def _plain(adam: Optimizer) -> Optimizer:
    """The optimiser inside `accelerate`'s wrapper."""
    inside: Optimizer = getattr(adam, "optimizer", adam)
    return inside


def _steps(run: Run, first: int, show: bool) -> Iterator[int]:
    from tqdm import tqdm

    bar = tqdm(
        range(first, run.row.steps), initial=first, total=run.row.steps, desc=f"stage {run.stage}", file=sys.stderr,
        disable=run.quiet or not show, mininterval=5,
    )  # fmt: skip
    yield from bar


def _accelerator(run: Run) -> Accelerator:
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs
    except ImportError as error:
        raise InputError("training needs accelerate: `pip install accelerate`") from error
    # some layers get no gradient: temporal ones before stage 3, and those after the reference's last tokens
    sparse = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        return Accelerator(mixed_precision=run.precision, kwargs_handlers=[sparse])
    except ValueError as error:
        raise InputError(f"--precision {run.precision} cannot be used here ({error}): use bf16 or fp32") from error
