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

from ..backends.personalive.loader import NEEDED
from ..backends.personalive.model import PersonaLive
from ..errors import InputError, NumericalError
from .checkpoint import RunProgress, load_run, save_run
from .files import make_folder
from .interrupt import held_interrupts
from .losses import Losses
from .networks import save_networks, with_networks
from .presets import Preset
from .report import append_metrics, draw_losses, forget_after, open_board, save_sheet
from .source import Source

if TYPE_CHECKING:
    from accelerate import Accelerator

Objective = Callable[..., Losses]  # (source, row, *numbers) -> loss terms; their sum is minimised
LOG_EVERY, SAMPLE_EVERY = 10, 250  # steps
LOWEST_RATE = 0.05  # final learning rate of the cosine schedule, relative to the highest
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

    @property
    def settings(self) -> str:
        """JSON of all that must be the same for a run to be resumed."""
        return json.dumps({"stage": self.stage, "seed": self.seed, "precision": self.precision, **asdict(self.row)})


class Learner(nn.Module):
    """The trained networks as one module, which `accelerate` wraps; its forward returns the losses."""

    def __init__(self, networks: nn.ModuleDict, stage: Stage, source: Source, row: Preset) -> None:
        super().__init__()
        self.networks, self.extra = networks, stage.extra
        self.objective, self.source, self.row = stage.objective, source, row

    def forward(self, *numbers: int) -> Losses:
        return self.objective(self.source, self.row, *numbers)


def rate_at(row: Preset, step: int) -> float:
    """The learning rate of a step: linear warm-up, then constant or a cosine."""
    rise = min(1.0, (step + 1) / row.warmup) if row.warmup else 1.0
    if not row.cosine:
        return row.rate * rise
    fall = 0.5 * (1 + math.cos(math.pi * min(step / row.steps, 1.0)))
    return row.rate * rise * (LOWEST_RATE + (1 - LOWEST_RATE) * fall)


def train(run: Run, stage: Stage, source: Source, networks: nn.ModuleDict) -> Path:
    """Trains `networks` for the preset's steps, from the run's checkpoint if there is one; returns the weights folder.

    Ctrl-C saves a checkpoint after the current step and raises KeyboardInterrupt. Raises InputError without accelerate
    or for another run's folder, NumericalError for a loss that is not finite, WeightsError, OutputError (disk full).
    """
    accelerator = _accelerator(run)
    make_folder(run.folder)
    _place(source.model, stage, networks, run.row.layers, accelerator.device)
    # everything that a checkpoint restores
    learner = Learner(networks, stage, source, run.row)
    adam = AdamW(learner.parameters(), lr=run.row.rate, weight_decay=run.row.decay, fused=True)
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
    # steps from here on; one process writes all files
    with held_interrupts() as interrupted:
        for step in _steps(run, progress.step, main):
            values = _descend(accelerator, wrapped, adam, run, step)
            _average(mean, networks, run.row.ema)
            if main:
                writer.after(step, values)
            if _by_anyone(accelerator, interrupted()) and step + 1 < run.row.steps:
                if main:
                    writer.save(step + 1)
                    _log.warning("the run is kept after %d steps; the same command goes on from there", step + 1)
                raise KeyboardInterrupt
        if main:
            writer.save(run.row.steps)
    accelerator.wait_for_everyone()  # the main process may still be saving
    accelerator.end_training()
    return run.folder / "weights"


def _place(model: PersonaLive, stage: Stage, networks: nn.ModuleDict, layers: str, device: torch.device) -> None:
    """Moves everything to `device`, and enables gradients for the trainable parameters alone."""
    for name in NEEDED:
        getattr(model, name).requires_grad_(False).to(device)
    stage.extra.to(device).requires_grad_(True)
    for network in networks.values():
        network.train(stage.statistics)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(layers in name)
    stage.frozen.requires_grad_(False)


