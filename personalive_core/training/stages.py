"""Losses of the recipe's three stages (section 3): noise prediction, distillation to four steps, and streaming."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import lead_path
from ..backends.personalive.sampling import StreamingSampler
from ..backends.personalive.types import LATENT_SCALE, STREAM, StreamConfig, StreamState
from ..modules.inputs import MotionFeatures
from ..modules.schedule import TRAIN_STEPS, add_noise, alphas_cumprod
from ..motion.types import HybridMotion
from .data import Pick, generator, normal
from .discriminator import Discriminator
from .losses import (
    Losses,
    discriminator_loss,
    face_weight,
    generator_loss,
    gradient_penalty,
    noise_error,
    snr_weight,
    squared_error,
)
from .perceptual import Distance
from .presets import Preset
from .source import Batch, Source, batch, encode_references, motion_features
from .streaming import Recorder, StreamTruth, after_lead_in, detached, start_state

PENALTY = 10.0  # loss weight of R1, as in StyleGAN2; applied at every step (no lazy regularisation)
LATENTS = 0.1  # stage 2: weight of the latent loss; latent errors are about ten times as large as picture errors
LED_SHARE = 0.5  # share of the streams that begin with a lead-in, as at inference (MII)


def image_losses(source: Source, row: Preset, *numbers: int) -> Losses:
    """Stage 1, equation 1: noise prediction on single frames, given the reference and each frame's hybrid motion."""
    items = _batch(source, row, row.frames, False, *numbers)
    timesteps = draw_timesteps(row, items.latents.shape[:2], *numbers)
    alpha = alphas_cumprod()[timesteps][..., None, None, None]
    noise = normal(items.latents.shape, *numbers, 1)
    noisy = add_noise(items.latents, noise, alpha)
    predicted = _denoise(source.model, items, noisy, timesteps)
    weight = snr_weight(alpha, row.snr_limit).to(predicted) if row.snr_limit else 1.0
    return {"noise": noise_error(predicted, noise.to(predicted), weight)}


def draw_timesteps(row: Preset, shape: torch.Size, *numbers: int) -> Tensor:
    """Uniform timesteps [B, F]; a share `row.levels` of them are replaced by timesteps of inference.

    The lowest timestep of inference is left out: its noise does not hide the picture.
    """
    draws = generator(*numbers, 2)
    anywhere = draws.integers(TRAIN_STEPS, size=tuple(shape))
    streamed = draws.choice(STREAM.timesteps[1:] or STREAM.timesteps, size=tuple(shape))
    return torch.tensor([[int(b if draws.uniform() < row.levels else a) for a, b in zip(*rows, strict=True)]
                         for rows in zip(anywhere, streamed, strict=True)])  # fmt: skip


@dataclass(frozen=True)
class PictureLoss:
    """Equation 8 on decoded pictures: L2 + 2.0 LPIPS + 0.05 adversarial; also the discriminator's own losses."""

    distance: Distance | None
    critic: Discriminator | None

    def __call__(self, row: Preset, predicted: Tensor, true: Tensor, box: Tensor) -> Losses:
        """Losses by name; takes pictures [N, 3, S, S] in [-1, 1] and face boxes [N, 4] in pixels."""
        losses = {"l2": squared_error(predicted, true, face_weight(box, true.shape[-1], row.face).to(true))}
        if self.distance and row.perceptual:
            losses["perceptual"] = row.perceptual * self.distance(predicted, true)
        if self.critic and row.adversarial:
            # with frozen parameters: the adversarial term trains the generator only
            frozen = {key: value.detach() for key, value in self.critic.named_parameters()}
            score = functional_call(self.critic, frozen, (predicted,))
            losses["adversarial"] = row.adversarial * generator_loss(score)
            real = true.detach().requires_grad_()
            real_score = self.critic(real)
            losses["critic"] = discriminator_loss(real_score, self.critic(predicted.detach()))
            losses["penalty"] = PENALTY * gradient_penalty(real_score, real)
        return losses


