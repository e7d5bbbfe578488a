"""Finished latents become pictures: decoded, checked and copied to the CPU, beside the denoising of the next window."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...device import copy_down, results_behind
from ...errors import NumericalError
from .model import PersonaLive

BLACK = 2 / 255  # pictures whose pixels are all darker count as black
NEXT_PRECISION = {torch.float16: "bf16", torch.bfloat16: "fp32"}


@dataclass(frozen=True, eq=False)
class Lane:
    """Where and when pictures are made."""

    behind: int = 0  # the pictures of a window are read when this many later windows have been queued
    side: torch.cuda.Stream | None = None  # queue of the work beside the denoising; None: in its queue
    decodes: bool = False  # decoding too happens in `side`, not only what follows it


def lane_on(device: torch.device, model: PersonaLive) -> Lane:
    """The lane for a stream on `device`. A host that moves weights knows one queue alone: there its networks run."""
    behind = results_behind(device)
    return Lane(behind, torch.cuda.Stream(device), model.placement is None) if behind else Lane()


def develop(model: PersonaLive, latents: Tensor, lane: Lane) -> Callable[[], np.ndarray]:
    """Begins to make pictures of clean `latents` [1, F, 4, h, w]; what it returns waits for them, see `to_pictures`."""
    if lane.side is None:
        return begin_pictures(model.decode(latents)[0], model.dtype)
    # a copy, as the next step may write into the same memory before `side` has read it
    queued = latents.clone() if lane.decodes else model.decode(latents)
    caller = torch.cuda.current_stream(latents.device)
    lane.side.wait_stream(caller)
    try:
        with torch.cuda.stream(lane.side):
            pixels = model.decode(queued) if lane.decodes else queued
            read = begin_pictures(pixels[0], model.dtype)
            done = lane.side.record_event()
    except BaseException:
        caller.wait_stream(lane.side)  # what was begun may still read `queued`
        raise
    # not record_stream: after a capture that failed, torch may never give such memory back
    weakref.finalize(read, _let_go, queued, caller, done).atexit = False
    return read


def _let_go(_queued: Tensor, caller: torch.cuda.Stream, done: torch.cuda.Event) -> None:
    """What `caller` next puts into this memory comes after `done`, even if the pictures were never read."""
    caller.wait_event(done)


def to_pictures(pixels: Tensor, dtype: torch.dtype) -> np.ndarray:
    """[F, 3, H, W] in [0, 1] -> [F, H, W, 3] uint8.

    Raises NumericalError for NaN or only black pictures; its advice depends on the networks' `dtype`.
    """
    return begin_pictures(pixels, dtype)()


def begin_pictures(
    pixels: Tensor, dtype: torch.dtype, whole: Callable[[Tensor], Tensor] = torch.round
) -> Callable[[], np.ndarray]:
    """Begins `to_pictures`: the result waits for the device only when it is called. `whole` makes levels whole."""
    levels = rearrange(whole(pixels * 255).byte(), "f c h w -> f h w c")
    copies = copy_down(levels, torch.stack([pixels.isfinite().all(), (pixels < BLACK).all()]))

    def read() -> np.ndarray:
        levels, facts = copies.read()
        is_finite, is_black = facts.tolist()
        if not is_finite or is_black:
            raise broken_pictures("only black" if is_finite else "NaN", dtype)
        return levels.numpy()

    return read


def broken_pictures(what: str, dtype: torch.dtype) -> NumericalError:
    """The error of networks that compute in `dtype` and gave `what`, NaN or only black."""
    better = NEXT_PRECISION.get(dtype)
    advice = f"use {better} precision" if better else "check the weights with `personalive check`"
    return NumericalError(f"the networks gave {what} in {str(dtype).removeprefix('torch.')}: {advice}")
