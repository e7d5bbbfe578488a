"""Values passed between stages. B batch, F frames, W window, L tokens, C D channels, h w latent, H W picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

KV = tuple[Tensor, Tensor]  # attention keys and values, each [B, L, C]
LayerFeatures = tuple[KV, ...]  # one pair for each transformer block that sees the reference, in order of execution


@dataclass(frozen=True)
class HeadPose:
    """Rigid head motion of F frames, as the 3-D implicit keypoint extractor gives it."""

    angles: Tensor  # [F, 3] pitch, yaw, roll in degrees
    translation: Tensor  # [F, 3] in units of half the picture
    scale: Tensor  # [F, 1]

    def __len__(self) -> int:
        return len(self.angles)

    def __getitem__(self, frames: slice) -> HeadPose:
        return HeadPose(self.angles[frames], self.translation[frames], self.scale[frames])


@dataclass(frozen=True)
class HybridMotion:
    """What travels between nodes, 2.4 kB a frame, float32 on the CPU: the hybrid motion signal of section 3.2."""

    embedding: Tensor  # [F, L=32, D=16] 1-D implicit facial embedding
    keypoints: Tensor  # [F, 21, 3] 3-D implicit keypoints in [-1, 1] of the picture; after retargeting, the reference's
    pose: HeadPose  # the head pose those keypoints were posed with
    box: Tensor  # [F, 4] face box in the driving frame: left, top, right, bottom in pixels
    valid: Tensor  # [F] bool: False where no face was found and the missing-face policy filled the frame

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, frames: slice) -> HybridMotion:
        if not isinstance(frames, slice):
            raise TypeError(f"index a HybridMotion with a slice, such as motion[3:4], not {frames!r}")
        return HybridMotion(
            self.embedding[frames], self.keypoints[frames], self.pose[frames], self.box[frames], self.valid[frames]
        )

    def __repr__(self) -> str:
        return f"HybridMotion({len(self)} frames, {int(self.valid.sum())} with a face)"


@dataclass(frozen=True)
class FittedMotion:
    """Motion on a reference's keypoints, led in from the reference's own (MII): what a stream takes."""

    motion: HybridMotion  # `lead` frames that belong to no driving frame, then the driving's
    lead: int

    def __len__(self) -> int:
        return len(self.motion) - self.lead


def concat(parts: Sequence[HybridMotion]) -> HybridMotion:
    """The frames of all `parts`, one after the other."""
    poses = [part.pose for part in parts]
    return HybridMotion(
        torch.cat([part.embedding for part in parts]),
        torch.cat([part.keypoints for part in parts]),
        HeadPose(*(torch.cat([getattr(pose, f.name) for pose in poses]) for f in fields(HeadPose))),
        torch.cat([part.box for part in parts]),
        torch.cat([part.valid for part in parts]),
    )


@dataclass(frozen=True)
class MotionFeatures:
    """Hybrid motion as the denoising UNet reads it; exists only in flight (5 MB a frame at 512x512)."""

    face: Tensor  # [B, F, L=32, D=16] 1-D implicit facial embedding
    pose: Tensor  # [B, F, C, h, w] pose-guider features of the drawn 3-D keypoints

    def then(self, later: MotionFeatures) -> MotionFeatures:
        return MotionFeatures(torch.cat([self.face, later.face], 1), torch.cat([self.pose, later.pose], 1))

    def drop(self, frames: int) -> MotionFeatures:
        return MotionFeatures(self.face[:, frames:], self.pose[:, frames:])

    def padded(self, frames: int) -> MotionFeatures:
        """At least `frames` frames, the last one repeated."""
        missing = max(frames - self.face.shape[1], 0)
        if not missing:
            return self
        return self.then(
            MotionFeatures(
                self.face[:, -1:].expand(-1, missing, -1, -1), self.pose[:, -1:].expand(-1, missing, -1, -1, -1)
            )
        )


@dataclass(frozen=True)
class Reference:
    """Everything a stream needs of the reference portrait."""

    latent: Tensor  # [B, 4, h, w] VAE mean x latent scale
    clip: Tensor  # [B, 1, D=768] image embedding
    context: tuple[Tensor, ...]  # [B, 1, C_i] what the image embedding adds in each transformer block
    features: LayerFeatures  # keys and values [B, L_i, C_i] of the reference tokens
    motion: HybridMotion  # 1 frame: the reference's own, its keypoints the posed ones
    canonical: Tensor  # [21, 3] canonical 3-D keypoints, before pose

    def __repr__(self) -> str:
        return f"Reference({self.latent.shape[-1] * 8}x{self.latent.shape[-2] * 8} pixels)"

    def to(self, device: torch.device, dtype: torch.dtype) -> Reference:
        """What the denoising UNet reads of it on `device` as `dtype`; its motion stays float32 on the CPU."""
        return replace(
            self,
            latent=self.latent.to(device, dtype),
            clip=self.clip.to(device, dtype),
            context=tuple(token.to(device, dtype) for token in self.context),
            features=tuple((k.to(device, dtype), v.to(device, dtype)) for k, v in self.features),
        )


@dataclass(frozen=True)
class KeyframeBank:
    """The historical keyframe mechanism's memory (section 3.4): the reference first, then keyframes as they joined."""

    motion: Tensor  # [B, K, L=32, D=16] facial embedding of each
    features: LayerFeatures  # keys and values [B, K * L_i, C_i]
    chunks: tuple[int, ...] = ()  # the chunk in which each keyframe after the reference was denoised

    def __len__(self) -> int:
        return self.motion.shape[1]


