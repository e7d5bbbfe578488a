"""Micro-chunk streaming sampler (section 3.4): each window in flight sits one noise level below the next one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from einops import repeat
from torch import Tensor

from ...modules.inputs import LayerFeatures, MotionFeatures
from ...modules.schedule import NoiseFn
from .types import KeyframeBank, Reference, StreamConfig, StreamState

BEFORE_FIRST_CHUNK = -1  # the chunk index under which the start's noise is drawn


class Denoiser(Protocol):
    """The two networks a stream needs; training and tests bring their own."""

    def denoise(
        self, x: Tensor, timesteps: Tensor, reference: Reference, motion: MotionFeatures, features: LayerFeatures
    ) -> Tensor:
        """Noise predicted for `x` [B, F, 4, h, w], float32, at `timesteps` [F]."""

    def encode_features(self, latent: Tensor, reference: Reference) -> LayerFeatures:
        """Keys and values of a clean `latent` [B, 4, h, w], as `Reference.features`."""


@dataclass(frozen=True)
class StreamingSampler:
    """(state, window of motion) -> (state, window of clean latents). The only sampler there is."""

    model: Denoiser
    reference: Reference
    noise: NoiseFn
    config: StreamConfig = StreamConfig()

    def start(self, lead_in: MotionFeatures, keyframes: KeyframeBank | None = None) -> StreamState:
        """Motion-interpolated initialisation: `lead_in` [B, lookahead] leads from the reference to the first frame.

        The latents in flight are the reference's, noised to their windows' levels. `keyframes` may bring fixed ones.
        """
        x0 = repeat(self.reference.latent, "b c h w -> b f c h w", f=self.config.lookahead)
        if lead_in.face.shape[1] != self.config.lookahead:
            raise ValueError(f"expected {self.config.lookahead} lead-in frames, got {lead_in.face.shape[1]}")
        levels = self._levels(0)[: self.config.lookahead]
        latents = self.config.schedule.noised(x0.float(), self._draw(BEFORE_FIRST_CHUNK, x0), levels)
        return StreamState(latents, lead_in, keyframes or first_bank(self.reference))

    def step(self, state: StreamState, motion: MotionFeatures) -> tuple[StreamState, Tensor]:
        """Take `motion` [B, 0..W] of the newest window; return the next state and clean latents [B, W, 4, h, w].

        Fewer than W frames are the end of the driving: the last known frame is repeated behind them. Which of the
        latents belong to driving frames, `finished` tells.
        """
        window, taken = self.config.window, motion.face.shape[1]
        x0 = repeat(self.reference.latent, "b c h w -> b f c h w", f=window).float()
        newest = self.config.schedule.noised(x0, self._draw(state.chunk, x0), self._levels(0)[-window:])
        latents = torch.cat([state.latents, newest], 1)
        motion = state.motion.then(motion).padded(latents.shape[1])

        for passed in range(self.config.substeps):
            latents = self._denoise(latents, motion, state.keyframes, self._levels(passed))
        done, latents = latents[:, :window], latents[:, window:]

        bank = self._remember(state, motion.face[:, :1], done[:, 0])
        after = replace(
            state,
            latents=latents,
            motion=motion.drop(window),
            keyframes=bank,
            chunk=state.chunk + 1,
            frames=state.frames + taken,
        )
        return after, done

    def finished(self, after: StreamState) -> range:
        """Driving frames whose latents the step that led to `after` gave: without the lead-in and the padding."""
        first = (after.chunk - self.config.windows) * self.config.window
        return range(first, min(first + self.config.window, after.frames)) if first >= 0 else range(0)

    def drained(self, state: StreamState) -> bool:
        """Whether every driving frame taken has left the window."""
        return (state.chunk - self.config.windows + 1) * self.config.window >= state.frames

    def _levels(self, passed: int) -> Tensor:
        """Index into `timesteps` of each frame in flight [F] after `passed` of a step's denoising passes."""
        window = torch.arange(self.config.windows).repeat_interleave(self.config.window)
        return (window + 1) * self.config.substeps - 1 - passed

    def _draw(self, chunk: int, like: Tensor) -> Tensor:
        return self.noise(chunk, like.shape).to(like.device)

    def _denoise(self, latents: Tensor, motion: MotionFeatures, bank: KeyframeBank, levels: Tensor) -> Tensor:
        timesteps = torch.tensor(self.config.timesteps)[levels].to(latents.device)
        eps = self.model.denoise(latents, timesteps, self.reference, motion, bank.features)
        return self.config.schedule.step(latents, eps.float(), levels)

    def _remember(self, state: StreamState, motion: Tensor, latent: Tensor) -> KeyframeBank:
        """Historical keyframe mechanism: a first frame whose motion is new becomes a keyframe for later chunks."""
        bank = state.keyframes
        if not is_new(bank, state.chunk, motion, self.config):
            return bank
        features = self.model.encode_features(latent.to(self.reference.latent.dtype), self.reference)
        return remember(bank, motion, features, state.chunk)


def first_bank(reference: Reference) -> KeyframeBank:
    """A bank that holds the reference alone."""
    embedding = reference.motion.embedding[None].to(reference.latent.device)
    return KeyframeBank(embedding.expand(len(reference.latent), -1, -1, -1), reference.features)


def novelty(bank: KeyframeBank, motion: Tensor) -> Tensor:
    """L2 distance [B] of a facial embedding [B, 1, L, D] to the nearest in the bank (section 3.4)."""
    distance = torch.cdist(motion.flatten(2).float(), bank.motion.to(motion.device).flatten(2).float())
    return distance.amin((1, 2))


def is_new(bank: KeyframeBank, chunk: int, motion: Tensor, config: StreamConfig) -> bool:
    """Whether a window denoised in `chunk`, whose first embedding is `motion` [B, 1, L, D], becomes a keyframe."""
    if chunk < config.keyframe_warmup or len(bank) >= config.max_keyframes:
        return False
    return bool((novelty(bank, motion) > config.keyframe_distance).all())


def remember(bank: KeyframeBank, motion: Tensor, features: LayerFeatures, chunk: int) -> KeyframeBank:
    """The bank with one more keyframe behind those it has."""
    joined = tuple(
        (torch.cat([k, new_k], 1), torch.cat([v, new_v], 1))
        for (k, v), (new_k, new_v) in zip(bank.features, features, strict=True)
    )
    return KeyframeBank(torch.cat([bank.motion, motion.to(bank.motion)], 1), joined, (*bank.chunks, chunk))