def _by_anyone(accelerator: Accelerator, interrupted: bool) -> bool:
    """Whether any process was interrupted: all must stop after the same step, or they would wait for each other."""
    return bool(accelerator.reduce(torch.tensor(float(interrupted), device=accelerator.device)))


def _descend(accelerator: Accelerator, learner: nn.Module, adam: Optimizer, run: Run, step: int) -> dict[str, float]:
    """One optimiser step, with gradient accumulation; returns step, learning rate, gradient norm, mean of each loss.

    Raises NumericalError for a loss that is not finite.
    """
    row, totals = run.row, dict[str, float]()
    for group in adam.param_groups:
        group["lr"] = rate_at(row, step)
    adam.zero_grad()
    for micro in range(row.accumulation):
        last = micro == row.accumulation - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(learner):
            losses = learner(run.seed, step, micro, accelerator.process_index)
            accelerator.backward(sum(losses.values()) / row.accumulation)
        for name, value in losses.items():
            totals[f"loss/{name}"] = totals.get(f"loss/{name}", 0.0) + float(value.detach()) / row.accumulation
    norm = float(accelerator.clip_grad_norm_(learner.parameters(), row.clip_norm))
    if not all(map(math.isfinite, totals.values())):
        raise NumericalError(
            f"a loss of step {step} is no number ({totals}): lower the learning rate, or use --precision bf16 or fp32"
        )
    adam.step()
    return {"step": step, "rate": rate_at(row, step), "gradient": norm, **totals}


@torch.no_grad()
def _average(mean: dict[str, Tensor], networks: nn.ModuleDict, decay: float) -> None:
    """Updates the EMA weights; of buffers, the newest value is taken."""
    if not mean:
        return
    parameters = dict(networks.named_parameters())
    keys = list(parameters)
    torch._foreach_lerp_([mean[key] for key in keys], [parameters[key].detach() for key in keys], 1 - decay)
    for key, value in networks.named_buffers():
        if key in mean:
            mean[key].copy_(value)


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

    def after(self, step: int, values: dict[str, float]) -> None:
        """Writes the metrics, sample sheet and checkpoint that are due after `step`."""
        if step % LOG_EVERY == 0:
            append_metrics(self.run.folder, {**values, "time": round(time.time(), 1)})
            for name, value in values.items() if self.board else ():
                self.board.add_scalar(name, value, step)
        if (step + 1) % SAMPLE_EVERY == 0 and self.stage.sheet:
            with torch.no_grad():
                save_sheet(self.run.folder / f"sheet_{step + 1:06d}.jpg", self.stage.sheet(self.source))
        if (step + 1) % self.run.row.save_every == 0 and step + 1 < self.run.row.steps:
            self.save(step + 1)

    def save(self, step: int) -> None:
        """Writes the checkpoint after `step` steps, the exported weights and the loss curve. Raises OutputError."""
        scaler = json.dumps(self.scaler.state_dict()) if self.scaler else ""
        progress = RunProgress(step, self.run.settings, scaler)
        save_run(self.run.folder, self.learner, self.mean, _plain(self.adam), progress)
        networks = copy.deepcopy(self.learner.networks)
        if self.mean:
            networks.load_state_dict(self.mean)
        model = with_networks(self.source.model, {name: net.eval() for name, net in networks.items()})
        if self.stage.finish:
            self.stage.finish(model, self.source)
        (self.stage.export or self.run.export)(model, self.run.folder / "weights")
        draw_losses(self.run.folder)
        if self.board:
            self.board.flush()


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
        raise InputError("training needs accelerate: `pip install personalive-comfyui[train]`") from error
    # some layers get no gradient: temporal ones before stage 3, and those after the reference's last tokens
    sparse = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        return Accelerator(mixed_precision=run.precision, kwargs_handlers=[sparse])
    except ValueError as error:
        raise InputError(f"--precision {run.precision} cannot be used here ({error}): use bf16 or fp32") from error
