"""3-D implicit keypoint extractor (section 3.2): predicts head pose and canonical keypoints; poses the keypoints."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ..motion.types import HeadPose
from .layers import Float32LayerNorm, Ops

PICTURE_SIZE = 256  # side of the extractor's input in pixels
KEYPOINTS = 21
BINS, DEGREES_PER_BIN, FIRST_BIN = 66, 3.0, -97.5  # an angle is the expected value over softmax bins


@dataclass(frozen=True)
class KeypointConfig:
    """Shapes of the extractor's ConvNeXt V2 backbone (arXiv 2301.00808); the defaults are its Tiny variant."""

    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)


class ChannelNorm(Float32LayerNorm):
    """Layer norm over the channels of [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(super().forward(rearrange(x, "n c h w -> n h w c")), "n h w c -> n c h w")


class ResponseNorm(nn.Module):
    """Global response normalisation (arXiv 2301.00808, section 3) of [N, H, W, C]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(1, 1, 1, dim)), nn.Parameter(torch.zeros(1, 1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        # in float32, because squares of half-precision activations overflow
        response = torch.linalg.vector_norm(x.float(), dim=(1, 2), keepdim=True)
        scale = (response / (response.mean(-1, keepdim=True) + 1e-6)).to(x.dtype)
        return self.gamma.to(x) * (x * scale) + self.beta.to(x) + x


class ConvNextBlock(nn.Module):
    """Residual block, [N, C, H, W] -> same: a depthwise convolution and a two-layer perceptron."""

    def __init__(self, dim: int, ops: Ops) -> None:
        super().__init__()
        self.dwconv = ops.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = Float32LayerNorm(dim)
        self.pwconv1, self.pwconv2 = ops.Linear(dim, 4 * dim), ops.Linear(4 * dim, dim)
        self.grn = ResponseNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(rearrange(self.dwconv(x), "n c h w -> n h w c"))
        inner = self.pwconv2(self.grn(functional.gelu(self.pwconv1(inner))))
        return x + rearrange(inner, "n h w c -> n c h w")


class Detector(nn.Module):
    """The ConvNeXt V2 backbone and its output layers (heads)."""

    def __init__(self, config: KeypointConfig, ops: Ops) -> None:
        super().__init__()
        widths = self.widths = config.widths
        stem = nn.Sequential(ops.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0]))
        self.downsample_layers = nn.ModuleList([stem])
        for narrow, wide in itertools.pairwise(widths):
            self.downsample_layers.append(nn.Sequential(ChannelNorm(narrow), ops.Conv2d(narrow, wide, 2, stride=2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNextBlock(width, ops) for _ in range(depth)))
            for width, depth in zip(widths, config.depths, strict=True)
        )
        self.norm = Float32LayerNorm(widths[-1])
        self.fc_kp = ops.Linear(widths[-1], 3 * KEYPOINTS)
        self.fc_scale = ops.Linear(widths[-1], 1)
        self.fc_pitch, self.fc_yaw, self.fc_roll = (ops.Linear(widths[-1], BINS) for _ in range(3))
        self.fc_t = ops.Linear(widths[-1], 3)
        self.fc_exp = ops.Linear(widths[-1], 3 * KEYPOINTS)  # expression deltas; PersonaLive does not use them

    def maps(self, x: Tensor) -> list[Tensor]:
        """[N, 3, 256, 256] -> the feature map of each stage, from [N, C_0, 64, 64] to [N, C_3, 8, 8]."""
        maps = []
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 256, 256] -> features [N, C]."""
        return self.summary(self.maps(x)[-1])

    def summary(self, last: Tensor) -> Tensor:
        """The last stage's feature map [N, C, 8, 8] -> features [N, C], averaged over positions."""
        return self.norm(last.mean((-2, -1)))


class KeypointExtractor(nn.Module):
    """Pictures [N, 3, 256, 256] in [0, 1] -> head pose and canonical keypoints [N, 21, 3], float32."""

    idx_tensor: Tensor

    def __init__(self, config: KeypointConfig = KeypointConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.detector = Detector(config, ops)
        self.register_buffer("idx_tensor", torch.arange(BINS, dtype=torch.float32, device="cpu"))

    def forward(self, pictures: Tensor) -> tuple[HeadPose, Tensor]:
        _, pose, canonical = self.read(self.detector(pictures))
        return pose, canonical

    def read(self, x: Tensor) -> tuple[Tensor, HeadPose, Tensor]:
        """Features [N, C] -> bin scores [N, 3, 66] of the angles, head pose, canonical keypoints [N, 21, 3]."""
        heads = self.detector
        scores = torch.stack([heads.fc_pitch(x), heads.fc_yaw(x), heads.fc_roll(x)], 1).float()
        pose = HeadPose(expected_angle(scores), heads.fc_t(x).float(), heads.fc_scale(x).float())
        return scores, pose, rearrange(heads.fc_kp(x).float(), "n (k d) -> n k d", d=3)

    def expression(self, x: Tensor) -> Tensor:
        """Features [N, C] -> expression deltas [N, 21, 3] of the canonical keypoints, float32; LivePortrait's."""
        return rearrange(self.detector.fc_exp(x).float(), "n (k d) -> n k d", d=3)


def expected_angle(bins: Tensor) -> Tensor:
    """66 bin scores [..., 66] -> expected angle [...] in degrees."""
    index = torch.arange(BINS, device=bins.device, dtype=bins.dtype)
    return bins.softmax(-1) @ index * DEGREES_PER_BIN + FIRST_BIN


def rotation_matrix(angles: Tensor) -> Tensor:
    """Pitch, yaw, roll [F, 3] in degrees -> rotation matrices [F, 3, 3] for row vectors (`points @ matrix`).

    Rotates by pitch first, then yaw, then roll.
    """
    pitch, yaw, roll = torch.deg2rad(angles).unbind(-1)
    zero, one = torch.zeros_like(pitch), torch.ones_like(pitch)

    def matrix(*rows: Tensor) -> Tensor:
        return rearrange(torch.stack(rows), "(i j) f -> f i j", i=3)

    about_x = matrix(one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos())
    about_y = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    about_z = matrix(roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one)
    return (about_z @ about_y @ about_x).mT


def pose_keypoints(canonical: Tensor, pose: HeadPose) -> Tensor:
    """Canonical keypoints [F or 1, 21, 3] -> posed keypoints [F, 21, 3]: s (x R) + t, where t has no depth."""
    posed = canonical @ rotation_matrix(pose.angles) * pose.scale[..., None]
    shift = torch.cat([pose.translation[:, :2], torch.zeros_like(pose.translation[:, :1])], -1)
    return posed + shift[:, None]