@dataclass(frozen=True)
class StreamConfig:
    """How the sampler slides: W-frame windows, each at a noise level below the next."""

    window: int = 4  # frames per micro-chunk
    timesteps: tuple[int, ...] = (0, 333, 666, 999)  # noise levels, oldest window first (section 4.1)
    substeps: int = 1  # denoising passes a window takes in one step; levels in flight = timesteps / substeps
    keyframe_distance: float = 17.0  # tau of section 4.1: L2 distance in embedding space
    keyframe_warmup: int = 9  # chunks before the first historical keyframe may join
    max_keyframes: int = 4  # counting the reference

    def __post_init__(self) -> None:
        if self.window < 1 or self.substeps < 1 or self.max_keyframes < 1:
            raise ValueError(f"window, substeps and max_keyframes must be at least 1, got {self}")
        if len(set(self.timesteps)) < len(self.timesteps) or list(self.timesteps) != sorted(self.timesteps):
            raise ValueError(f"timesteps must rise from the oldest window to the newest, got {self.timesteps}")
        if not self.timesteps or len(self.timesteps) % self.substeps:
            raise ValueError(
                f"{len(self.timesteps)} steps do not divide into {self.substeps} per window: "
                "use a step count that is a multiple of the number of windows"
            )

    @classmethod
    def of(cls, steps: int = 4, windows: int = 4, window: int = 4, last: int = 999) -> StreamConfig:
        """`steps` noise levels spread evenly over 0..`last` and shared by `windows` windows in flight."""
        if windows < 1 or steps < windows or steps % windows:
            raise ValueError(f"steps must be a multiple of the {windows} windows in flight, got {steps}")
        span = max(steps - 1, 1)
        levels = tuple(round(i * last / span) for i in range(steps)) if steps > 1 else (last,)
        return cls(window=window, timesteps=levels, substeps=steps // windows)

    @property
    def windows(self) -> int:
        """Windows in flight during a step."""
        return len(self.timesteps) // self.substeps

    @property
    def lookahead(self) -> int:
        """Frames in flight besides the newest window; also the number of lead-in frames."""
        return (self.windows - 1) * self.window


@dataclass(frozen=True)
class StreamState:
    """Between two steps, all there is: (state, motion) -> (state, latents)."""

    latents: Tensor  # [B, F=lookahead, 4, h, w], oldest first
    motion: MotionFeatures  # of the same frames
    keyframes: KeyframeBank
    chunk: int = 0  # steps taken
    frames: int = 0  # driving frames taken; the padding behind the last one is not counted

    def __repr__(self) -> str:
        return f"StreamState(chunk {self.chunk}, {len(self.keyframes)} keyframes with the reference)"