def distillation_losses(judge: PictureLoss, source: Source, row: Preset, *numbers: int) -> Losses:
    """Stage 2: denoises through a random number of the four levels; only the last pass has gradients.

    As at inference, it starts from the reference's latents, noised to the highest level. Decoding takes most of a
    step's time. Therefore `row.decoded` may limit the decoded frames; then a latent loss on all frames is added.
    """
    items = _batch(source, row, row.frames, False, *numbers)
    x = fully_noised(items, normal(items.latents.shape, *numbers, 1)).to(source.model.device)
    passes = int(generator(*numbers, 2).integers(1, len(STREAM.timesteps) + 1))
    x0 = denoised(source.model, items, x, passes).flatten(0, 1)
    true, box = items.pictures.flatten(0, 1).to(x0), items.box.flatten(0, 1)
    if not row.decoded:
        return judge(row, decode_for_loss(source.model, x0), true, box)
    losses = {"latents": LATENTS * squared_error(x0, items.latents.flatten(0, 1).to(x0))}
    some = generator(*numbers, 3).permutation(len(x0))[: row.decoded].tolist()
    return losses | judge(row, decode_for_loss(source.model, x0[some]), true[some], box[some])


def fully_noised(items: Batch, noise: Tensor) -> Tensor:
    """The reference's latents, noised to the highest level as at a stream's start, once per driving frame."""
    x0 = items.reference[:, None].expand(items.latents.shape)
    return STREAM.schedule.noised(x0, noise, torch.tensor([len(STREAM.timesteps) - 1]))


def denoised(model: PersonaLive, items: Batch, x: Tensor, passes: int) -> Tensor:
    """Clean latents after `passes` of the published levels, highest first; only the last pass has gradients."""
    with_gradients = torch.is_grad_enabled()
    for level in range(len(STREAM.timesteps) - 1, len(STREAM.timesteps) - 1 - passes, -1):
        last = level == len(STREAM.timesteps) - passes
        with torch.set_grad_enabled(last and with_gradients):
            eps = _denoise(model, items, x, torch.tensor([STREAM.timesteps[level]])).float()
            advance = STREAM.schedule.clean if last else STREAM.schedule.step
            x = advance(x, eps, torch.tensor([level]))
    return x


def decode_for_loss(model: PersonaLive, latents: Tensor) -> Tensor:
    """Latents [N, 4, h, w] -> pictures [N, 3, S, S], not clamped to [-1, 1], with gradients."""
    pictures: Tensor = model.vae.decode(latents.to(model.dtype) / LATENT_SCALE).sample
    return pictures.float()


def streaming_losses(judge: PictureLoss, source: Source, row: Preset, *numbers: int) -> Losses:
    """Stage 3: the stream of inference, started from true chunks or, half the time, from the reference (MII).

    It continues from its own outputs. A random `row.learned` of its steps have gradients. In these steps, the x0
    predicted for each frame in flight is compared with the true latents, and one window also as decoded pictures.
    """
    config, draws = replace(STREAM, window=row.frames, keyframe_warmup=1), generator(*numbers, 3)
    items, truth, own, canonical = _truth(source, row, config, *numbers)
    learned = set(draws.permutation(row.chunks)[: row.learned].tolist())
    state: StreamState | None = None
    totals: Losses = {}
    for chunk in range(row.chunks):
        ahead, recorder = truth.after(chunk * config.window), Recorder(source.model)
        with torch.set_grad_enabled(chunk in learned):
            reference = encode_references(source.model, items, own, canonical)
            sampler = StreamingSampler(recorder, reference, partial(_noise, numbers), config)
            flying, newest = _features(source.model, ahead, config)
            if state is None or not row.sliding:
                start = normal(ahead.latents[None, : config.lookahead].shape, *numbers, 4, chunk)
                state = start_state(sampler, ahead, flying, start)
            state, _ = sampler.step(detached(state, flying), newest)
            terms = judge_stream(judge, source.model, row, recorder.seen[-1], ahead, draws) if chunk in learned else {}
        for name, value in terms.items():
            totals[name] = totals.get(name, value * 0) + value / len(learned)
    return totals


