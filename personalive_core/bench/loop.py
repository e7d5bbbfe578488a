"""Times whole streams: frames in, pictures out, to the first picture and in their steady state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from statistics import median

import numpy as np

from ..animation.pipeline import AnimateOptions, MotionOptions, animate, driving_motion
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.reference import encode_reference
from ..backends.personalive.sampling import StreamingSampler, first_bank, remember
from ..backends.personalive.stream import stream, to_reference
from ..backends.personalive.types import STREAM, KeyframeBank, Reference
from ..device import peak_memory, reset_peak_memory, synchronize
from ..drawn.canvas import FaceMotion
from ..drawn.head import Identity
from ..drawn.person import draw_portrait
from ..drawn.sample import DRIVER, RATE, SITTER, sample_motion
from ..media.video import Frame
from ..modules.inputs import LayerFeatures
from ..modules.schedule import seeded_noise
from .figures import LoopCost
from .options import BenchOptions
from .trace import covered, trace

FRAME_SCALE = 1.5  # the stream's driving frames are larger than the picture by this factor, so that cropping resamples
DRAWN_FRAMES = 8  # a stream repeats these: memory does not grow with its length
TRACED = 4  # windows under the profiler


def drawn_frames(size: int, scale: float = FRAME_SCALE) -> list[np.ndarray]:
    """Driving frames for pictures of `size` pixels a side."""
    side = round(size * scale)
    return [_drawn(DRIVER, sample_motion(frame, RATE), side) for frame in range(DRAWN_FRAMES)]


def drawn_portrait(size: int) -> np.ndarray:
    """The reference portrait [size, size, 3]."""
    return _drawn(SITTER, FaceMotion(), size)


def _drawn(who: Identity, motion: FaceMotion, size: int) -> np.ndarray:
    """A drawn person; where OpenCV is missing, waves that move with the face: random weights see a face in them too."""
    try:
        return draw_portrait(who, motion, size)
    except ImportError:
        rows, columns = np.indices((size, size)) / size
        waves = [np.sin(9 * (rows * (channel + 1) + columns) + motion.yaw / 20 + motion.mouth) for channel in range(3)]
        return np.round(127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)


def with_decoder(model: PersonaLive, decoder: str) -> PersonaLive:
    """The model that decodes with `decoder`, which it must have."""
    return model if decoder == "tiny" else replace(model, tiny_vae=None)


def grown(bank: KeyframeBank, features: LayerFeatures, keyframes: int) -> KeyframeBank:
    """The bank with `keyframes` more, all of these `features`."""
    for chunk in range(keyframes):
        bank = remember(bank, bank.motion[:, :1], features, chunk)
    return bank


def time_stream(model: PersonaLive, options: BenchOptions) -> tuple[float, float, float]:
    """Seconds from portrait to first frame; frames per second of the whole stream, and in its steady state."""
    portrait, frames = drawn_portrait(options.size), drawn_frames(options.size)
    start = time.perf_counter()
    reference = encode_reference(model, portrait, options.size)
    begun = time.perf_counter()
    film = (Frame(frames[i % len(frames)], Fraction(i, RATE)) for i in range(options.frames))
    given = AnimateOptions(motion=MotionOptions(size=options.size), config=STREAM)
    arrivals = [time.perf_counter() for _ in animate(model, reference, film, given)]
    return arrivals[0] - start, *frame_rates(begun, arrivals)


def frame_rates(begun: float, arrivals: Sequence[float]) -> tuple[float, float]:
    """Frames per second of a whole stream, and in its steady state, while frames still go in.

    `begun` and `arrivals` are times in seconds: of the stream's start, and of each frame that came out.
    """
    windows = arrivals[:: STREAM.window][: len(arrivals) // STREAM.window - STREAM.windows + 1]
    steady = STREAM.window / median(later - earlier for earlier, later in pairwise(windows))
    return len(arrivals) / (arrivals[-1] - begun), steady


def measure_loop(model: PersonaLive, speed: str, keyframes: int, options: BenchOptions) -> LoopCost:
    """Two streams of `model`, the first of which makes it ready, and on a GPU a third under the profiler.

    Their driving frames have the picture's size, and their keyframes are there from the start: none joins or leaves.
    """
    device, frames = model.device, drawn_frames(options.size, 1.0)
    reference = encode_reference(model, drawn_portrait(options.size), options.size)

    def arrive() -> list[float]:
        """Seconds from the stream's start until each picture."""
        begun = time.perf_counter()
        return [time.perf_counter() - begun for _ in pictures(model, reference, frames, keyframes, options.frames)]

    ready = arrive()
    synchronize(device)
    reset_peak_memory(device)
    steady = arrive()
    fps, peak = frame_rates(0.0, steady)[1], peak_memory(device)
    busy, waits = None, None
    if device.type == "cuda":
        work, waits = gpu_work(model, reference, frames, keyframes)
        busy = min(work * fps / STREAM.window, 1.0)
    decoder = "full" if model.tiny_vae is None else "tiny"
    return LoopCost(speed, decoder, keyframes, fps, ready[0], steady[0], busy, waits, peak)


def pictures(
    model: PersonaLive, reference: Reference, frames: list[np.ndarray], keyframes: int, count: int
) -> Iterator[np.ndarray]:
    """Yields the picture of each of `count` driving frames, which repeat `frames`."""
    bank = grown(first_bank(reference), reference.features, keyframes)
    config = replace(STREAM, max_keyframes=len(bank))  # full: no keyframe joins
    sampler = StreamingSampler(model, reference, seeded_noise(0), config)
    driving = (frames[i % len(frames)] for i in range(count))
    motions = driving_motion(model, driving, MotionOptions(size=frames[0].shape[0]), reference.motion)
    for emitted in stream(model, sampler, to_reference(motions, reference, config.lookahead), keyframes=bank):
        yield from emitted.pictures


def gpu_work(model: PersonaLive, reference: Reference, frames: list[np.ndarray], keyframes: int) -> tuple[float, float]:
    """Seconds in which the GPU works, and calls in which the host waits for it, per window of the steady state."""
    going = pictures(model, reference, frames, keyframes, (TRACED + 2 * STREAM.windows) * STREAM.window)
    for _ in range(STREAM.window):  # the stream has started
        next(going)

    def run() -> None:
        for _ in range(TRACED * STREAM.window):
            next(going)

    seen = trace(run, model.device)
    for _ in going:  # to its end, so that its threads end
        pass
    return covered(seen.work) / TRACED, seen.waits / TRACED
