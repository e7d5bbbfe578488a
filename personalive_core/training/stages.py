"""Losses of the recipe's three stages (section 3): noise prediction, distillation to four steps, and streaming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import lead_path
from ..backends.personalive.sampling import StreamingSampler
from ..backends.personalive.types import LATENT_SCALE, STREAM, Reference, StreamConfig, StreamState
from ..modules.inputs import MotionFeatures
from ..modules.schedule import TRAIN_STEPS, add_noise, alphas_cumprod, predict_x0
from ..motion.types import HybridMotion
from .cue import sheet_cue, stream_cue, with_cue
from .data import Pick, generator, normal
from .drops import Dropped, drop_image, drop_motion, drop_reference, drop_tokens, dropped_by
from .judging import Judged, PictureLoss
from .losses import Losses, masked_error, noise_error, snr_weight, squared_error
from .presets import Preset
from .regions import error_mask
from .source import Batch, Source, batch, encode_references, motion_features
from .streaming import Recorder, Renoising, StreamTruth, after_lead_in, detached, reread, start_state

LATENTS = 0.1  # stage 2: weight of the latent loss; latent errors are about ten times as large as picture errors
LED_SHARE = 0.5  # share of the streams that begin with a lead-in, as at inference (MII)


def image_losses(source: Source, row: Preset, *numbers: int) -> Losses:
    """Stage 1, equation 1: noise prediction on single frames, given the reference and each frame's hybrid motion."""
    items = _batch(source, row, row.frames, False, *numbers)
    timesteps = draw_timesteps(row, items.latents.shape[:2], *numbers)
    alpha = alphas_cumprod()[timesteps][..., None, None, None]
    noise = normal(items.latents.shape, *numbers, 1)
    if row.noise_offset:
        noise = noise + row.noise_offset * normal((*noise.shape[:3], 1, 1), *numbers, 4)
    noisy = add_noise(items.latents, noise, alpha)
    predicted = _denoise(source.model, items, noisy, timesteps, *dropped_by(row, *numbers))
    if row.target == "x0":
        x0 = predict_x0(noisy.to(predicted.device), predicted.float(), alpha.to(predicted.device))
        return latent_losses(row, x0, items)
    weight = snr_weight(alpha, row.snr_limit).to(predicted) if row.snr_limit else 1.0
    return {"noise": noise_error(predicted, noise.to(predicted), weight)}


def latent_losses(row: Preset, x0: Tensor, items: Batch) -> Losses:
    """Squared error of predicted clean latents [B, F, 4, h, w], and the same in face, eyes and mouth alone."""
    x0, true = x0.flatten(0, 1), items.latents.flatten(0, 1).to(x0)
    losses = {"x0": squared_error(x0, true)}
    if row.masked and items.regions is not None:
        boxes = items.regions.flatten(0, 1).to(x0.device)
        mask = error_mask(boxes, items.pictures.shape[-1], x0.shape[-1])
        losses["masked"] = row.masked * masked_error(x0, true, mask)
    return losses


def draw_timesteps(row: Preset, shape: torch.Size, *numbers: int) -> Tensor:
    """Uniform timesteps [B, F]; a share `row.levels` of them are replaced by timesteps of inference.

    The lowest timestep of inference is left out: its noise does not hide the picture.
    """
    draws = generator(*numbers, 2)
    anywhere = draws.integers(TRAIN_STEPS, size=tuple(shape))
    streamed = draws.choice(STREAM.timesteps[1:] or STREAM.timesteps, size=tuple(shape))
    return torch.tensor([[int(b if draws.uniform() < row.levels else a) for a, b in zip(*rows, strict=True)]
                         for rows in zip(anywhere, streamed, strict=True)])  # fmt: skip


