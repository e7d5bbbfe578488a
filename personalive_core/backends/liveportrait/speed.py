"""The choice `speed` for LivePortrait: its network calls as they are, or in CUDA graphs, which change no arithmetic."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from ...errors import InputError
from ...text import warn_once
from ..personalive.speed.choice import AS_IT_IS, GRAPHS, SpeedPlan
from ..personalive.speed.prepare import Tools, workshop
from ..personalive.speed.runner import Runner
from .model import LivePortrait

LIVE_SPEEDS = ("auto", "plain", "compiled")

_log = logging.getLogger(__name__)


def choose_live_speed(name: str, device: torch.device) -> SpeedPlan:
    """The speed `name` on `device`: "compiled" runs in CUDA graphs, "auto" is compiled on CUDA and plain elsewhere.

    Without a CUDA device "compiled" is plain, which is logged once. Raises InputError for another name.
    """
    if name not in LIVE_SPEEDS:
        raise InputError(f"LivePortrait runs at speed {', '.join(LIVE_SPEEDS)}, got {name!r}: choose one of these")
    if name == "plain" or (name == "auto" and (device.type != "cuda" or torch.version.hip is not None)):
        return AS_IT_IS
    if device.type != "cuda":
        warn_once(_log, f"speed compiled of LivePortrait needs a CUDA device, this is {device.type}: plain is used")
        return AS_IT_IS
    return GRAPHS


def with_live_speed(model: LivePortrait, speed: SpeedPlan, tools: Tools | None = None) -> LivePortrait:
    """A model of the same networks that runs at `speed`; neither `model` nor a network changes.

    Each shape of input runs plain the first time and is recorded the second time.
    """
    return replace(model, run=None if speed.plain else Runner(workshop(speed, tools or Tools(), None)))
