"""Micro-chunk streaming sampler (section 3.4): each window in flight is less noisy than the next newer one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from einops import repeat
from torch import Tensor

from ...device import upload
from ...errors import InputError
from ...modules.inputs import LayerFeatures, MotionFeatures
from ...modules.schedule import NoiseFn, add_noise, ddim_step
from .conditions import Denoiser, StreamConditions, fused_noise, predicted_noise
from .types import KeyframeBank, Reference, StreamConfig, StreamHistory, StreamState

BEFORE_FIRST_CHUNK = -1  # chunk index of the noise that `start` draws


@dataclass(frozen=True, eq=False)
class Pass:
    """What one denoising pass over the F frames in flight takes from the schedule, on the device."""

    timesteps: Tensor  # [F]
    alphas: Tensor  # [1, F, 1, 1, 1] cumulative alphas of the frames' levels
    below: Tensor  # the same, of the next lower levels


@lru_cache(maxsize=32)
def passes(config: StreamConfig, device: torch.device) -> tuple[Pass, ...]:
    """The passes of one step. Made once: every copy from the CPU would wait for the device."""

    def one(passed: int) -> Pass:
        levels, like = frame_levels(config, passed), torch.empty(0, device=device)
        alphas, below = (config.schedule.alphas(part, like) for part in (levels, levels - 1))
        return Pass(torch.tensor(config.timesteps)[levels].to(device), alphas, below)

    with torch.inference_mode(False):  # training uses the same tensors
        return tuple(one(passed) for passed in range(config.substeps))


def frame_levels(config: StreamConfig, passed: int) -> Tensor:
    """Index into `timesteps` of each frame in flight [F], after `passed` denoising passes of a step."""
    window = torch.arange(config.windows).repeat_interleave(config.window)
    return (window + 1) * config.substeps - 1 - passed


@dataclass(frozen=True)
class StreamingSampler:
    """(state, one window of motion) -> (state, one window of clean latents). The project's only sampler."""

    model: Denoiser
    reference: Reference
    noise: NoiseFn
    config: StreamConfig = StreamConfig()

    def start(self, lead_in: MotionFeatures, keyframes: KeyframeBank | None = None) -> StreamState:
        """Motion-interpolated initialisation: `lead_in` [B, lookahead] leads from the reference to the first frame.

        The latents in flight are the reference's, noised to their windows' levels. `keyframes` is a bank that may hold
        fixed keyframes; None: the reference alone. Raises ValueError for another number of lead-in frames.
        """
        x0 = repeat(self.reference.latent, "b c h w -> b f c h w", f=self.config.lookahead)
        if lead_in.face.shape[1] != self.config.lookahead:
            raise ValueError(f"expected {self.config.lookahead} lead-in frames, got {lead_in.face.shape[1]}")
        levels = frame_levels(self.config, 0)[: self.config.lookahead]
        latents = self.config.schedule.noised(x0.float(), self._draw(BEFORE_FIRST_CHUNK, x0), levels)
        return StreamState(latents, lead_in, keyframes or first_bank(self.reference))

    def step(self, state: StreamState, motion: MotionFeatures) -> tuple[StreamState, Tensor]:
        """Takes `motion` [B, 0..W] of the newest window; returns the next state and clean latents [B, W, 4, h, w].

        Fewer than W frames mean the end of the driving: the last known frame is repeated. `finished` gives the driving
        frames to which the latents belong. Raises InputError for motion after the end.
        """
        window, taken = self.config.window, motion.face.shape[1]
        if taken and state.frames != state.chunk * window:
            raise InputError(
                f"the stream took frames up to its driving's end, frame {state.frames}, and repeats the last since: go "
                "on from a state before the end, or start another stream"
            )
        x0 = repeat(self.reference.latent, "b c h w -> b f c h w", f=window).float()
        planned = passes(self.config, x0.device)
        newest = add_noise(x0, self._draw(state.chunk, x0), planned[0].alphas[:, -window:])
        latents = torch.cat([state.latents, newest], 1)
        motion = state.motion.then(motion).padded(latents.shape[1])

        for one in planned:
            latents = self._denoise(latents, motion, state, one)
        done, latents = latents[:, :window], latents[:, window:]

        bank = self._remember(state, motion.known[:, :1], done[:, 0])
        after = replace(
            state,
            latents=latents,
            motion=motion.drop(window),
            keyframes=bank,
            chunk=state.chunk + 1,
            frames=state.frames + taken,
            history=recent(state.history, StreamHistory(done, motion.first(window)), self.config.history),
        )
        return after, done

    def finished(self, after: StreamState) -> range:
        """Driving frames whose latents the step that led to `after` returned; lead-in and padding are left out."""
        first = (after.chunk - self.config.windows) * self.config.window
        return range(first, min(first + self.config.window, after.frames)) if first >= 0 else range(0)

    def drained(self, state: StreamState) -> bool:
        """True if no driving frame taken so far is still in flight."""
        return (state.chunk - self.config.windows + 1) * self.config.window >= state.frames

    def _draw(self, chunk: int, like: Tensor) -> Tensor:
        return upload(self.noise(chunk, like.shape), like.device)

    def _denoise(self, latents: Tensor, motion: MotionFeatures, state: StreamState, one: Pass) -> Tensor:
        return ddim_step(latents, self._predict(latents, motion, state, one), one.alphas, one.below)

    def _predict(self, latents: Tensor, motion: MotionFeatures, state: StreamState, one: Pass) -> Tensor:
        """The noise in the frames in flight, float32."""
        config, past = self.config, recent(state.history, None, self.config.history)
        seen = StreamConditions(self.reference, state.keyframes.features, motion, past)
        if config.fusion is None:
            return predicted_noise(self.model, latents, one.timesteps, seen).float()
        return fused_noise(self.model, latents, one.timesteps, seen, config.fusion)

    def _remember(self, state: StreamState, motion: Tensor, latent: Tensor) -> KeyframeBank:
        """Historical keyframe mechanism: a window's first frame becomes a keyframe if its motion is new."""
        bank = state.keyframes
        if not is_new(bank, state.chunk, motion, self.config):
            return bank
        features = self.model.encode_features(latent.to(self.reference.latent.dtype), self.reference)
        return remember(bank, motion, features, state.chunk)


