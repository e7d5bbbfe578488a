"""The speed choices that `bench` measures beside one another: each prepares a plain model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.speed.choice import SPEEDS, choose_speed
from ..backends.personalive.speed.runner import Runner, with_speed
from ..backends.personalive.stages import StageRunner

Prepare = Callable[[PersonaLive], PersonaLive]


def at_speed(name: str, model: PersonaLive) -> PersonaLive:
    """The model at the speed `name`, see `choose_speed`; each shape is prepared at its second call."""
    return with_speed(model, choose_speed(name, model.device))


def free(run: StageRunner | None) -> None:
    """Frees what a speed holds on the device besides the networks: it would count as the next speed's memory."""
    if isinstance(run, Runner):
        run.release()


VARIANTS: Mapping[str, Prepare] = {name: partial(at_speed, name) for name in SPEEDS if name != "auto"}
