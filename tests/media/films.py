"""Small films with sound for the tests of media: made by PyAV alone, or by the writer."""

from fractions import Fraction

import av
import numpy as np

from personalive_core.media.video import read_frames
from personalive_core.media.write import VideoWriter, WriteOptions

W, H = 96, 64
COLOURS = np.array([[230, 20, 20], [20, 230, 20], [20, 20, 230], [250, 250, 250], [5, 5, 5], [128, 128, 128]], np.uint8)
COLOUR_BARS = np.repeat(np.repeat(COLOURS[None], H, 0), W // 6, 1)  # [H, W, 3]


def numbered(index, width=W, height=H):
    """A grey picture that says its number by its brightness."""
    return np.full((height, width, 3), 20 + 5 * (index % 40), np.uint8)


def number(image):
    return round((float(image.mean()) - 20) / 5)


def moving(count, width=W, height=H):
    """Pictures that do not compress."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def encode(path, images, codec="libx264", pix_fmt="yuv420p", times=None, options=None, **stream_settings):
    """A video file made by PyAV alone; `times` in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in stream_settings.items():
            setattr(stream.codec_context, name, value)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgba" if image.shape[2] == 4 else "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=stream_settings.get("colorspace", 5))
            frame.pts = round(1000 * (times[index] if times else Fraction(index, 25)))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def encode_sound(path, seconds, codec="aac", video_frames=0, click=None, held=None):
    """A file with a steady tone, or one click at `click` seconds; with `video_frames` grey pictures at 25 a second.

    The last picture is shown for `held` seconds.
    """
    rate = 48000
    wave = np.zeros((1, round(rate * seconds)), np.float32)
    if click is None:
        wave[0] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(wave.shape[1]) / rate)
    else:
        wave[0, round(click * rate) : round(click * rate) + 240] = 0.9
    with av.open(str(path), "w") as container:
        if video_frames:
            pictures = container.add_stream("libx264", rate=25, options={"bf": "0"})
            pictures.width, pictures.height, pictures.pix_fmt = W, H, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono")
        packets = []
        for index in range(video_frames):
            packets += pictures.encode(av.VideoFrame.from_ndarray(numbered(index), "rgb24"))
        if video_frames:
            packets += pictures.encode(None)
            if held is not None:
                packets[-1].duration = round(held / packets[-1].time_base)
        container.mux(packets)
        for start in range(0, wave.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, start : start + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def decode_sound(path):
    """(samples [n], sampling rate) from time 0 on."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        wave = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        lead = round(frames[0].pts * frames[0].time_base * stream.sample_rate)
        return np.concatenate([np.zeros(max(lead, 0)), wave[max(-lead, 0) :]]), stream.sample_rate


def read(path, **kwargs):
    return list(read_frames(path, **kwargs))


def write(path, images, options=None, times=None):
    height, width = images[0].shape[:2]
    with VideoWriter(path, (width, height), options or WriteOptions()) as writer:
        for index, image in enumerate(images):
            writer.write(image, times[index] if times else None)
    return path
