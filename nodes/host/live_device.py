"""ComfyUI's device under a live session: prompts come first, the networks are brought back after them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import comfy.model_management as mm

from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.live.liveportrait import LivePortraitPerformer
from ...personalive_core.live.performer import PersonaLivePerformer
from ...personalive_core.live.types import Captured, DeviceTakenError, Performed, Settings
from ...personalive_core.media.picture import Picture
from .liveportrait import ready
from .memory import places, settled

COMING = 2.0  # seconds in which a prompt that was sent is in the queue
STEP, MOVE = 0.5, 5.0  # seconds that a prompt waits at most for a live step, and for networks that are being moved
CANCELS = 3  # times that the user may press Cancel during one step

T = TypeVar("T")
Managed = PersonaLivePerformer | LivePortraitPerformer  # performers whose networks ComfyUI can manage


class PromptGate:
    """Whether the device is free for live: not from the moment a prompt is sent until the queue is empty again."""

    def __init__(self, server: Any) -> None:
        """`server`: ComfyUI's, with its queue of prompts."""
        self.closings = 0  # how often it was found closed, or a prompt came
        self._server = server
        self._coming = 0.0  # until then a prompt may be on its way into the queue
        self._used = threading.Condition()
        self._patience: float | None = None  # of a prompt, with the present use; None: live does not use the device

    def __call__(self) -> bool:
        """Whether the device may be used."""
        queue = getattr(self._server, "prompt_queue", None)
        free = time.monotonic() >= self._coming and (queue is None or queue.get_tasks_remaining() == 0)
        if not free:
            self.closings += 1
        return free

    @contextmanager
    def used(self, patience: float = STEP) -> Iterator[None]:
        """Uses the device; a prompt that comes waits for `patience` seconds. Raises DeviceTakenError if one has it."""
        with self._used:
            if not self():
                raise DeviceTakenError("a prompt has the device: wait until it has run")
            self._patience = patience
        try:
            yield
        finally:
            with self._used:
                self._patience = None
                self._used.notify_all()

    def close(self) -> None:
        """A prompt comes: no use begins any more, and the present one is waited for."""
        with self._used:
            self.closings += 1
            self._coming = time.monotonic() + COMING + MOVE
            self._used.wait_for(lambda: self._patience is None, self._patience)
            self._coming = time.monotonic() + COMING


class Residence:
    """Brings the networks of a live stream onto the device, and again after something else may have moved them."""

    def __init__(self, model: Any, room: int, gate: PromptGate) -> None:
        """`model`: of either system. `room`: bytes to be kept free for a step."""
        self._model, self._room, self._gate = model, room, gate
        self._there: Any = None
        self._seen: tuple[object, ...] = ()
        self._excused = False

    def __call__(self) -> Any:
        """The model, with its networks on the device. Raises DeviceTakenError if a prompt has that."""
        if self._there is None or self.moved:
            with self._gate.used(MOVE):
                self._there = brought(self._model, self._room)
                self._seen = self._look()
        return self._there

    @property
    def moved(self) -> bool:
        """Whether something else has had the device, or has moved a network, since they were brought."""
        return self._seen != self._look()

    def excuses(self) -> bool:
        """Whether a step may have failed because networks were moved under it: not twice in a row."""
        excused, self._excused = self._excused, self.moved
        return self._excused and not excused

    def worked(self) -> None:
        """A step was taken."""
        self._excused = False

    def _look(self) -> tuple[object, ...]:
        return (self._gate.closings, *places(self._model))


@dataclass(frozen=True, eq=False)
class HostedPerformer:
    """A performer whose networks are under ComfyUI's memory management."""

    inner: Managed
    residence: Residence
    gate: PromptGate

    @property
    def window(self) -> int:
        """Frames of a step."""
        return self.inner.window

    @property
    def size(self) -> int:
        """Pixels a side of the result."""
        return self.inner.size

    @property
    def portrait(self) -> Picture:
        """What the reference shows, [S, S, 3]."""
        return self.inner.portrait

    def begin(self) -> Any:
        """The state before the first step."""
        return self.inner.begin()

    def calibrated(self, state: Any) -> Any:
        """The state from which the next face's pose is the neutral one."""
        return self.inner.calibrated(state)

    def with_reference(self, picture: Picture) -> HostedPerformer:
        """The same with another reference, see `Performer.with_reference`."""
        with self.gate.used(MOVE):
            return replace(self, inner=whatever_is_cancelled(lambda: self.inner.with_reference(picture), self.gate))

    def perform(self, state: Any, frames: Sequence[Captured], settings: Settings) -> Performed:
        """One step, see `Performer.perform`. Raises DeviceTakenError if the networks were moved under it."""
        inner = replace(self.inner, model=self.residence())
        with self.gate.used():
            try:
                done = whatever_is_cancelled(lambda: inner.perform(state, frames, settings), self.gate)
            except DeviceTakenError:
                raise
            except Exception as error:
                if not self.residence.excuses():
                    raise
                raise DeviceTakenError("networks were moved during a live step: take it again") from error
        self.residence.worked()
        return done


def whatever_is_cancelled(call: Callable[[], T], gate: PromptGate) -> T:
    """`call()`, and again if Cancel, which is meant for prompts, ended it.

    Raises DeviceTakenError where a prompt runs: it gets the Cancel that live has taken from it.
    """
    for _ in range(CANCELS):
        try:
            return call()
        except mm.InterruptProcessingException:  # in newer ComfyUI no Exception
            if not gate():
                mm.interrupt_current_processing(True)
                break
    raise DeviceTakenError("a live step was cancelled: take it again")


def brought(model: Any, room: int) -> Any:
    """`model` with the networks of a live step on the device, `room` bytes kept free; a step brings nothing more."""
    return ready(model) if isinstance(model, LivePortrait) else settled(model, room, reading=True)


def hosted(performer: Managed, room: int, gate: PromptGate) -> HostedPerformer:
    """The performer for ComfyUI; `room` bytes are kept free for a step."""
    return HostedPerformer(performer, Residence(performer.model, room, gate), gate)
