"""HunyuanPortrait's loaded networks, with one method per use of a network; no state between calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...modules.group_resnet import ExpressionEncoder, HeadPoseEncoder
from ...modules.identity_dino import IdentityDino
from ...modules.motion_resampler import LEVELS, MotionResampler
from ...modules.pose_guider import PoseGuider
from ...modules.spatio_temporal import PairedTokens
from ...modules.video_unet import VideoUNet
from ..placement import Placement, in_parts
from .types import VIDEO_LATENT_SCALE, HunyuanMotion

# What the published program tells the UNet of its video: frames per second, motion bucket, noise on the reference.
ADDED = (12.5, 0.0, 0.0)
_TRANSLATION = 3  # numbers of a token that stand for the head's translation, and are zero

Identify = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # [1, 3, 112, 112] in [0, 1] -> [512]


@dataclass(frozen=True)
class HunyuanPortrait:
    """All networks, in eval mode, on one device; the UNet's dtype is that of the large ones, the small are float32."""

    unet: VideoUNet
    dino: IdentityDino
    resampler: MotionResampler
    image_mixer: nn.Module  # mixes the image's tokens [261] into [64]
    pose_guider: PoseGuider
    expression: ExpressionEncoder
    head_pose: HeadPoseEncoder
    vae: Any  # diffusers AutoencoderKLTemporalDecoder, whose encoder is float32
    identify: Identify
    placement: Placement | None = None  # None: networks compute on their weights' device, in their dtype

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        small = (self.resampler, self.image_mixer, self.pose_guider, self.expression, self.head_pose)
        return self.unet, self.dino, *small, self.vae

    @property
    def device(self) -> torch.device:
        return self.placement.device if self.placement else self.unet.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return (
            self.placement.dtype if self.placement else self.unet.conv_in.bias.dtype
        )  # a matrix may be stored in 8 bits

    def __repr__(self) -> str:
        return f"HunyuanPortrait({self.unet.config.widths}, {self.dtype}, {self.device})"

    @torch.inference_mode()
    def look(self, portrait: Tensor, face: NDArray[np.float32]) -> Tensor:
        """How a person looks, as tokens [1, 64, 1024].

        `portrait` [1, 3, 224, 224] is normalised for DINOv2, `face` [112, 112, 3] in [0, 1] aligned for ArcFace.
        """
        identity = torch.from_numpy(self.identify(np.ascontiguousarray(face.transpose(2, 0, 1)[None])))
        identity = nn.functional.normalize(identity.reshape(1, 1, -1).float(), dim=-1)
        self._bring(self.dino, self.image_mixer)
        tokens = self.dino(portrait.to(self.device, self.dtype), identity.to(self.device, self.dtype))
        mixed: Tensor = self.image_mixer(tokens.float().mT)
        return mixed.mT.to(self.dtype)

    @torch.inference_mode()
    def encode(self, portrait: Tensor) -> Tensor:
        """A portrait [1, 3, H, W] in [-1, 1] -> the mode of its latents [4, H/8, W/8], not scaled, float32."""
        self._bring(self.vae)
        mode: Tensor = self.vae.encode(portrait.to(self.device, torch.float32)).latent_dist.mode()
        return mode[0]

    @torch.inference_mode()
    def pose(self, height: int, width: int) -> Tensor:
        """The pose guider's answer to a black picture of this size: [1, C, height / 8, width / 8]."""
        self._bring(self.pose_guider)
        answer: Tensor = self.pose_guider(torch.zeros(1, 3, height, width, device=self.device))
        return answer.to(self.dtype)

    @torch.inference_mode()
    def read(self, faces: Tensor, heads: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [F, 3, 256, 256] in [0, 1] -> expressions [F, 512] and angles [F, 3] in degrees, on the CPU."""
        self._bring(self.expression, self.head_pose)
        angles, _ = self.head_pose(heads.to(self.device, torch.float32))
        return self.expression(faces.to(self.device, torch.float32)).float().cpu(), angles.cpu()

    @torch.inference_mode()
    def motion_tokens(self, motion: HunyuanMotion) -> Tensor:
        """The motion of F frames as tokens [F, 64, 1024] on the device, float32."""
        self._bring(self.resampler)
        head, face = motion.intensity.to(self.device).round().long().clamp(0, LEVELS - 1).unbind(1)
        tokens = self.resampler(motion.expression.to(self.device, torch.float32), head, face).float()
        angles = motion.pose.angles.to(self.device, torch.float32)
        pose = torch.cat([angles, angles.new_zeros(len(angles), _TRANSLATION)], 1)
        return torch.cat([tokens, pose[:, None].expand(-1, tokens.shape[1], -1)], -1)

    @torch.inference_mode()
    def velocity(self, x: Tensor, time: Tensor, look: Tensor, motion: Tensor, pose: Tensor) -> Tensor:
        """Predicted velocity [B, F, 4, h, w], float32, of `x` [B, F, 8, h, w].

        `look` [B, F, 64, 1024] and `motion` [B, F, 64, 1024] are each frame's conditions. Without memory for all B it
        computes them one after the other.
        """
        self._bring(self.unet)
        ids = torch.tensor(ADDED, device=self.device)
        parts = tuple(part.to(self.device, self.dtype) for part in (x, look, motion))
        pose = pose.to(self.device, self.dtype)

        def predicted(branches: Tensor) -> Tensor:
            noisy, own, moves = (part[branches] for part in parts)
            tokens = PairedTokens(own.flatten(0, 1), moves.flatten(0, 1))
            answer: Tensor = self.unet(noisy, time, ids, tokens, pose)
            return answer.float()

        return in_parts(predicted, torch.arange(len(x), device=self.device))

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, 4, h, w] of frames in a row -> pictures [F, 3, 8h, 8w] in [0, 1], float32."""
        self._bring(self.vae)
        scaled = (latents / VIDEO_LATENT_SCALE).to(self.device, self.dtype)
        pictures: Tensor = self.vae.decode(scaled, num_frames=len(scaled)).sample
        return (pictures.float() / 2 + 0.5).clamp(0, 1)

    def _bring(self, *networks: nn.Module) -> None:
        if self.placement:
            self.placement.bring(networks)