def _truth(
    source: Source, row: Preset, config: StreamConfig, *numbers: int
) -> tuple[Batch, StreamTruth, HybridMotion, Tensor]:
    """A batch of one item, the stream's frames, and the reference's own motion [1] and canonical keypoints [21, 3]."""
    frames = config.lookahead + row.chunks * config.window
    (picked,) = source.picks(1, frames, True, *numbers)
    items, clip = batch(source, [picked], None, *numbers), source.data.clip(picked.clip)
    own = clip.motion[picked.reference : picked.reference + 1]
    canonical = clip.canonical[picked.reference]
    rows = slice(picked.driving[0], picked.driving[-1] + 1)
    known = torch.ones(frames, dtype=torch.bool)
    truth = StreamTruth(clip.motion[rows], items.latents[0], items.pictures[0], known)
    if row.sliding and generator(*numbers, 4).uniform() < LED_SHARE:
        path = lead_path(own, canonical, truth.motion[:1], config.lookahead)
        truth = after_lead_in(path, truth)
    return items, truth, own, canonical


def _features(model: PersonaLive, ahead: StreamTruth, config: StreamConfig) -> tuple[MotionFeatures, MotionFeatures]:
    """Motion features of the frames in flight, and of the newest window."""
    features = model.embed_motion(ahead.motion[: config.lookahead + config.window], ahead.pictures.shape[-1])
    flying = MotionFeatures(features.face[:, : config.lookahead], features.pose[:, : config.lookahead])
    return flying, features.drop(config.lookahead)


def _noise(numbers: tuple[int, ...], chunk: int, shape: torch.Size) -> Tensor:
    return normal(shape, *numbers, 5, chunk + 1)


def judge_stream(
    judge: PictureLoss, model: PersonaLive, row: Preset, x0: Tensor, ahead: StreamTruth, draws: np.random.Generator
) -> Losses:
    """Losses of the x0 [1, F, 4, h, w] predicted for the frames in flight, on those whose true latents are known."""
    known = ahead.known[: x0.shape[1]].nonzero()[:, 0]
    if not len(known):
        return {"latents": 0 * x0.sum()}
    alpha = alphas_cumprod()[list(STREAM.timesteps)].repeat_interleave(row.frames)[known, None, None, None]
    weight = snr_weight(alpha, row.snr_limit or torch.inf) * alpha / (1 - alpha)  # noise error = SNR * x0 error
    losses = {"latents": noise_error(x0[0, known], ahead.latents[known].to(x0), weight.to(x0))}
    window = known[int(draws.integers(len(known) // row.frames)) * row.frames :][: row.frames]
    box = ahead.motion.box[window]
    return losses | judge(row, decode_for_loss(model, x0[0, window]), ahead.pictures[window].to(x0), box)


def _denoise(model: PersonaLive, items: Batch, x: Tensor, timesteps: Tensor) -> Tensor:
    """Noise predicted for independent frames: the temporal modules are left out."""
    clip = model.embed_image(items.image)
    latent = items.reference.to(model.device)
    noise: Tensor = model.denoising_unet(
        x.to(model.device, model.dtype),
        timesteps.to(model.device),
        model.project_image(clip),
        motion_features(model, items),
        model.project_tokens(latent, clip),
        temporal=False,
    )
    return noise


def _batch(source: Source, row: Preset, frames: int, consecutive: bool, *numbers: int) -> Batch:
    strength = row.augment if "motion_encoder" in row.trains else None
    picks = source.picks(row.clips, frames, consecutive, *numbers)
    return batch(source, picks, strength, *numbers)


def sample_pictures(source: Source, clips: list[int]) -> list[Tensor]:
    """References, driving frames, and results after four steps: [N, 3, S, S] in [0, 1] each, one picture per clip."""
    picks = [Pick(clip, 0, (len(source.data.clip(clip)) // 2,)) for clip in clips]
    items = batch(source, picks, None)
    x = fully_noised(items, normal(items.latents.shape, 0)).to(source.model.device)
    x0 = denoised(source.model, items, x, len(STREAM.timesteps))
    reference = source.model.decode(items.reference[:, None])[:, 0]
    return [reference, items.pictures[:, 0] / 2 + 0.5, source.model.decode(x0)[:, 0]]
