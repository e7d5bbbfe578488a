"""A source picture or video with the motion that is to move it, and the pictures that LivePortrait draws of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import monotonic

import comfy.utils
import torch
from comfy_api.v0_0_2 import io
from PIL import Image

from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.pasting import prepare_live_paste
from ...personalive_core.backends.liveportrait.portrait import SourcePortrait
from ...personalive_core.backends.liveportrait.stream import (
    RenderedFrame,
    RenderOptions,
    animate_portrait,
    drawn_square,
)
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.media.picture import Picture
from .liveportrait import ready
from .liveportrait_film import RetargetedFilm
from .memory import check_interrupt
from .panel import PREVIEW
from .sockets import Footage, LoadedLivePortrait, Motion

RetargetedSocket = io.Custom("PERSONALIVE_KEYPOINTS")  # a Retargeted or RetargetedFilm
PREVIEW_EVERY = 0.5  # seconds between two live previews: they take time of the page and of the drawing


@dataclass(frozen=True, eq=False)
class Retargeted:
    """PERSONALIVE_KEYPOINTS: how a driving's motion moves a source's keypoints, which are found as they are drawn."""

    portrait: SourcePortrait
    driving: ImplicitMotion
    how: RenderOptions
    motion: Motion  # that of `driving`: times and sound

    def __len__(self) -> int:
        return len(self.driving)

    def size(self, paste_back: bool) -> tuple[int, int]:
        """Width and height of the pictures in pixels."""
        height, width = (self.portrait.whole if paste_back else self.portrait.crop.picture).shape[:2]
        return width, height

    @property
    def sound(self) -> Footage | None:
        """Where the result's sound is: in the driving's file."""
        return self.motion.footage

    def frames(self, model: LivePortrait, how: RenderOptions) -> Iterator[RenderedFrame]:
        """Yields the drawn frames. Raises as `animate_portrait`."""
        return animate_portrait(model, self.portrait, [self.driving], how)

    def __repr__(self) -> str:
        return f"{len(self)} frames of a {self.portrait.whole.shape[1]}x{self.portrait.whole.shape[0]} picture"


def drawn(
    model: LoadedLivePortrait, moved: Retargeted | RetargetedFilm, paste_back: bool, previews: bool = False
) -> Iterator[Picture]:
    """Yields the picture of each frame, pasted back if asked, with a progress bar and, if asked, live previews.

    A frame counts when the caller has taken it, so Cancel loses no drawn one. Raises as the `frames` of `moved`.
    """
    bar, how, shown = comfy.utils.ProgressBar(len(moved)), replace(moved.how, paste=paste_back), -PREVIEW_EVERY
    for index, frame in enumerate(moved.frames(ready(model.networks), how), 1):
        check_interrupt()
        yield frame.picture
        preview = None
        if previews and monotonic() - shown >= PREVIEW_EVERY:
            preview, shown = ("JPEG", Image.fromarray(frame.picture), PREVIEW), monotonic()
        bar.update_absolute(index, len(moved), preview)


def keypoint_pictures(
    model: LoadedLivePortrait, portrait: SourcePortrait, keypoints: torch.Tensor, paste_back: bool
) -> Iterator[Picture]:
    """Likewise for keypoints [F, 21, 3] of any origin. Raises NumericalError for NaN or only black."""
    networks = ready(model.networks)
    paste = prepare_live_paste(portrait.whole, portrait.crop.matrix)
    source = portrait.source.to(networks.device, networks.dtype)
    bar = comfy.utils.ProgressBar(len(keypoints))
    for points in keypoints.split(1):
        check_interrupt()
        square = drawn_square(networks, source, points)
        yield paste(square) if paste_back else square
        bar.update(1)
