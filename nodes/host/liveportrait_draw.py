"""Keypoints of a source picture over the frames of a driving, and the pictures that LivePortrait draws of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import comfy.utils
import torch
from comfy_api.v0_0_2 import io

from ...personalive_core.backends.liveportrait.pasting import eight_bits, prepare_live_paste
from ...personalive_core.backends.liveportrait.portrait import SourcePortrait
from ...personalive_core.media.picture import Picture
from .liveportrait import ready
from .memory import check_interrupt
from .sockets import LoadedLivePortrait, Motion

RetargetedSocket = io.Custom("PERSONALIVE_KEYPOINTS")


@dataclass(frozen=True, eq=False)
class Retargeted:
    """PERSONALIVE_KEYPOINTS: where a driving's motion moves a source's keypoints."""

    source: SourcePortrait
    keypoints: torch.Tensor  # [F, 21, 3]
    motion: Motion  # of the driving: times and sound

    def __len__(self) -> int:
        return len(self.keypoints)

    def size(self, paste_back: bool) -> tuple[int, int]:
        """Width and height of the pictures in pixels."""
        height, width = (self.source.whole if paste_back else self.source.crop.picture).shape[:2]
        return width, height

    def __repr__(self) -> str:
        return f"{len(self)} frames of a {self.source.whole.shape[1]}x{self.source.whole.shape[0]} picture"


def drawn(model: LoadedLivePortrait, moved: Retargeted, paste_back: bool) -> Iterator[Picture]:
    """Yields the picture of each frame, pasted back if asked, with a progress bar."""
    yield from keypoint_pictures(model, moved.source, moved.keypoints, paste_back)


def keypoint_pictures(
    model: LoadedLivePortrait, found: SourcePortrait, keypoints: torch.Tensor, paste_back: bool
) -> Iterator[Picture]:
    """`drawn`, for keypoints [F, 21, 3] of any origin."""
    networks, own = ready(model.networks), found.source.motion.keypoints
    paste = prepare_live_paste(found.whole, found.crop.matrix)
    volume = found.source.volume.to(networks.device, networks.dtype)
    bar = comfy.utils.ProgressBar(len(keypoints))
    for points in keypoints.split(1):
        check_interrupt()
        image = networks.render(volume, own, points)[0]
        square = eight_bits(image.permute(1, 2, 0).cpu().numpy())
        yield paste(square) if paste_back else square
        bar.update(1)
