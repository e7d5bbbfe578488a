"""Values of a stream. B batch, F frames, W window, L tokens, C D channels, K keyframes, h w latent, H W pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import InputError
from ...modules.attention import TEMPORAL_FRAMES
from ...modules.fusion import Fusion
from ...modules.inputs import LayerFeatures, MotionFeatures
from ...modules.schedule import Schedule
from ...motion.types import HybridMotion

LATENT_SCALE = 0.18215  # Stable Diffusion's factor on VAE latents; the tiny VAE takes scaled latents directly
LATENT_PIXELS = 8  # picture pixels per latent pixel, along each side


@dataclass(frozen=True)
class Reference:
    """Everything that a stream needs from the reference portrait."""

    latent: Tensor  # [B, 4, h, w] VAE mean x latent scale
    clip: Tensor  # [B, 1, D=768] image embedding
    context: tuple[Tensor, ...]  # [B, 1, C_i] cross-attention output for the image embedding, per transformer block
    features: LayerFeatures  # keys and values [B, L_i, C_i] of the reference tokens
    motion: HybridMotion  # 1 frame: the reference's own motion, with posed keypoints
    canonical: Tensor  # [21, 3] canonical 3-D keypoints, before pose

    def __repr__(self) -> str:
        return f"Reference({self.latent.shape[-1] * LATENT_PIXELS}x{self.latent.shape[-2] * LATENT_PIXELS} pixels)"

    def to(self, device: torch.device, dtype: torch.dtype) -> Reference:
        """A copy whose inputs of the denoising UNet are on `device` as `dtype`; motion stays float32 on the CPU."""
        return replace(
            self,
            latent=self.latent.to(device, dtype),
            clip=self.clip.to(device, dtype),
            context=tuple(token.to(device, dtype) for token in self.context),
            features=tuple((k.to(device, dtype), v.to(device, dtype)) for k, v in self.features),
        )


@dataclass(frozen=True)
class KeyframeBank:
    """Memory of the historical keyframe mechanism (section 3.4): reference first, then keyframes as they joined."""

    motion: Tensor  # [B, K, L=32, D=16] facial embedding of each; on the CPU, which decides what joins
    features: LayerFeatures  # keys and values [B, K * L_i, C_i]
    chunks: tuple[int, ...] = ()  # the chunk in which each historical keyframe was finished

    def __len__(self) -> int:
        return self.motion.shape[1]


@dataclass(frozen=True)
class StreamConfig:
    """Settings of the sampler: windows of W frames, each less noisy than the next newer one.

    `history` and `fusion` are experimental: they help only a model that was trained with history. Raises ValueError for
    counts below 1, timesteps that do not rise, or substeps that do not divide them; InputError for a history that does
    not fit.
    """

    window: int = 4  # frames per micro-chunk
    timesteps: tuple[int, ...] = (0, 333, 666, 999)  # noise levels, oldest window first (section 4.1)
    substeps: int = 1  # denoising passes per step; windows in flight = len(timesteps) / substeps
    keyframe_distance: float = 17.0  # tau of section 4.1: L2 distance in embedding space
    keyframe_warmup: int = 9  # chunks before the first historical keyframe may join
    max_keyframes: int = 4  # counting the reference
    history: int = 0  # most finished frames that stay in temporal attention, clean, before those in flight
    fusion: Fusion | None = None  # what source, driving and history add, with scales; None: one pass that sees all

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
        flying = self.windows * self.window
        if self.history < 0 or (self.history and self.history + flying > TEMPORAL_FRAMES):
            raise InputError(
                f"a history of {self.history} frames with {flying} in flight does not fit, temporal attention knows "
                f"{TEMPORAL_FRAMES} positions: use a history of 0 to {max(TEMPORAL_FRAMES - flying, 0)}"
            )

    @classmethod
    def of(cls, steps: int = 4, windows: int = 4, window: int = 4, last: int = 999) -> StreamConfig:
        """Settings with `steps` noise levels, spread evenly over 0..`last`, for `windows` windows in flight.

        Raises InputError if `steps` is not a multiple of `windows`, or is too large for distinct levels.
        """
        if windows < 1 or steps < windows or steps % windows:
            raise InputError(
                f"steps must be a multiple of the {windows} windows in flight, got {steps}: choose {windows}, "
                f"{2 * windows}, {3 * windows} and so on"
            )
        if steps > last + 1:
            most = (last + 1) // windows * windows
            raise InputError(f"{steps} steps are more than the {last + 1} noise levels: use at most {most}")
        span = max(steps - 1, 1)
        levels = tuple(round(i * last / span) for i in range(steps)) if steps > 1 else (last,)
        try:
            return cls(window=window, timesteps=levels, substeps=steps // windows)
        except ValueError as error:
            raise InputError(f"{error}: use fewer steps") from error

    @property
    def schedule(self) -> Schedule:
        """The noise levels as the sampler steps through them."""
        return Schedule(self.timesteps)

    @property
    def windows(self) -> int:
        """Windows in flight during a step."""
        return len(self.timesteps) // self.substeps

    @property
    def lookahead(self) -> int:
        """Frames in flight besides the newest window; also the number of lead-in frames."""
        return (self.windows - 1) * self.window


STREAM = StreamConfig()
LEAD_IN = STREAM.lookahead  # default lead-in frames (MII), from the reference's pose to the first driving pose: 12


@dataclass(frozen=True, eq=False)
class StreamHistory:
    """The last frames that a stream finished, oldest first; those of the lead-in are among them, of a start none."""

    latents: Tensor  # [B, H, 4, h, w] clean
    motion: MotionFeatures  # of the same frames

    def __len__(self) -> int:
        return self.latents.shape[1]

    def last(self, frames: int) -> StreamHistory:
        """The newest `frames` frames, or all where there are fewer."""
        extra = max(len(self) - frames, 0)
        return StreamHistory(self.latents[:, extra:], self.motion.drop(extra))

    def then(self, later: StreamHistory) -> StreamHistory:
        """These frames, followed by those of `later`."""
        return StreamHistory(torch.cat([self.latents, later.latents], 1), self.motion.then(later.motion))


@dataclass(frozen=True)
class StreamState:
    """The complete state of a stream between two steps: (state, motion) -> (state, latents)."""

    latents: Tensor  # [B, F=lookahead, 4, h, w], oldest first
    motion: MotionFeatures  # of the same frames
    keyframes: KeyframeBank
    chunk: int = 0  # steps taken
    frames: int = 0  # driving frames taken; the padding after the last one is not counted
    history: StreamHistory | None = None  # at most `StreamConfig.history` frames; None: none is finished or kept

    def __repr__(self) -> str:
        return f"StreamState(chunk {self.chunk}, {len(self.keyframes)} keyframes with the reference)"
