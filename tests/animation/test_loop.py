"""The loop as it runs on a GPU, with the standin on the CPU: read one window late; what is lost and what is not."""

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from personalive_core.animation import pipeline
from personalive_core.animation.driving import DrivingClip, open_driving
from personalive_core.animation.job import write_frame
from personalive_core.animation.pipeline import AnimateOptions, MotionOptions, animate, driving_motion
from personalive_core.backends.personalive import stream as stream_module
from personalive_core.backends.personalive.pictures import Lane
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.errors import FaceError
from personalive_core.faces.crop import Box, Face
from personalive_core.media.ahead import Behind
from personalive_core.media.video import Frame
from personalive_core.motion.smoothing import OneEuroOptions
from personalive_core.motion.types import concat_motion

SIZE = 64


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def driving(count):
    draw = np.random.default_rng(0)
    return [Frame(draw.integers(0, 256, (SIZE, SIZE, 3), np.uint8), Fraction(i, 25)) for i in range(count)]


@pytest.fixture(scope="module")
def reference(standin):
    return encode_reference(standin, driving(1)[0].image, SIZE)


@pytest.fixture
def late(monkeypatch):
    """As on a CUDA device: motion and pictures are read one window late."""
    monkeypatch.setattr(pipeline, "results_behind", lambda _: 1)
    monkeypatch.setattr(stream_module, "lane_on", lambda *_: Lane(1))


def threads():
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith(("personalive-ahead", "personalive-behind"))
    ]


def options(**motion):
    config = StreamConfig(keyframe_warmup=2, keyframe_distance=0.0)
    return AnimateOptions(seed=5, motion=MotionOptions(size=SIZE, **motion), config=config)


def test_late_results_are_the_same_frames(standin, reference, monkeypatch):
    frames = driving(10)

    def run():
        return [
            (f.index, f.time, f.keyframe, f.valid, f.picture.tobytes())
            for f in animate(standin, reference, frames, chosen)
        ]

    chosen = options(smoothing=OneEuroOptions())
    on_time = run()
    monkeypatch.setattr(pipeline, "results_behind", lambda _: 1)
    monkeypatch.setattr(stream_module, "lane_on", lambda *_: Lane(1))
    assert run() == on_time
    assert [index for index, _, keyframe, *_ in on_time if keyframe] == [0, 4]


@pytest.mark.usefixtures("late")
def test_two_windows_more_are_read_before_the_first_picture(standin, reference):
    """One in extraction, one in decoding; docs/library.md says it."""
    read = []
    found = animate(standin, reference, (read.append(1) or frame for frame in driving(40)), options())
    assert next(found).index == 0
    assert len(read) == 24
    found.close()


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_the_frames_before_an_error_of_the_source_come_first(standin, kind):
    def source():
        yield from (frame.image for frame in driving(9))
        raise kind("source")

    found = []
    with pytest.raises(kind, match="source"):
        found.extend(driving_motion(standin, source(), options().motion))
    assert len(concat_motion(found)) == 8  # whole windows, as without the delay


@pytest.mark.usefixtures("late")
def test_a_detector_looks_ahead_in_a_thread_that_ends(standin, reference):
    seen = []

    def detector(_):
        seen.append(threading.current_thread().name)
        return (Face(Box(16, 12, 48, 44), 0.9),) if len(seen) != 3 else ()

    chosen = options(detector=detector)
    found = list(animate(standin, reference, driving(6), chosen))
    assert [frame.valid for frame in found] == [True, True, False, True, True, True]
    assert {name.partition("_")[0] for name in seen} == {"personalive-ahead"}
    stopped = animate(standin, reference, driving(60), chosen)
    next(stopped)
    stopped.close()
    assert threads() == []
    strict = replace(chosen, motion=replace(chosen.motion, missing="error", detector=lambda _: ()))
    with pytest.raises(FaceError, match="no face in driving frame 0") as told:
        list(animate(standin, reference, driving(9), strict))
    assert threads() == []  # though the error still knows where it came from
    assert told.traceback


def test_a_film_is_decoded_ahead_and_closed(sample, tmp_path):
    source = open_driving(DrivingClip(sample[1]), SIZE, tmp_path)
    frames = source.read()
    assert next(frames).time == 0
    assert len(threads()) == 1
    frames.close()
    assert threads() == []
    assert [frame.time for frame in source.read()] == [Fraction(i, 25) for i in range(5)]
    assert threads() == []


def test_pictures_are_pasted_and_written_behind():
    written = []

    class Writer:
        def write(self, picture, time, duration):
            written.append((picture.item(), time, duration, threading.current_thread().name.partition("_")[0]))

    class Portrait:
        paste = staticmethod(lambda picture: picture + 1)

    with Behind(lambda *frame: write_frame(Portrait(), Writer(), *frame), 2) as write:
        for index in range(4):
            write(np.array(index), Fraction(index), None)
    assert written == [(index + 1, Fraction(index), None, "personalive-behind") for index in range(4)]


# --- on a GPU


@pytest.fixture(scope="module")
def on_gpu(standin_folder):
    from personalive_core.backends.personalive.loader import load_model

    model = load_model(standin_folder, torch.device("cuda"), torch.float16)
    return model, encode_reference(model, driving(1)[0].image, SIZE)


@pytest.mark.gpu
@pytest.mark.parametrize("side", [SIZE, 96])
def test_a_steady_window_waits_for_nothing(on_gpu, side):
    """Keyframes join meanwhile. Events are waited for, one window late; every other wait raises here."""
    model, reference = on_gpu
    draw = np.random.default_rng(0)
    frames = (Frame(draw.integers(0, 256, (side, side, 3), np.uint8), Fraction(i, 25)) for i in range(80))
    config = StreamConfig(keyframe_warmup=9, keyframe_distance=0.0)
    found = animate(model, reference, frames, AnimateOptions(motion=MotionOptions(size=SIZE), config=config))
    joined = [next(found).keyframe for _ in range(8)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        joined += [next(found).keyframe for _ in range(40)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [index for index, keyframe in enumerate(joined) if keyframe] == [24, 28, 32]
    found.close()


@pytest.mark.gpu
def test_the_lanes_change_no_picture(on_gpu, monkeypatch):
    """Decoded beside the denoising, in its queue, or read at once: the same bits, run after run."""
    model, reference = on_gpu

    def run(lane=None):
        if lane is not None:
            monkeypatch.setattr(stream_module, "lane_on", lambda *_: lane)
        return np.stack([frame.picture for frame in animate(model, reference, driving(30), options())])

    beside = run()
    assert np.array_equal(beside, run())
    for lane in (Lane(), Lane(1), Lane(1, torch.cuda.Stream(), False), Lane(3, torch.cuda.Stream(), True)):
        assert np.array_equal(beside, run(lane))


@pytest.mark.gpu
def test_long_streams_take_no_more_memory(on_gpu):
    model, reference = on_gpu
    held = []
    for frame in animate(model, reference, (driving(1) * 400), options()):
        if frame.index in (99, 399 - 24):
            held.append(torch.cuda.memory_allocated())
    assert abs(held[1] - held[0]) < 2**20
