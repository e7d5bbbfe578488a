"""Inputs of the denoising UNet other than latents: reference keys and values, motion features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KV = tuple[Tensor, Tensor]  # attention keys and values, each [B, L, C]
LayerFeatures = tuple[KV, ...]  # one pair per transformer block that sees the reference, in execution order
SeenFeatures = tuple[KV | None, ...]  # the same; None: the block sees no reference


@dataclass(frozen=True)
class MotionFeatures:
    """Hybrid motion as the denoising UNet takes it; kept only for frames in flight (5 MB per frame at 512x512)."""

    face: Tensor  # [B, F, L=32, D=16] 1-D implicit facial embedding
    pose: Tensor  # [B, F, C, h, w] pose-guider features of the drawn 3-D keypoints
    host: Tensor | None = None  # `face` on the CPU too, so that no decision waits for the device; None: not known there

    @property
    def known(self) -> Tensor:
        """`face` where it can be read at once: on the CPU if it is known there."""
        return self.face if self.host is None else self.host

    def then(self, later: MotionFeatures) -> MotionFeatures:
        """These frames, followed by those of `later`."""
        host = None if self.host is None or later.host is None else torch.cat([self.host, later.host], 1)
        return MotionFeatures(torch.cat([self.face, later.face], 1), torch.cat([self.pose, later.pose], 1), host)

    def first(self, frames: int) -> MotionFeatures:
        """The first `frames` frames."""
        host = None if self.host is None else self.host[:, :frames]
        return MotionFeatures(self.face[:, :frames], self.pose[:, :frames], host)

    def drop(self, frames: int) -> MotionFeatures:
        """All but the first `frames` frames."""
        host = None if self.host is None else self.host[:, frames:]
        return MotionFeatures(self.face[:, frames:], self.pose[:, frames:], host)

    def padded(self, frames: int) -> MotionFeatures:
        """Extends to at least `frames` frames: repeats the last frame as often as needed."""
        missing = max(frames - self.face.shape[1], 0)
        if not missing:
            return self
        host = None if self.host is None else self.host[:, -1:].expand(-1, missing, -1, -1)
        face, pose = self.face[:, -1:], self.pose[:, -1:]
        return self.then(MotionFeatures(face.expand(-1, missing, -1, -1), pose.expand(-1, missing, -1, -1, -1), host))
