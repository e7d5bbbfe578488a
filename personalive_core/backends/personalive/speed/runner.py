"""Runs stages at a chosen speed: prepared once per shape, checked for changed weights at every call."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ....text import warn_once
from ..model import PersonaLive
from ..stages import NetworkStage
from .choice import SpeedPlan
from .prepare import Body, Tools, Workshop, workshop
from .units import Progress
from .values import Snapshot, fewer_frames, shape_of, snapshot, tensors_of

MOST_PREPARED = 12  # shapes, of all stages together; the one that was not used for longest goes first
MOST_SEEN = 64
IN_A_ROW = 3  # calls of a shape of fewer frames than a prepared one, which then ends no clip: live that follows a film

Key = tuple[NetworkStage, tuple[int, ...], Hashable]  # stage, identities of its networks, shapes of its inputs

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PreparedStage:
    """A stage, ready to run for inputs of one shape, as long as the weights stay where they are."""

    networks: tuple[weakref.ref[nn.Module], ...]
    weights: Snapshot
    token: Hashable
    call: Body

    def fits(self, networks: tuple[nn.Module, ...], token: Hashable) -> bool:
        """True if it was made for these networks, whose weights have not changed since."""
        same = all(one() is other for one, other in zip(self.networks, networks, strict=True))
        return same and self.token == token and self.weights.holds()


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs stages; what it prepared lives as long as it does, or until `release`."""

    work: Workshop
    prepared: OrderedDict[Key, PreparedStage] = field(default_factory=OrderedDict)
    seen: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    latest: dict[NetworkStage, tuple[Key, int]] = field(default_factory=dict)  # of each stage, and how often in a row
    lock: threading.RLock = field(default_factory=threading.RLock)  # nothing is prepared by two threads at once

    def __call__(
        self, stage: NetworkStage, networks: tuple[nn.Module, ...], inputs: tuple[Any, ...], token: Hashable | None
    ) -> Any:  # noqa: ANN401 - whatever the stage returns
        """As `stages.StageRunner`: the first time that a shape comes it runs plain, the second time it is prepared."""
        modules = all(isinstance(network, nn.Module) for network in networks)  # a host's own VAE is none
        if not modules or torch.is_grad_enabled():
            return stage(*networks, *inputs)
        key = stage, tuple(map(id, networks)), shape_of(inputs)
        with self.lock:
            before, times = self.latest.get(stage, (key, 0))
            self.latest[stage] = key, times + 1 if before == key else 1
            ready = self.prepared.get(key)
            if ready is not None and not ready.fits(networks, token):
                ready = None  # what was made of old weights is freed before it is made anew
            if ready is None:
                ready = self._renewed(key, networks, inputs, token)
            if ready is not None:
                self.prepared.move_to_end(key)
        return stage(*networks, *inputs) if ready is None else ready.call(inputs)

    def release(self) -> None:
        """Frees all graphs, their memory and the second networks; compiled code stays, and is used again."""
        with self.lock:
            self.prepared.clear()
            self.seen.clear()
            self.work.clear()

    def forget(self, network: nn.Module) -> bool:
        """Frees graphs and second networks that were made of `network`; True if there were any.

        For a host that takes the weights off the device. The next call of each shape runs plain, as the first did.
        """
        with self.lock:
            stale = [key for key in self.prepared if id(network) in key[1]]
            for key in stale:
                del self.prepared[key]
                self.seen.pop(key, None)
            self.work.drop(id(network))
        return bool(stale)

    def _renewed(
        self, key: Key, networks: tuple[nn.Module, ...], inputs: tuple[Any, ...], token: Hashable | None
    ) -> PreparedStage | None:
        """What is prepared for `key` now; None: this call runs plain."""
        # what was made of these networks' old weights, for any shape, is of no more use
        same = [old for old in self.prepared if old[:2] == key[:2]]
        for old in same:
            if not self.prepared[old].fits(networks, token):
                del self.prepared[old]
                for network in networks:
                    self.work.drop(id(network))
        reason = hindrance(networks, inputs, token)
        if reason:
            warn_once(_log, f"{key[0].__name__} runs plain: {reason}")
            return None
        first, self.seen[key] = key not in self.seen, None
        _drop_oldest(self.seen, MOST_SEEN)
        ends = self.latest[key[0]][1] < IN_A_ROW and any(fewer_frames(key[2], old[2]) for old in same)
        if first or ends:  # the last frames of a clip are not worth it
            return None
        weights = snapshot(networks, self.work.speed.fp8 or self.work.speed.rtx)
        call = self.work.make(key[0], networks, inputs)
        self.prepared[key] = PreparedStage(tuple(map(weakref.ref, networks)), weights, token, call)
        _drop_oldest(self.prepared, MOST_PREPARED)
        return self.prepared[key]


def _drop_oldest(kept: OrderedDict[Key, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def hindrance(networks: tuple[nn.Module, ...], inputs: tuple[Any, ...], token: Hashable | None) -> str:
    """Why weights cannot be used as they lie, in words; empty if they can."""
    if token is None:
        return "the host program has weights elsewhere, or adds to them as it uses them"
    device = tensors_of(inputs)[0].device
    for weight in (weight for network in networks for weight in network.parameters()):
        if weight.device != device:
            return f"weights are on {weight.device}, its input is on {device}"
        if weight.is_floating_point() and weight.dtype.itemsize < torch.float16.itemsize:
            return "weights are stored in fewer bits than they are used in"
    return ""


def with_speed(
    model: PersonaLive, speed: SpeedPlan, progress: Progress | None = None, tools: Tools | None = None
) -> PersonaLive:
    """A model of the same networks that runs at `speed`; neither `model` nor a network changes.

    Each shape of input runs plain the first time and is prepared the second time, which takes up to a minute. Meanwhile
    `progress` is told (kinds of blocks compiled, kinds in all); what it raises ends the call, and nothing is lost.
    """
    if speed.plain:
        return replace(model, run=None)
    return replace(model, run=Runner(workshop(speed, tools or Tools(), progress)))
