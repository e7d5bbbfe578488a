"""Makes a stage fast for inputs of one shape: compiles, then records; a failure leaves the next simpler way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ....modules.kernels import is_fused
from ....modules.layers import Ops, attention_function
from ....text import warn_once
from ..stages import NetworkStage, decode_full, decode_tiny, predict_noise
from .cache import kernels_file, load_kernels, save_kernels
from .choice import SpeedPlan
from .fp8 import fp8_linear, settle
from .graphs import CudaRecorder, GraphRecorder, Recording
from .rtx import compiled_by_rtx
from .units import ChangedOps, Compile, Kinds, Progress, leave_lengths_open, opaque, opaque_kernels, short_error, twin
from .values import Snapshot, shape_of, snapshot, tensors_of, with_tensors

Body = Callable[..., Any]  # a stage whose networks are given
COMPILED_STAGES: tuple[Any, ...] = (predict_noise, decode_full, decode_tiny)  # the others gain by graphs alone
MOST_TWINS = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What stages are made fast with; tests pass their own."""

    compile: Compile | None = None  # None: torch.compile with the options of the speed
    recorder: Callable[[torch.device], GraphRecorder] = CudaRecorder
    ops: Ops = nn  # layers of the compiled UNet
    kept: bool = True  # compiled kernels are kept on disk
    rtx: Callable[[Body], Body] = compiled_by_rtx


@dataclass(frozen=True, eq=False)
class Workshop:
    """Makes stages fast at one speed, and holds what they share."""

    speed: SpeedPlan
    kinds: Kinds
    tools: Tools
    twins: dict[Any, tuple[Snapshot, tuple[nn.Module, ...]]] = field(default_factory=dict)
    recorders: dict[Any, GraphRecorder] = field(default_factory=dict)  # by stage: two stages may run at the same time

    def make(self, stage: NetworkStage, networks: tuple[nn.Module, ...], inputs: tuple[Any, ...]) -> Body:
        """A function that takes such `inputs` as one tuple; raises only what the progress raises, to cancel."""
        body: Body = partial(stage, *networks)
        if self.speed.graphs:  # in the strides that the graph's buffers will have: nothing is compiled twice
            inputs = with_tensors(inputs, (torch.empty_like(one).copy_(one) for one in tensors_of(inputs)))
        if self.speed.rtx:
            body = self._by_rtx(stage, body, inputs)
        elif self._gains_by_compiler(stage, networks):
            body = self._compiled(stage, networks, inputs)
        recorded = self._recorded(stage, body, inputs) if self.speed.graphs else None
        return recorded or (lambda given: in_inference(body, given))

    def clear(self) -> None:
        """Frees second networks, graphs and their memory."""
        self.twins.clear()
        self.recorders.clear()

    def drop(self, network: int) -> None:
        """Frees the second networks that were made of the one with this identity: they keep its old weights."""
        for key in [key for key in self.twins if network in key[1]]:
            del self.twins[key]

    def _gains_by_compiler(self, stage: NetworkStage, networks: tuple[nn.Module, ...]) -> bool:
        """False for networks with fused kernels, which in a graph are faster than what torch.compile makes of them."""
        fused = any(is_fused(network) for network in networks)
        return self.speed.compiles and stage in COMPILED_STAGES and (self.speed.fp8 or not fused)

    def _compiled(self, stage: NetworkStage, networks: tuple[nn.Module, ...], inputs: tuple[Any, ...]) -> Body:
        """`stage` on second networks with compiled units, which has run once; plain if they cannot be made."""
        try:
            twins = self._twins(stage, networks)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            warn_once(_log, f"{stage.__name__} runs without a compiler, its networks are of another kind: {error}")
            return partial(stage, *networks)

        def body(*given: Any) -> Any:  # noqa: ANN401 - as the stage
            if stage is predict_noise:
                leave_lengths_open(given[-1])
            return stage(*twins, *given)

        known, file = len(self.kinds.compiled), self._file(stage, networks, inputs)
        if file is not None:
            load_kernels(file)
        in_inference(body, inputs)
        if len(self.kinds.compiled) > known:
            self.kinds.finish()
            if file is not None:
                save_kernels(file)  # even if some were loaded: they may not have served
        return body

    def _twins(self, stage: NetworkStage, networks: tuple[nn.Module, ...]) -> tuple[nn.Module, ...]:
        key = stage, tuple(map(id, networks))
        weights, twins = self.twins.pop(key, (None, ()))
        if weights is None or not weights.holds():
            weights = snapshot(networks, self.speed.fp8)
            twins = tuple(twin(network, self._ops(), self.kinds) for network in networks)
            for made in twins:
                settle(made)
        self.twins[key] = weights, twins
        while len(self.twins) > MOST_TWINS:
            del self.twins[next(iter(self.twins))]
        return twins

    def _ops(self) -> Ops:
        ops = self.tools.ops
        attention, kernels = attention_function(ops), getattr(ops, "kernels", None)
        changes = {"scaled_dot_product_attention": opaque(attention)}
        if kernels is not None:
            changes["kernels"] = opaque_kernels(kernels, attention)
        if self.speed.fp8:
            changes["Linear"] = fp8_linear(ops.Linear)
        return ChangedOps(ops, **changes)

    def _file(self, stage: NetworkStage, networks: tuple[nn.Module, ...], inputs: tuple[Any, ...]) -> Path | None:
        """Where the kernels for these shapes are kept; the number of keyframes does not count."""
        if not self.tools.kept:
            return None
        shapes = [(name, shape_of(weight)) for network in networks for name, weight in network.named_parameters()]
        given = shape_of(inputs[:-1] if stage is predict_noise else inputs)
        options = sorted((name, repr(value)) for name, value in self.speed.options.items())
        return kernels_file(tensors_of(inputs)[0].device, (stage.__name__, self.speed.name, options, given, shapes))

    def _recorded(self, stage: NetworkStage, body: Body, inputs: tuple[Any, ...]) -> Body | None:
        try:
            recorder = self.recorders.get(stage) or self.tools.recorder(tensors_of(inputs)[0].device)
            self.recorders[stage] = recorder
            with torch.inference_mode():
                return Recording(body, inputs, recorder)
        except Exception as error:  # whatever a driver or a library raises: the same work runs without a graph
            warn_once(_log, f"{stage.__name__} runs without a CUDA graph, which failed: {short_error(error)}")
            return None

    def _by_rtx(self, stage: NetworkStage, body: Body, inputs: tuple[Any, ...]) -> Body:
        made = self.tools.rtx(body)
        try:
            in_inference(made, inputs)
        except Exception as error:  # as above
            warn_once(_log, f"{stage.__name__} runs plain, TensorRT-RTX failed: {short_error(error)}")
            return body
        return made


def workshop(speed: SpeedPlan, tools: Tools, progress: Progress | None) -> Workshop:
    """A workshop without anything made yet."""
    compiler = tools.compile or partial(
        torch.compile, dynamic=False, fullgraph=True, options=dict(speed.options) or None
    )
    return Workshop(speed, Kinds(compiler, progress), tools)


def in_inference(body: Body, inputs: tuple[Any, ...]) -> Any:  # noqa: ANN401 - whatever the stage returns
    """`body(*inputs)` in inference mode, as tensors that the caller's mode knows."""
    with torch.inference_mode():
        made = body(*inputs)
    if torch.is_inference_mode_enabled():
        return made
    return with_tensors(made, (tensor.clone() for tensor in tensors_of(made)))