def distillation_losses(judge: PictureLoss, source: Source, row: Preset, *numbers: int) -> Losses:
    """Stage 2: denoises through a random number of the four levels; only the last pass has gradients.

    As at inference, it starts from the reference's latents, noised to the highest level; with `row.pure_noise` from
    noise alone. Decoding takes most of a step's time. Therefore `row.decoded` may limit the decoded frames; then a
    latent loss on all frames is added.
    """
    items = _batch(source, row, row.frames, False, *numbers)
    x = normal(items.latents.shape, *numbers, 1)
    x = (x if row.pure_noise else fully_noised(items, x)).to(source.model.device)
    passes = int(generator(*numbers, 2).integers(1, len(STREAM.timesteps) + 1))
    x0 = denoised(source.model, items, x, passes, *dropped_by(row, *numbers)).flatten(0, 1)
    true, box = items.pictures.flatten(0, 1).to(x0), items.box.flatten(0, 1)
    level = torch.full((len(x0),), len(STREAM.timesteps) - passes)
    place = Judged(numbers[1], None if items.regions is None else items.regions.flatten(0, 1), level)
    if not row.decoded:
        return judge(row, decode_for_loss(source.model, x0), true, box, place)
    losses = {"latents": LATENTS * squared_error(x0, items.latents.flatten(0, 1).to(x0))}
    some = generator(*numbers, 3).permutation(len(x0))[: row.decoded].tolist()
    return losses | judge(row, decode_for_loss(source.model, x0[some]), true[some], box[some], place.of(some))


def fully_noised(items: Batch, noise: Tensor) -> Tensor:
    """The reference's latents, noised to the highest level as at a stream's start, once per driving frame."""
    x0 = items.reference[:, None].expand(items.latents.shape)
    return STREAM.schedule.noised(x0, noise, torch.tensor([len(STREAM.timesteps) - 1]))


def denoised(model: PersonaLive, items: Batch, x: Tensor, passes: int, dropped: Dropped | None = None) -> Tensor:
    """Clean latents after `passes` of the published levels, highest first; only the last pass has gradients.

    From level to level it goes by DDIM, or where `dropped` asks for it by noising the predicted x0 anew.
    """
    with_gradients, given = torch.is_grad_enabled(), () if dropped is None else (dropped,)
    for level in range(len(STREAM.timesteps) - 1, len(STREAM.timesteps) - 1 - passes, -1):
        last = level == len(STREAM.timesteps) - passes
        with torch.set_grad_enabled(last and with_gradients):
            eps = _denoise(model, items, x, torch.tensor([STREAM.timesteps[level]]), *given).float()
            anew = dropped is not None and dropped.row.renoised
            advance = STREAM.schedule.clean if last or anew else STREAM.schedule.step
            x = advance(x, eps, torch.tensor([level]))
            if anew and dropped is not None and not last:
                noise = normal(x.shape, *dropped.numbers, 6, level).to(x.device)
                x = STREAM.schedule.noised(x, noise, torch.tensor([level - 1]))
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
    config, draws = replace(STREAM, window=row.frames, keyframe_warmup=1, history=row.history), generator(*numbers, 3)
    items, truth, own, canonical = _truth(source, row, config, *numbers)
    learned = set(row.learned_chunks or draws.permutation(row.chunks)[: row.learned].tolist())
    state: StreamState | None = None
    totals: Losses = {}
    for chunk in range(row.chunks):
        ahead, recorder = truth.after(chunk * config.window), Recorder(source.model)
        with torch.set_grad_enabled(chunk in learned):
            reference = drop_reference(row, encode_references(source.model, items, own, canonical), *numbers)
            sampler = _sampler(recorder, reference, row, config, numbers)
            flying, newest = (drop_motion(row, part, *numbers) for part in _features(source.model, ahead, config))
            if state is None or not row.sliding:
                start = normal(ahead.latents[None, : config.lookahead].shape, *numbers, 4, chunk)
                state = start_state(sampler, ahead, flying, start)
            state, _ = sampler.step(detached(state, flying), newest)
            terms: Losses = {}
            x0 = recorder.seen[-1][:, -config.windows * config.window :]  # without the history
            if chunk in learned and row.whole:
                terms = judge_whole(judge, source.model, row, x0, ahead, numbers[1])
            elif chunk in learned:
                terms = judge_stream(judge, source.model, row, x0, ahead, draws)
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
    at = slice(picked.reference, picked.reference + 1)
    own = clip.motion[at]
    canonical = clip.canonical[picked.reference]
    rows = slice(picked.driving[0], picked.driving[-1] + 1)
    known = torch.ones(frames, dtype=torch.bool)
    regions = None if items.regions is None else items.regions[0]
    motion = clip.motion[rows]
    if row.reread:
        motion, own = reread(source.model, clip, rows, row, *numbers), reread(source.model, clip, at, row)
    motion, own = stream_cue(source.model, clip, (rows, at), (motion, own), row, *numbers)
    truth = StreamTruth(motion, items.latents[0], items.pictures[0], known, regions)
    if row.sliding and generator(*numbers, 4).uniform() < LED_SHARE:
        path = lead_path(own, canonical, truth.motion[:1], config.lookahead)
        truth = after_lead_in(path, truth)
    return items, truth, own, canonical


