"""Runs the networks at the speed of the widget, and frees what that takes when ComfyUI takes their weights away."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import comfy.model_management as mm
from comfy.patcher_extension import CallbacksMP
from comfy_execution.utils import get_executing_context
from torch import nn

from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.speed import choose_live_speed, with_live_speed
from ...personalive_core.backends.personalive.model import PersonaLive
from ...personalive_core.backends.personalive.speed.choice import SPEEDS, SpeedPlan, choose_speed
from ...personalive_core.backends.personalive.speed.prepare import Tools
from ...personalive_core.backends.personalive.speed.runner import Runner, with_speed
from ...personalive_core.backends.personalive.speed.units import ChangedOps
from ...personalive_core.errors import InputError
from .memory import Patchers, check_interrupt, scaled_dot_product_attention
from .notice import notify

OFFERED = tuple(speed for speed in SPEEDS if speed != "rtx")  # its engines would hold the weights a second time


def speed_plan(name: str) -> SpeedPlan:
    """The plan for an option of the speed widget on ComfyUI's device. Raises InputError for an unknown one.

    "auto" is plain: graphs and resident weights have not been tried on a GPU beside ComfyUI's memory management.
    """
    if name not in OFFERED:
        raise InputError(f"unknown speed {name!r}: choose {', '.join(OFFERED)}")
    return choose_speed("plain" if name == "auto" else name, mm.get_torch_device())


def sped_up(model: PersonaLive, plan: SpeedPlan, attention: str) -> PersonaLive:
    """`model`, which is under ComfyUI's memory management, at the speed `plan`.

    `attention` is the option of that widget; compiled networks follow it. Graphs and second networks are freed as soon
    as ComfyUI takes weights of their network off the device.
    """
    changes = {"scaled_dot_product_attention": scaled_dot_product_attention} if attention == "auto" else {}
    fast = with_speed(model, plan, tell_compiling, Tools(ops=ChangedOps(nn, **changes)))
    _free_with_weights(fast)
    return fast


def live_plan(name: str) -> SpeedPlan:
    """As `speed_plan`, for LivePortrait."""
    return choose_live_speed("plain" if name == "auto" else name, mm.get_torch_device())


def sped_up_live(model: LivePortrait, plan: SpeedPlan) -> LivePortrait:
    """As `sped_up`, for LivePortrait."""
    fast = with_live_speed(model, plan)
    _free_with_weights(fast)
    return fast


def _free_with_weights(fast: PersonaLive | LivePortrait) -> None:
    """Frees what a network's weights were prepared for as soon as ComfyUI takes them off the device."""
    bring = fast.placement.bring if fast.placement else None
    if isinstance(fast.run, Runner) and isinstance(bring, Patchers):
        networks = [network for network in vars(fast).values() if id(network) in bring.of]
        for network in networks:
            bring.of[id(network)].add_callback(CallbacksMP.ON_DETACH, freeing(fast.run, network))


def freeing(runner: Runner, network: nn.Module) -> Callable[..., None]:
    """A callback for a patcher: frees what `runner` made of `network`. It keeps neither alive."""
    runner_there, network_there = weakref.ref(runner), weakref.ref(network)

    def free(_patcher: Any, unloads: bool) -> None:
        # ComfyUI detaches a network whenever it is asked for it again, and then leaves its weights where they are
        run, gone = (runner_there(), network_there()) if unloads else (None, None)
        if run is not None and gone is not None and run.forget(gone):
            mm.soft_empty_cache()  # a graph's memory serves nothing else before

    return free


def tell_compiling(done: int, kinds: int) -> None:
    """Shows on the running node how far compiling is, see `with_speed`; raises ComfyUI's exception on Cancel."""
    context = get_executing_context()
    node = "" if context is None else str(context.node_id)
    try:
        check_interrupt()
    except BaseException:
        notify(node, "")
        raise
    told = f"Compiling for this size, only the first time: {done} of {kinds} kinds of blocks"
    notify(node, told if done < kinds else "")
