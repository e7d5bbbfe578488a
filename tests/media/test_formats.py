"""Containers, codecs and quality of what is written, and metadata under keys of its own."""

from fractions import Fraction

import av
import numpy as np
import pytest

from personalive_core.errors import InputError, OutputError
from personalive_core.media.video import read_label
from personalive_core.media.write import VideoWriter, WriteOptions
from tests.media.films import (
    COLOUR_BARS,
    COLOURS,
    H,
    W,
    decode_sound,
    encode_sound,
    moving,
    number,
    numbered,
    read,
    write,
)

FORMATS = [
    ("a.mp4", None, "h264", "aac"),
    ("a.mkv", "h264", "h264", "aac"),
    ("a.webm", None, "vp9", "opus"),
    ("a.mkv", "vp9", "vp9", "opus"),
    ("a.mov", "prores", "prores", "pcm_s16le"),
    ("a.mkv", "prores", "prores", "pcm_s16le"),
]


@pytest.mark.parametrize(("name", "codec", "pictures", "sound"), FORMATS)
def test_frames_times_and_sound_of_every_format(tmp_path, name, codec, pictures, sound):
    spoken = encode_sound(tmp_path / "spoken.mkv", 2, "pcm_s16le", click=1.2)
    times = [Fraction(i, 25) + (Fraction(1, 3) if i > 20 else 0) for i in range(40)]
    options = WriteOptions(audio=spoken, codec=codec)
    path = write(tmp_path / name, [numbered(i) for i in range(40)], options, times)
    frames = read(path)
    assert [number(frame.image) for frame in frames] == list(range(40))
    assert max(abs(frame.time - time) for frame, time in zip(frames, times, strict=True)) <= Fraction(1, 1000)
    with av.open(str(path)) as container:
        assert [stream.codec_context.name.removeprefix("lib") for stream in container.streams] == [pictures, sound]
    wave, rate = decode_sound(path)
    loudest = 2**15 if sound.startswith("pcm") else 1
    assert np.flatnonzero(np.abs(wave / loudest) > 0.3)[0] / rate == pytest.approx(1.2, abs=0.01)
    assert read_label(path)["software"].startswith("PersonaLive")
    assert [file.name for file in tmp_path.iterdir() if file != spoken] == [name]


@pytest.mark.parametrize(("name", "codec"), [("a.webm", None), ("a.mov", "prores")])
def test_colours_of_every_format(tmp_path, name, codec):
    shown = read(write(tmp_path / name, [COLOUR_BARS] * 2, WriteOptions(codec=codec)))[1].image
    assert np.abs(shown[H // 2, W // 12 :: W // 6].astype(int) - COLOURS).max() <= 8


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_quality(tmp_path, name):
    sizes = [write(tmp_path / name, moving(12), WriteOptions(crf=crf)).stat().st_size for crf in (10, None, 45)]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("a.mp4", {"codec": "vp9"}, ".mp4 cannot hold vp9: write .webm or .mkv, or choose another codec"),
        ("a.webm", {"lossless": True}, ".webm cannot hold lossless: write .mp4 or .mov or .mkv"),
        ("a.mp4", {"codec": "h265"}, "a codec is one of h264, lossless, vp9, prores, not 'h265'"),
        ("a.mp4", {"crf": 52}, "h264 has a crf from 0 to 51, not 52"),
        ("a.mov", {"codec": "prores", "crf": 3}, "prores has no crf, not 3"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, name, options, says):
    with pytest.raises(InputError) as error:
        VideoWriter(tmp_path / name, (W, H), WriteOptions(**options))
    assert says in str(error.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="must end with"):
        VideoWriter(tmp_path / "a.avi", (W, H), WriteOptions(**options))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_tags_of_any_name_stand_beside_the_label(tmp_path, name):
    tags = {"prompt": '{"1": {"class_type": "A"}}', "workflow": '{"title": "\u00e9\u4e2d"}'}
    path = write(tmp_path / name, [numbered(0)], WriteOptions(tags=tags))
    with av.open(str(path)) as container:
        stored = {key.lower(): value for key, value in container.metadata.items()}
    assert {key: stored[key] for key in tags} == tags
    assert stored["comment"].startswith("The movements")
    assert read_label(path)["software"].startswith("PersonaLive")