def _features(model: PersonaLive, ahead: StreamTruth, config: StreamConfig) -> tuple[MotionFeatures, MotionFeatures]:
    """Motion features of the frames in flight, and of the newest window."""
    features = model.embed_motion(ahead.motion[: config.lookahead + config.window], ahead.pictures.shape[-1])
    flying = MotionFeatures(features.face[:, : config.lookahead], features.pose[:, : config.lookahead])
    return flying, features.drop(config.lookahead)


def _sampler(
    recorder: Recorder, reference: Reference, row: Preset, config: StreamConfig, numbers: tuple[int, ...]
) -> StreamingSampler:
    def noise(chunk: int, shape: torch.Size) -> Tensor:
        return normal(shape, *numbers, 5, chunk + 1)

    return (Renoising if row.renoised else StreamingSampler)(recorder, reference, noise, config)


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


def judge_whole(
    judge: PictureLoss, model: PersonaLive, row: Preset, x0: Tensor, ahead: StreamTruth, step: int
) -> Losses:
    """Losses of all frames in flight as decoded pictures, as published; the decoder's activations are recomputed."""
    known = ahead.known[: x0.shape[1]].nonzero()[:, 0]
    if not len(known):
        return {"l2": 0 * x0.sum()}
    decoded = [checkpoint(decode_for_loss, model, x0[0, i : i + 1], use_reentrant=False) for i in known.tolist()]
    place = Judged(step, None if ahead.regions is None else ahead.regions[known], known // row.frames)
    return judge(row, torch.cat(decoded), ahead.pictures[known].to(x0), ahead.motion.box[known], place)


def _denoise(model: PersonaLive, items: Batch, x: Tensor, timesteps: Tensor, dropped: Dropped | None = None) -> Tensor:
    """Noise predicted for independent frames: the temporal modules are left out."""
    clip = model.embed_image(items.image)
    motion, latent = motion_features(model, items), items.reference.to(model.device)
    if dropped:
        clip = drop_image(dropped.row, clip, *dropped.numbers)
        motion = drop_motion(dropped.row, motion, *dropped.numbers)
    tokens = model.project_tokens(latent, clip)
    noise: Tensor = model.denoising_unet(
        x.to(model.device, model.dtype),
        timesteps.to(model.device),
        model.project_image(clip),
        motion,
        drop_tokens(dropped.row, tokens, *dropped.numbers) if dropped else tokens,
        temporal=False,
    )
    return noise


def _batch(source: Source, row: Preset, frames: int, consecutive: bool, *numbers: int) -> Batch:
    strength = row.augment if "motion_encoder" in row.trains else None
    picks = source.picks(row.clips, frames, consecutive, *numbers, margin=row.margin)
    if row.jitter == "smooth" and not row.crossed:
        items = batch(source, picks, strength, *numbers)
    else:
        items = batch(source, picks, strength, *numbers, jitter=row.jitter, crossed=row.crossed)
    return with_cue(items, source, picks, row, *numbers)


def sample_pictures(source: Source, clips: list[int]) -> list[Tensor]:
    """References, driving frames, and results after four steps: [N, 3, S, S] in [0, 1] each, one picture per clip."""
    picks = [Pick(clip, 0, (len(source.data.clip(clip)) // 2,)) for clip in clips]
    items = sheet_cue(batch(source, picks, None), source, picks)
    x = fully_noised(items, normal(items.latents.shape, 0)).to(source.model.device)
    x0 = denoised(source.model, items, x, len(STREAM.timesteps))
    reference = source.model.decode(items.reference[:, None])[:, 0]
    return [reference, items.pictures[:, 0] / 2 + 0.5, source.model.decode(x0)[:, 0]]
