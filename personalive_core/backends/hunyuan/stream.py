"""Animates a reference picture by the motion of a driving of any length, in overlapping segments.

The published program denoises a whole clip at once: its windows form a circle, so nothing is finished before all is.
Clips of at most `SegmentRule.frames` frames are made exactly so. A longer film is cut into such clips, each with
padding of its own, which share some frames: over these, the latents of the one fade into those of the next. Both are
made of the same noise and motion there, since a frame's noise depends on its number alone. What differs from the
published program: a frame is averaged with those of its own segment only, so about the seams the picture may change a
little over the shared frames. Memory and the time to the first picture depend on the segment, not on the film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...modules.schedule import NoiseFn
from ...motion.gaps import fill_missing, lerp
from ...motion.types import concat_motion
from ..personalive.pictures import broken_pictures
from .model import HunyuanPortrait
from .sampling import BOTH, NONE, WindowInput, WindowVelocity, denoise, noised, total_calls
from .types import HunyuanMotion, HunyuanReference, SamplingOptions, SegmentProgress, SegmentRule

Told = Callable[[SegmentProgress], None]  # callback: may raise to stop; pictures that are there already stay


@dataclass(frozen=True)
class Segment:
    """A part of a film that is denoised at once."""

    number: int
    start: int  # the film's frame that is its first
    motion: HunyuanMotion
    is_last: bool


@dataclass(frozen=True, eq=False)
class FilmLatents:
    """Latents of frames in a row, the film's and some padding."""

    values: Tensor  # [N, 4, h, w] float32
    wanted: Tensor  # [N] bool: False for padding

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, frames: slice) -> FilmLatents:
        return FilmLatents(self.values[frames], self.wanted[frames])

    def then(self, later: FilmLatents) -> FilmLatents:
        """These frames, followed by those of `later`."""
        return FilmLatents(torch.cat([self.values, later.values]), torch.cat([self.wanted, later.wanted]))


def animate_reference(
    model: HunyuanPortrait,
    reference: HunyuanReference,
    motions: Iterable[HunyuanMotion],
    noise: NoiseFn,
    options: SamplingOptions,
    told: Told = lambda _: None,
) -> Iterator[Tensor]:
    """Pictures [F, 3, S, S] in [0, 1], float32, a few at a time, one for each frame of `motions`.

    A frame without a face holds the motion before it. `noise` gives a frame's noise by its number in the film, the
    padding before it included. Raises FaceError if no frame has a face, NumericalError as soon as there is NaN.
    """
    parts = film_latents(model, reference, segments(fill_missing(motions), options.segments), noise, options, told)
    held: FilmLatents | None = None
    for part in parts:
        held = part if held is None else held.then(part)
        whole = len(held) // options.decoded * options.decoded
        yield from _decoded(model, held[:whole], options.decoded)
        held = held[whole:]
    if held is not None:
        yield from _decoded(model, held, options.decoded)


def segments(motions: Iterable[HunyuanMotion], rule: SegmentRule) -> Iterator[Segment]:
    """Cuts a film; the last segment has more frames than two of them share, unless it is the only one."""
    held: list[HunyuanMotion] = []
    count = number = start = 0
    for motion in motions:
        held.append(motion)
        count += len(motion)
        while count > rule.frames:
            joined = concat_motion(held)
            yield Segment(number, start, joined[: rule.frames], False)
            step = rule.frames - rule.overlap
            held, count, number, start = [joined[step:]], count - step, number + 1, start + step
    if count:
        yield Segment(number, start, concat_motion(held), True)


def segment_count(frames: int, rule: SegmentRule) -> int:
    """How many segments a film of so many frames is cut into."""
    return 1 + max(-(-(frames - rule.frames) // (rule.frames - rule.overlap)), 0)


def film_latents(
    model: HunyuanPortrait,
    reference: HunyuanReference,
    parts: Iterable[Segment],
    noise: NoiseFn,
    options: SamplingOptions,
    told: Told,
) -> Iterator[FilmLatents]:
    """Clean latents of a film in order, with the padding before its first frame and after its last."""
    shared, padding = options.segments.overlap, options.padding
    tail: Tensor | None = None
    for segment in parts:
        values = denoised_segment(model, reference, segment, noise, options, told)
        wanted = torch.zeros(len(values), dtype=torch.bool)
        wanted[padding : padding + len(segment.motion)] = True
        if tail is not None:
            values, wanted = values[padding:], wanted[padding:]
            weights = (torch.arange(1, shared + 1, device=values.device) / (shared + 1)).view(-1, 1, 1, 1)
            values = torch.cat([lerp(tail, values[:shared], weights), values[shared:]])
        if not segment.is_last:
            end = len(values) - padding
            tail, values, wanted = values[end - shared : end], values[: end - shared], wanted[: end - shared]
        yield FilmLatents(values, wanted)


def denoised_segment(
    model: HunyuanPortrait,
    reference: HunyuanReference,
    segment: Segment,
    noise: NoiseFn,
    options: SamplingOptions,
    told: Told,
) -> Tensor:
    """Clean latents [padding + F + padding, 4, h, w] of a segment."""
    tokens = padded(model.motion_tokens(segment.motion), options.padding).to(model.dtype)
    latents = reference.latents.to(model.device)
    shape = latents.shape
    drawn = torch.stack([noise(segment.start + place, shape) for place in range(len(tokens))])
    total = total_calls(len(tokens), options)

    def stepped(calls: int, clean: Tensor) -> None:
        _check_finite(clean, model)  # after the first step, not after all of a long segment's
        told(SegmentProgress(segment.number, calls, total, clean))

    velocity = conditioned(model, reference, tokens)
    return denoise(noised(latents, drawn.to(latents)), latents, velocity, options, stepped)


def padded(tokens: Tensor, padding: int) -> Tensor:
    """Motion tokens [F, L, C] that fade in before the first frame, and out after the last: [P + F + P, L, C]."""
    rise = (torch.arange(padding, device=tokens.device) / max(padding, 1)).to(tokens.dtype).view(-1, 1, 1)
    return torch.cat([tokens[:1] * rise, tokens, tokens[-1:] * (1 - rise)])


def conditioned(model: HunyuanPortrait, reference: HunyuanReference, tokens: Tensor) -> WindowVelocity:
    """The UNet with a clip's conditions; `tokens` [N, 64, 1024] are its motion."""
    own = reference.tokens.to(tokens)

    def velocity(asked: WindowInput) -> Tensor:
        moving = tokens[asked.frames]
        look = torch.stack([own if branch != NONE else torch.zeros_like(own) for branch in asked.branches])
        motion = torch.stack([moving if branch == BOTH else torch.zeros_like(moving) for branch in asked.branches])
        look = look.expand(-1, len(moving), -1, -1)
        return model.velocity(asked.x, asked.time, look, motion, reference.pose)

    return velocity


def _decoded(model: HunyuanPortrait, latents: FilmLatents, count: int) -> Iterator[Tensor]:
    """The wanted pictures, `count` frames at a time: the decoder mixes these, so padding is decoded with them."""
    for begin in range(0, len(latents), count):
        chunk = latents[begin : begin + count]
        if chunk.wanted.any():
            pictures = model.decode(chunk.values)
            _check_finite(pictures, model)
            yield pictures.cpu()[chunk.wanted]


def _check_finite(values: Tensor, model: HunyuanPortrait) -> None:
    if not bool(values.isfinite().all()):
        raise broken_pictures("NaN", model.dtype)
