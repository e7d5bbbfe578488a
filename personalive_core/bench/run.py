"""Measures time, floating-point operations and memory of each stage, and the frame rate of a whole stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..animation.pipeline import AnimateOptions, MotionOptions, animate
from ..backends.personalive.loader import DECODERS
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import extract_motion, lead_in
from ..backends.personalive.reference import CLIP_SIZE, check_size, encode_reference
from ..backends.personalive.sampling import StreamingSampler, first_bank, remember
from ..backends.personalive.types import LATENT_PIXELS, STREAM, KeyframeBank, Reference
from ..device import device_name, peak_memory, reset_peak_memory
from ..drawn.canvas import FaceMotion
from ..drawn.person import draw_portrait
from ..drawn.sample import DRIVER, RATE, SITTER, sample_motion
from ..errors import InputError
from ..faces.crop import crop_image, whole_frame
from ..media.tensors import to_signed
from ..media.video import Frame
from ..modules.face_encoder import FACE_SIZE
from ..modules.inputs import LayerFeatures, MotionFeatures
from ..modules.keypoints import PICTURE_SIZE
from ..modules.schedule import seeded_noise
from ..modules.unet import UNetConfig
from ..motion.types import HeadPose, HybridMotion
from .measure import count_flops, median_seconds, on_meta, size_of
from .networks import each, random_model
from .report import BenchReport, StageCost
from .standin import WIDTHS

FEWEST_FRAMES = (STREAM.windows + 1) * STREAM.window  # two windows must come out while frames still go in
FRAME_SCALE = 1.5  # driving frames are larger than the picture by this factor, so that cropping resamples
DRAWN_FRAMES = 8  # the stream repeats these: memory does not grow with its length
KEYFRAMES = (0, STREAM.max_keyframes - 1)  # fewest and most keyframes besides the reference

Calls = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class BenchOptions:
    """What is measured. If a model is given, its own widths, precision and device are used instead.

    Raises InputError for widths, a size, a decoder or numbers that cannot be measured.
    """

    widths: tuple[int, ...] = WIDTHS
    size: int = 512  # pixels a side of the picture
    precision: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    decoder: str = "full"  # of the stream; the stages measure both
    frames: int = 32  # driving frames of the stream
    repeats: int = 3
    compile: bool = False  # runs the denoising UNet through torch.compile, with static shapes

    def __post_init__(self) -> None:
        groups = UNetConfig.groups
        if not self.widths or any(width < 1 or width % groups for width in self.widths):
            given = ", ".join(map(str, self.widths)) or "none"
            raise InputError(f"widths must be multiples of {groups} such as 32, 64, 64, 64, got {given}")
        check_size(self.size)
        if self.decoder not in DECODERS:
            raise InputError(f"unknown decoder {self.decoder!r}: use {' or '.join(DECODERS)}")
        if self.frames < FEWEST_FRAMES or self.repeats < 1:
            raise InputError(
                f"a stream of at least {FEWEST_FRAMES} frames and 1 repeat can be measured, got {self.frames} and "
                f"{self.repeats}: raise them"
            )


def run_bench(options: BenchOptions, model: PersonaLive | None = None) -> BenchReport:
    """Measures `model`, or networks with random weights, on a drawn portrait and drawn driving frames.

    Raises InputError if the model lacks the requested decoder.
    """
    model = model or random_model(options.widths, options.device, options.precision)
    if options.decoder == "tiny" and model.tiny_vae is None:
        raise InputError("the model has no tiny decoder to measure: load it with decoder tiny, or measure full")
    parameters, size = size_of([network for network in vars(model).values() if isinstance(network, nn.Module)])
    # stages one by one; FLOPs are counted before torch.compile wraps the UNet
    flops = count_stages(model, options.size)
    if options.compile:
        compiled: Any = torch.compile(model.denoising_unet, dynamic=False)
        model = replace(model, denoising_unet=compiled)
    stages = tuple(
        _measure(name, call, flops.get(name, 0), options.repeats, model.device)
        for name, call in _timed_calls(model, options.size).items()
    )
    # a whole stream
    streaming = model if options.decoder == "tiny" else replace(model, tiny_vae=None)
    reset_peak_memory(model.device)
    first, whole, steady = _time_stream(streaming, options)
    return BenchReport(
        widths=model.denoising_unet.config.widths,
        size=options.size,
        precision=str(model.dtype).removeprefix("torch."),
        device=device_name(model.device),
        decoder=options.decoder,
        compiled=options.compile,
        frames=options.frames,
        torch=torch.__version__,
        parameters=parameters,
        weight_bytes=size,
        stages=stages,
        first_frame_seconds=first,
        fps=steady,
        fps_whole=whole,
        peak_memory=peak_memory(model.device),
    )


def count_stages(model: PersonaLive, size: int) -> dict[str, int]:
    """Floating-point operations of one call of each stage; the meta device needs no weights and no accelerator."""
    with torch.inference_mode():
        return {name: count_flops(call) for name, call in _counted_calls(each(model, _meta), size).items()}


def _meta(_: str, network: torch.nn.Module) -> torch.nn.Module:
    return on_meta(network)


def _counted_calls(model: PersonaLive, size: int) -> Calls:
    """Calls that run the networks of each stage on empty inputs; `model` is on the meta device."""
    side, width = size // LATENT_PIXELS, model.denoising_unet.config.widths[0]

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=model.dtype, device="meta")

    def features(frames: int) -> MotionFeatures:
        return MotionFeatures(empty(1, frames, 32, 16), empty(1, frames, width, side, side))

    def see(frames: int) -> None:
        model.motion_extractor(empty(frames, 3, PICTURE_SIZE, PICTURE_SIZE))
        model.motion_encoder(empty(frames, 3, FACE_SIZE, FACE_SIZE))

    def encode() -> Reference:
        see(1)
        latent = model.encode(empty(1, 3, size, size))
        clip = model.embed_image(empty(1, 3, CLIP_SIZE, CLIP_SIZE))
        pose = HeadPose(empty(1, 3), empty(1, 3), empty(1, 1))
        own = HybridMotion(empty(1, 32, 16), empty(1, 21, 3), pose, empty(1, 4), empty(1))
        tokens = model.project_tokens(latent, clip)
        return Reference(latent, clip, model.project_image(clip), tokens, own, empty(21, 3))

    def motion() -> None:
        see(STREAM.window)
        model.pose_guider(empty(STREAM.window, 3, size, size))

    calls = _stream_calls(model, encode(), features(STREAM.lookahead), features(STREAM.window))
    return {"reference": encode, "motion": motion, **calls}


def _timed_calls(model: PersonaLive, size: int) -> Calls:
    """Calls that run each stage as the pipeline does, for one window of frames."""
    portrait = draw_portrait(SITTER, FaceMotion(), size)
    frames = _drawn_frames(size)[: STREAM.window]
    reference = encode_reference(model, portrait, size)
    pictures = _cropped(frames, size)
    motion = extract_motion(model, pictures)
    with torch.inference_mode():
        features = model.embed_motion(motion, size)
        lead = model.embed_motion(lead_in(reference, motion[:1], STREAM.lookahead), size)
        calls = _stream_calls(model, reference, lead, features)
    return {
        "reference": lambda: encode_reference(model, portrait, size),
        "crop": lambda: _cropped(frames, size),
        "motion": lambda: model.embed_motion(extract_motion(model, pictures), size),
        **calls,
    }


def _stream_calls(model: PersonaLive, reference: Reference, lead: MotionFeatures, window: MotionFeatures) -> Calls:
    """Calls for one sampler step with the fewest and the most keyframes, and for each decoder; counted and timed."""
    sampler = StreamingSampler(model, reference, seeded_noise(0), STREAM)

    def step(keyframes: int) -> Callable[[], object]:
        state = sampler.start(lead, _grown(first_bank(reference), reference.features, keyframes))
        return lambda: sampler.step(state, window)

    latents = reference.latent[:, None].expand(-1, STREAM.window, -1, -1, -1)
    calls: Calls = {f"step_{keyframes}": step(keyframes) for keyframes in KEYFRAMES}
    calls["decode_full"] = lambda: replace(model, tiny_vae=None).decode(latents)
    if model.tiny_vae is not None:
        calls["decode_tiny"] = lambda: model.decode(latents)
    return calls


def _grown(bank: KeyframeBank, features: LayerFeatures, keyframes: int) -> KeyframeBank:
    for chunk in range(keyframes):
        bank = remember(bank, bank.motion[:, :1], features, chunk)
    return bank


def _cropped(frames: list[np.ndarray], size: int) -> Tensor:
    """Driving frames, cropped to pictures [F, 3, S, S] in [-1, 1]."""
    return to_signed(np.stack([crop_image(frame, whole_frame(frame.shape[:2]), size) for frame in frames]))


def _drawn_frames(size: int) -> list[np.ndarray]:
    side = round(size * FRAME_SCALE)
    return [draw_portrait(DRIVER, sample_motion(frame, RATE), side) for frame in range(DRAWN_FRAMES)]


def _measure(name: str, call: Callable[[], object], flops: int, repeats: int, device: torch.device) -> StageCost:
    frames = 1 if name == "reference" else STREAM.window
    with torch.inference_mode():
        reset_peak_memory(device)
        seconds = median_seconds(call, repeats, device)
        return StageCost(name, frames, seconds, flops, peak_memory(device))


def _time_stream(model: PersonaLive, options: BenchOptions) -> tuple[float, float, float]:
    """Seconds from portrait to first frame; frames per second of the whole stream, and in its steady state."""
    portrait, frames = draw_portrait(SITTER, FaceMotion(), options.size), _drawn_frames(options.size)
    start = time.perf_counter()
    reference = encode_reference(model, portrait, options.size)
    begun = time.perf_counter()
    arrivals = [time.perf_counter() for _ in _animated(model, reference, frames, options)]
    return arrivals[0] - start, *frame_rates(begun, arrivals)


def frame_rates(begun: float, arrivals: Sequence[float]) -> tuple[float, float]:
    """Frames per second of a whole stream, and in its steady state, while frames still go in.

    `begun` and `arrivals` are times in seconds: of the stream's start, and of each frame that came out.
    """
    windows = arrivals[:: STREAM.window][: len(arrivals) // STREAM.window - STREAM.windows + 1]
    steady = STREAM.window / median(later - earlier for earlier, later in pairwise(windows))
    return len(arrivals) / (arrivals[-1] - begun), steady


def _animated(
    model: PersonaLive, reference: Reference, frames: list[np.ndarray], options: BenchOptions
) -> Iterator[object]:
    film = (Frame(frames[i % len(frames)], Fraction(i, RATE)) for i in range(options.frames))
    return animate(model, reference, film, AnimateOptions(motion=MotionOptions(size=options.size), config=STREAM))