def first_bank(reference: Reference) -> KeyframeBank:
    """A keyframe bank that holds the reference alone."""
    embedding = reference.motion.embedding[None].cpu()
    return KeyframeBank(embedding.expand(len(reference.latent), -1, -1, -1), reference.features)


def at_hand(state: StreamState) -> StreamState:
    """The same state, with all embeddings on the CPU too: a state read from a file has them where the file was read."""
    bank, motion = state.keyframes, state.motion
    host = None if motion.face.device.type == "cpu" else motion.known.cpu()
    motion = MotionFeatures(motion.face, motion.pose, host)
    return replace(state, motion=motion, keyframes=replace(bank, motion=bank.motion.cpu()))


def recent(before: StreamHistory | None, done: StreamHistory | None, frames: int) -> StreamHistory | None:
    """The last `frames` frames of two histories; None for 0, or where neither holds a frame."""
    parts = [part for part in (before, done) if part is not None]
    if not frames or not parts:
        return None
    return (parts[0] if len(parts) == 1 else parts[0].then(parts[1])).last(frames)


def novelty(bank: KeyframeBank, motion: Tensor) -> Tensor:
    """L2 distance [B] of a facial embedding [B, 1, L, D] to the nearest one in the bank (section 3.4)."""
    distance = torch.cdist(motion.flatten(2).float(), bank.motion.to(motion.device).flatten(2).float())
    return distance.amin((1, 2))


def is_new(bank: KeyframeBank, chunk: int, motion: Tensor, config: StreamConfig) -> bool:
    """True if the window finished in `chunk` becomes a keyframe.

    `motion` [B, 1, L, D] is the embedding of its first frame. All items of a batch must be new.
    """
    if chunk < config.keyframe_warmup or len(bank) >= config.max_keyframes:
        return False
    return bool((novelty(bank, motion) > config.keyframe_distance).all())


def remember(bank: KeyframeBank, motion: Tensor, features: LayerFeatures, chunk: int) -> KeyframeBank:
    """The bank with one more keyframe appended: embedding `motion` [B, 1, L, D], keys and values `features`."""
    joined = tuple(
        (torch.cat([k, new_k], 1), torch.cat([v, new_v], 1))
        for (k, v), (new_k, new_v) in zip(bank.features, features, strict=True)
    )
    return KeyframeBank(torch.cat([bank.motion, motion.to(bank.motion)], 1), joined, (*bank.chunks, chunk))
