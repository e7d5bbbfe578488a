"""Stage 3's stream: the sampler of inference on one prepared clip, with the ground truth of each frame in flight."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.sampling import Pass, StreamingSampler, first_bank
from ..backends.personalive.types import Reference, StreamHistory, StreamState
from ..modules.inputs import LayerFeatures, MotionFeatures, SeenFeatures
from ..modules.schedule import add_noise, alphas_cumprod, predict_x0
from ..motion.types import HybridMotion, concat_motion
from .augment import AUGMENTATIONS
from .data import Clip
from .presets import Preset
from .source import face_crops

ABSENT_SHARE = 0.8  # share of a stage before history is real (arXiv 2509.17476: 40,000 of 50,000 steps)
FRESH = 1_000_000  # first number of the noise that x0 is noised anew with, beyond all chunks


@dataclass(frozen=True)
class Recorder:
    """The stream's two networks; records every prediction of clean latents."""

    model: PersonaLive
    seen: list[Tensor] = field(default_factory=list)  # x0 [B, H + F, 4, h, w] of each pass, the history's first

    def denoise(
        self, x: Tensor, timesteps: Tensor, reference: Reference, motion: MotionFeatures, features: SeenFeatures
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

    def project_image(self, clip: Tensor) -> tuple[Tensor, ...]:
        """As `PersonaLive.project_image`."""
        return self.model.project_image(clip)


@dataclass(frozen=True)
class Renoising(StreamingSampler):
    """The sampler as the published code trains it: x0 is noised to the next level with fresh noise, not by DDIM."""

    def _denoise(self, latents: Tensor, motion: MotionFeatures, state: StreamState, one: Pass) -> Tensor:
        x0 = predict_x0(latents, self._predict(latents, motion, state, one), one.alphas)
        drawn = len(self.model.seen) if isinstance(self.model, Recorder) else 0
        return add_noise(x0, self._draw(FRESH + drawn, x0), one.below)


def reread(model: PersonaLive, clip: Clip, rows: slice, row: Preset, *numbers: int) -> HybridMotion:
    """Motion of some frames of a clip, its facial embeddings read anew from the pictures; augmented with `numbers`."""
    every = torch.arange(len(clip))[rows]
    with torch.no_grad():
        crops = face_crops(clip, every, model.device)
        crops = AUGMENTATIONS[row.jitter](crops, row.augment, *numbers) if numbers else crops
        embedding = model.embed_faces(crops).float().cpu()
    return replace(clip.motion[rows], embedding=embedding)


@dataclass(frozen=True)
class StreamTruth:
    """Motion and ground truth of the frames of one stream, in order; the first is the oldest in flight; B = 1."""

    motion: HybridMotion  # [T]
    latents: Tensor  # [T, 4, h, w] ground truth; zeros where there is none
    pictures: Tensor  # [T, 3, S, S] in [-1, 1], likewise
    known: Tensor  # [T] bool: False for lead-in frames, which have no ground truth
    regions: Tensor | None = None  # [T, 4, 4] boxes of `regions.ERROR_REGIONS` in pixels; zeros where there is no truth

    def after(self, frames: int) -> StreamTruth:
        """The truth without its first `frames` frames."""
        rows = slice(frames, None)
        regions = None if self.regions is None else self.regions[rows]
        return StreamTruth(self.motion[rows], self.latents[rows], self.pictures[rows], self.known[rows], regions)


def after_lead_in(lead: HybridMotion, truth: StreamTruth) -> StreamTruth:
    """`lead` (the lead-in, MII) followed by `truth`; as many frames of its end are dropped, so the length stays."""
    count = len(lead)
    kept = slice(0, len(truth.known) - count)

    def later(values: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(values[:count]), values[kept]])

    motion = concat_motion([lead, truth.motion[kept]])
    regions = None if truth.regions is None else later(truth.regions)
    return StreamTruth(motion, later(truth.latents), later(truth.pictures), later(truth.known), regions)


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
    past = state.history
    if past is not None:
        past = StreamHistory(
            past.latents.detach(), MotionFeatures(past.motion.face.detach(), past.motion.pose.detach())
        )
    return replace(
        state, latents=state.latents.detach(), motion=flying, keyframes=replace(bank, features=features), history=past
    )


def history_at(row: Preset, over: float) -> Preset:
    """`row` when a share `over` of its steps or minutes has passed: a stage begins without history."""
    return row if over >= ABSENT_SHARE or not row.history else replace(row, history=0)
