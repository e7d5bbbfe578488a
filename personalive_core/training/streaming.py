"""Stage 3's stream: the sampler of inference on one prepared clip, with the ground truth of each frame in flight."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.sampling import StreamingSampler, first_bank
from ..backends.personalive.types import Reference, StreamState
from ..modules.inputs import LayerFeatures, MotionFeatures
from ..modules.schedule import alphas_cumprod, predict_x0
from ..motion.types import HybridMotion, concat_motion


@dataclass(frozen=True)
class Recorder:
    """The stream's two networks; records every prediction of clean latents."""

    model: PersonaLive
    seen: list[Tensor] = field(default_factory=list)  # x0 [B, F, 4, h, w] of each pass

    def denoise(
        self, x: Tensor, timesteps: Tensor, reference: Reference, motion: MotionFeatures, features: LayerFeatures
    ) -> Tensor:
        """As `PersonaLive.denoise`; appends the predicted x0 to `seen`."""
        if torch.is_grad_enabled():  # torch 2.13 crashes in a trainable group norm whose input needs no gradient
            x = x.detach().requires_grad_()
        eps = self.model.denoise(x, timesteps, reference, motion, features)
        alpha = alphas_cumprod().to(x.device)[timesteps][None, :, None, None, None]
        self.seen.append(predict_x0(x.float(), eps.float(), alpha))
        return eps

    def encode_features(self, latent: Tensor, reference: Reference) -> LayerFeatures:
        """As `PersonaLive.encode_features`."""
        return self.model.encode_features(latent, reference)


@dataclass(frozen=True)
class StreamTruth:
    """Motion and ground truth of the frames of one stream, in order; the first is the oldest in flight; B = 1."""

    motion: HybridMotion  # [T]
    latents: Tensor  # [T, 4, h, w] ground truth; zeros where there is none
    pictures: Tensor  # [T, 3, S, S] in [-1, 1], likewise
    known: Tensor  # [T] bool: False for lead-in frames, which have no ground truth

    def after(self, frames: int) -> StreamTruth:
        """The truth without its first `frames` frames."""
        rows = slice(frames, None)
        return StreamTruth(self.motion[rows], self.latents[rows], self.pictures[rows], self.known[rows])


def after_lead_in(lead: HybridMotion, truth: StreamTruth) -> StreamTruth:
    """`lead` (the lead-in, MII) followed by `truth`; as many frames of its end are dropped, so the length stays."""
    count = len(lead)
    kept = slice(0, len(truth.known) - count)

    def later(values: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(values[:count]), values[kept]])

    motion = concat_motion([lead, truth.motion[kept]])
    return StreamTruth(motion, later(truth.latents), later(truth.pictures), later(truth.known))


def start_state(sampler: StreamingSampler, truth: StreamTruth, flying: MotionFeatures, noise: Tensor) -> StreamState:
    """The state before the first step: the true latents in flight, each window noised to its level.

    Where ground truth is missing, the stream starts as `sampler.start` does. `noise` has the shape of the latents in
    flight, [1, lookahead, 4, h, w].
    """
    config = sampler.config
    count = config.lookahead
    if not bool(truth.known[:count].all()):
        return sampler.start(flying)
    levels = torch.arange(config.windows).repeat_interleave(config.window)[:count]
    noisy = config.schedule.noised(truth.latents[None, :count], noise, levels)
    return StreamState(noisy.to(sampler.reference.latent.device), flying, first_bank(sampler.reference))


def detached(state: StreamState, flying: MotionFeatures) -> StreamState:
    """The same state, detached from the gradients of earlier steps; `flying` replaces its motion features."""
    bank = state.keyframes
    features = tuple((key.detach(), value.detach()) for key, value in bank.features)
    return replace(state, latents=state.latents.detach(), motion=flying, keyframes=replace(bank, features=features))
