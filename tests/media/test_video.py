"""Reading and writing moving pictures: what goes in comes out, and what is broken says so."""

import logging
import os
import struct
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import InputError, OutputError, PersonaLiveError
from personalive_core.media import write as video_write
from personalive_core.media.picture import read_image, write_image
from personalive_core.media.video import probe, read_frames, read_label
from personalive_core.media.write import VideoWriter, WriteOptions
from tests.media.films import (
    COLOUR_BARS,
    COLOURS,
    H,
    W,
    decode_sound,
    encode,
    encode_sound,
    moving,
    number,
    numbered,
    read,
    write,
)

DEMO = Path(os.environ.get("PERSONALIVE_DEMO", Path(__file__).parents[3] / "shared" / "demo")) / "driving_video.mp4"


def give_up_after(writer, images, error):
    with writer:
        for image in images:
            writer.write(image)
        raise error


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "libx264", "yuv422p10le"),
        ("a.mkv", "libx264", "yuv444p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("ten bits, é.mp4", "libx265", "yuv420p10le"),
    ],
)
def test_every_frame_with_its_time(tmp_path, name, codec, pix_fmt):
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = encode(tmp_path / name, [numbered(i) for i in range(30)], codec, pix_fmt, options=quiet)
    frames = read(path)
    assert [number(frame.image) for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(30)]
    assert frames[0].image.shape == (H, W, 3)
    assert frames[0].image.dtype == np.uint8
    info = probe(path)
    assert (info.width, info.height, info.rate, info.frames, info.has_audio) == (W, H, 25, 30, False)
    assert info.duration == pytest.approx(Fraction(30, 25), abs=0.01)


def test_variable_frame_rate_is_kept(tmp_path):
    times = [Fraction(ms, 1000) for ms in (0, 40, 50, 300, 333, 1000, 1010)]
    path = encode(tmp_path / "a.mp4", [numbered(i) for i in range(7)], times=times)
    assert [(number(f.image), f.time) for f in read(path)] == list(enumerate(times))


def test_times_count_from_the_first_frame(tmp_path):
    path = encode(tmp_path / "a.mkv", [numbered(i) for i in range(3)], times=[2, 2.04, 2.5])
    assert [f.time for f in read(path)] == [0, Fraction("0.04"), Fraction("0.5")]


def test_resampling_takes_the_nearest_frame(tmp_path):
    path = encode(tmp_path / "a.mp4", [numbered(i) for i in range(10)])
    assert [number(f.image) for f in read(path, rate=Fraction(25))] == list(range(10))
    assert [number(f.image) for f in read(path, rate=Fraction(50))] == [i // 2 for i in range(20)]
    slow = read(path, rate=Fraction(10))
    assert [f.time for f in slow] == [Fraction(i, 10) for i in range(4)]
    assert [number(f.image) for f in slow] == [0, 2, 5, 7]
    late = read(path, start=0.2, rate=Fraction(25), count=2)
    assert [(number(f.image), f.time) for f in late] == [(5, Fraction(1, 5)), (6, Fraction(6, 25))]


def test_start_and_count(tmp_path):
    path = encode(tmp_path / "a.mp4", [numbered(i) for i in range(30)])
    assert [number(f.image) for f in read(path, start=0.4, count=3)] == [10, 11, 12]
    assert read(path, start=0.4, count=1)[0].time == Fraction(2, 5)
    assert read(path, start=9) == []


def test_start_far_into_a_file_seeks_to_the_very_frame(tmp_path):
    path = encode(tmp_path / "a.mp4", [numbered(i) for i in range(300)], options={"g": "12"})
    whole = read(path)
    assert [f.time for f in read(path, start=10.04)] == [f.time for f in whole if f.time >= Fraction("10.04")]
    assert number(read(path, start=10.04)[0].image) == 251 % 40


@pytest.mark.parametrize(("matrix", "range_"), [(1, 1), (5, 1), (1, 2), (9, 1)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_colours_go_by_the_streams_tags(tmp_path, matrix, range_, pix_fmt):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = W, H, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, range_
        frame = av.VideoFrame.from_ndarray(COLOUR_BARS, "rgb24")
        frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=range_)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    middle = read(path)[0].image[H // 2, W // 12 :: W // 6]
    assert np.abs(middle.astype(int) - COLOURS).max() <= 4


def test_hdr_is_brightened_to_sdr(tmp_path):
    if not hasattr(av.VideoFrame, "color_trc"):
        pytest.skip("PyAV before 18 cannot convert transfer functions; install av>=18 to run this")
    path = encode(tmp_path / "a.mp4", [numbered(20)], pix_fmt="yuv420p10le", colorspace=9, color_trc=16)
    plain = encode(tmp_path / "b.mp4", [numbered(20)], pix_fmt="yuv420p10le", colorspace=9)
    assert read(path)[0].image.mean() > read(plain)[0].image.mean() + 20


def test_rotation_flag_is_applied(tmp_path):
    upright = np.zeros((H, W, 3), np.uint8)
    upright[: H // 2, : W // 2] = 255
    path = encode(tmp_path / "a.mp4", [np.rot90(upright).copy()])  # turned counterclockwise, to be turned back
    data = path.read_bytes()
    matrix = data.index(b"tkhd") + 4 + 40  # where ISO 14496-12 puts the matrix of a version 0 header
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, H << 16, 0, 1 << 30)
    path.write_bytes(data[:matrix] + clockwise + data[matrix + 36 :])
    image = read(path)[0].image
    assert image.shape == (H, W, 3)
    assert np.abs(image.astype(int) - upright).mean() < 8
    assert (probe(path).width, probe(path).height) == (W, H)


def test_pixels_are_made_square(tmp_path):
    path = encode(tmp_path / "a.mp4", [numbered(3)], sample_aspect_ratio=Fraction(4, 3))
    assert read(path)[0].image.shape == (H, W * 4 // 3, 3)
    assert probe(path).width == W * 4 // 3


def test_odd_sizes_are_untouched(tmp_path):
    path = encode(tmp_path / "a.mkv", moving(2, 97, 65), "ffv1", "bgr0")
    assert all(np.array_equal(f.image, image) for f, image in zip(read(path), moving(2, 97, 65), strict=True))


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("a.webm", "libvpx-vp9", "yuva420p"), ("a.mov", "png", "rgba")])
def test_alpha_is_composed_over_black(tmp_path, name, codec, pix_fmt):
    image = np.full((H, W, 4), 200, np.uint8)
    image[:, : W // 2, 3] = 0
    image[:, W // 2 :, 3] = 255
    shown = read(encode(tmp_path / name, [image, image], codec, pix_fmt))[0].image
    assert shown[:, : W // 2 - 4].max() < 8
    assert np.abs(shown[:, W // 2 + 4 :].astype(int) - 200).max() < 8


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    images = [Image.fromarray(numbered(i)) for i in range(4)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[40, 100, 60, 80], lossless=True)
    frames = read(path)
    assert [number(f.image) for f in frames] == [0, 1, 2, 3]
    assert [f.time for f in frames] == [0, Fraction("0.04"), Fraction("0.14"), Fraction("0.2")]
    info = probe(path)
    assert (info.width, info.height, info.frames, info.duration) == (W, H, 4, Fraction("0.28"))


def test_animation_without_times_goes_at_the_browsers_ten_a_second(tmp_path):
    images = [Image.fromarray(numbered(i)) for i in range(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=0)
    assert [f.time for f in read(tmp_path / "a.gif")] == [0, Fraction(1, 10), Fraction(1, 5)]


def test_folder_of_pictures_in_natural_order(tmp_path):
    for index in (1, 2, 10):
        Image.fromarray(numbered(index)).save(tmp_path / f"frame {index}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    frames = read(tmp_path)
    assert [(number(f.image), f.time) for f in frames] == [(1, 0), (2, Fraction(1, 25)), (10, Fraction(2, 25))]
    assert [f.time for f in read(tmp_path, rate=Fraction(10))] == [0, Fraction(1, 10), Fraction(1, 5)]
    assert (probe(tmp_path).frames, probe(tmp_path).duration) == (3, Fraction(3, 25))
    Image.fromarray(numbered(0, 128, 128)).save(tmp_path / "frame 11.png")
    with pytest.raises(InputError, match=r"frame 11\.png is 128x128 pixels, but the first .* is 96x64"):
        read(tmp_path)


def test_one_frame_video_and_still_picture(tmp_path):
    assert [f.time for f in read(encode(tmp_path / "a.mp4", [numbered(1)]))] == [0]
    Image.fromarray(COLOUR_BARS).save(tmp_path / "a.png")
    (only,) = read(tmp_path / "a.png")
    assert np.array_equal(only.image, COLOUR_BARS)
    assert probe(tmp_path / "a.png").frames == 1


def test_demo_video_gives_what_a_player_shows():
    if not DEMO.exists():
        pytest.skip("set PERSONALIVE_DEMO to the folder of the demo files to run this")
    # Its track holds 1641 frames, of which an edit list (one entry, from 4.45 s on) hides the first 110.
    frames = sum(1 for _ in read_frames(DEMO))
    assert frames == 1531
    assert abs(probe(DEMO).frames - frames) <= 1
    assert probe(DEMO).rate == 25


# ---------------------------------------------------------------- pictures


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(COLOUR_BARS).copy()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOUR_BARS)


def test_depth_palette_and_alpha_of_pictures(tmp_path):
    path = tmp_path / "a.png"
    ramp = np.tile(np.linspace(0, 65535, W).astype(np.uint16), (H, 1))
    Image.fromarray(ramp).save(path)
    assert np.array_equal(read_image(path)[..., 0], np.rint(ramp / 257))
    Image.fromarray(COLOUR_BARS).quantize(8).save(path)
    assert np.abs(read_image(path).astype(int) - COLOUR_BARS).max() <= 4
    alpha = np.dstack([COLOUR_BARS, np.full((H, W), 51, np.uint8)])
    Image.fromarray(alpha).save(path)
    assert np.array_equal(read_image(path), np.rint(COLOUR_BARS / 5))
    Image.fromarray(COLOUR_BARS).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - COLOUR_BARS).mean() < 4


# ---------------------------------------------------------------- broken input


def broken_files(folder):
    """name: (path, what the message must say)."""
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.png").write_text("not a picture\n" * 100)
    (folder / "text.mp4").write_text("not a video\n" * 100)
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile 'whole.mp4'\n")
    Image.fromarray(COLOUR_BARS[:3, :3]).save(folder / "tiny.png")
    whole = encode(folder / "whole.mp4", moving(20))
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[:5000])
    encode(folder / "tiny.mp4", [numbered(1, 16, 16)])
    encode_sound(folder / "sound.m4a", 0.5)
    (folder / "empty folder").mkdir()
    Image.fromarray(COLOUR_BARS).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.mp4", "cannot be opened (No such file or directory)"),
        ("empty.mp4", "is empty (0 bytes)"),
        ("text.png", "is named .png but holds no such picture"),
        ("text.mp4", "is not a video that can be read"),
        ("list.mp4", "is not a video that can be read"),
        ("cut.mp4", "is not a video that can be read"),
        ("tiny.png", "is 3x3 pixels, but each side needs at least 32"),
        ("tiny.mp4", "is 16x16 pixels, but each side needs at least 32"),
        ("sound.m4a", "holds only sound"),
        ("empty folder", "holds no pictures"),
        ("cut.png", "is a damaged picture"),
    ],
)
def test_broken_input_is_named_in_one_sentence(tmp_path, name, says):
    broken_files(tmp_path)
    with pytest.raises(InputError) as error:
        read(tmp_path / name)
    assert says in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    if name.endswith(".png"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "movflags"), [("a.mp4", "faststart"), ("a.mp4", "frag_keyframe+empty_moov"), ("a.mkv", "")]
)
def test_truncated_video_gives_what_decodes_and_warns_once(tmp_path, caplog, name, movflags):
    path = tmp_path / name
    write(path, moving(60), WriteOptions(rate=Fraction(25)))
    if movflags:
        with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": movflags}) as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
        path = tmp_path / "b.mp4"
    complete = read(path)
    assert len(complete) == 60
    assert not caplog.records
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = read(path)
    assert 20 < len(frames) < 40
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, complete, strict=False))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{len(frames)} frames could be read" in caplog.text


def test_missing_or_old_pyav_says_what_to_install(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", [numbered(0)])
    monkeypatch.setattr(av, "__version__", "15.1.0")
    with pytest.raises(PersonaLiveError, match=r"PyAV 16 or newer is needed, but 15\.1\.0 is here"):
        read(path)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PersonaLiveError, match="pip install av"):
        read(path)


def test_bad_arguments(tmp_path):
    for arguments in ({"start": -1}, {"count": -1}, {"rate": Fraction(0)}):
        with pytest.raises(InputError, match="start and count must be 0 or more"):
            read_frames(tmp_path, **arguments)


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_written_frames_come_back(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", [numbered(i) for i in range(30)])
    frames = read(path)
    assert [(number(f.image), f.time) for f in frames] == [(i, Fraction(i, 25)) for i in range(30)]
    info = probe(path)
    assert (info.width, info.height, info.rate, info.frames, info.duration) == (W, H, 25, 30, Fraction(6, 5))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_mp4_is_ordinary_with_its_header_first(tmp_path):
    data = write(tmp_path / "a.mp4", [numbered(i) for i in range(60)]).read_bytes()
    assert b"moof" not in data
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
def test_lossless_is_exact(tmp_path, suffix, size):
    images = moving(5, *size)
    frames = read(write(tmp_path / f"a{suffix}", images, WriteOptions(lossless=True)))
    assert all(np.array_equal(f.image, image) for f, image in zip(frames, images, strict=True))


def test_odd_sizes_get_their_edge_twice(tmp_path):
    image = np.full((65, 97, 3), 40, np.uint8)
    image[-1], image[:, -1] = 220, 220
    (frame,) = read(write(tmp_path / "a.mp4", [image]))
    assert frame.image.shape == (66, 98, 3)
    assert frame.image[-1].min() > 190
    assert frame.image[:, -1].min() > 190


def test_colours_are_bt709_and_survive(tmp_path):
    path = write(tmp_path / "a.mp4", [COLOUR_BARS])
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range, context.pix_fmt)
    assert tags == (1, 1, 1, 1, "yuv420p")
    middle = read(path)[0].image[H // 2, W // 12 :: W // 6]
    assert np.abs(middle.astype(int) - COLOURS).max() <= 5


def test_given_times_are_kept_from_zero(tmp_path):
    times = [Fraction(10) + Fraction(n, 12800) for n in (0, 512, 700, 5000, 12800)]
    path = write(tmp_path / "a.mp4", [numbered(i) for i in range(5)], times=times)
    for frame, time in zip(read(path), times, strict=True):
        assert abs(frame.time - (time - 10)) <= Fraction(1, 90000)
    assert abs(probe(path).duration - (1 + Fraction(1, 25))) < Fraction(1, 1000)
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time == 0


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(23), Fraction(60)])
def test_unusual_rates_are_exact(tmp_path, rate):
    path = write(tmp_path / "a.mp4", [numbered(i) for i in range(40)], WriteOptions(rate=rate))
    assert [f.time for f in read(path)] == [i / rate for i in range(40)]
    assert probe(path).rate == rate


def test_frames_of_another_size_or_time_are_refused(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", (W, H)) as writer:
        writer.write(numbered(0), Fraction(1))
        with pytest.raises(ValueError, match="expected uint8 frames"):
            writer.write(numbered(0, 64, 64))
        with pytest.raises(ValueError, match="must rise"):
            writer.write(numbered(1), Fraction(1))
    assert len(read(tmp_path / "a.mp4")) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("lossless", [False, True])
def test_sound_is_in_sync_and_cut_to_the_pictures(tmp_path, suffix, lossless):
    driving = encode_sound(tmp_path / "driving.mp4", 4, video_frames=100, click=1.5)
    options = WriteOptions(audio=driving, lossless=lossless)
    path = write(tmp_path / f"a{suffix}", [numbered(i) for i in range(50)], options)
    wave, rate = decode_sound(path)
    assert np.argmax(np.abs(wave) > 0.3) / rate == pytest.approx(1.5, abs=0.004)
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(2_000_000, abs=1000 if suffix != ".mkv" else 30_000)
    assert probe(path).has_audio


def test_sound_starts_where_asked_and_silence_follows(tmp_path):
    driving = encode_sound(tmp_path / "driving.mkv", 4, video_frames=100, click=3.5)
    path = write(tmp_path / "a.mp4", [numbered(i) for i in range(50)], WriteOptions(audio=driving, audio_start=2.8))
    wave, rate = decode_sound(path)
    assert np.argmax(np.abs(wave) > 0.3) / rate == pytest.approx(0.7, abs=0.004)
    assert len(wave) / rate == pytest.approx(2, abs=0.03)
    assert np.abs(wave[round(1.3 * rate) :]).max() < 0.01


def test_rounded_timestamps_do_not_make_the_sound_crackle(tmp_path):
    driving = encode_sound(tmp_path / "driving.mkv", 1, "pcm_s16le", video_frames=25)
    wave, rate = decode_sound(write(tmp_path / "a.mkv", [numbered(0)] * 20, WriteOptions(audio=driving, lossless=True)))
    assert np.abs(np.diff(wave / 2**31)).max() < 1.1 * 0.5 * 2 * np.pi * 440 / rate


def test_driving_without_sound_or_with_sound_only(tmp_path):
    write_image(tmp_path / "still.png", numbered(0))
    for silent in (encode(tmp_path / "silent.mp4", [numbered(0)]), tmp_path / "still.png", tmp_path):
        assert not probe(write(tmp_path / "a.mp4", [numbered(0)], WriteOptions(audio=silent))).has_audio
    music = encode_sound(tmp_path / "music.wav", 1, "pcm_s16le", click=0.4)
    wave, rate = decode_sound(write(tmp_path / "b.mp4", [numbered(0)] * 25, WriteOptions(audio=music)))
    assert np.argmax(np.abs(wave) > 0.3) / rate == pytest.approx(0.4, abs=0.004)


# ---------------------------------------------------------------- label and mark


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.png", "a.jpg"])
@pytest.mark.parametrize("label", [True, False])
def test_label(tmp_path, name, label):
    path = tmp_path / name
    details = {"seed": "7", "über": "ä"}
    if path.suffix in {".png", ".jpg"}:
        write_image(path, COLOUR_BARS, label, details)
    else:
        write(path, [COLOUR_BARS], WriteOptions(label=label, details=details))
    facts = read_label(path)
    assert facts["seed"] == "7"
    assert facts["über"] == "ä"
    assert ("artificial intelligence" in facts.get("generated", "")) == label
    assert facts.get("software", "").startswith("PersonaLive") == label
    if path.suffix not in {".png", ".jpg"}:
        with av.open(str(path)) as container:
            shown = {key.lower(): value for key, value in container.metadata.items()}
        assert ("artificial intelligence" in shown["comment"]) == label


def test_no_label_of_ours(tmp_path):
    assert read_label(encode(tmp_path / "a.mp4", [numbered(0)])) == {}
    write_image(tmp_path / "a.png", COLOUR_BARS, label=False)
    assert read_label(tmp_path / "a.png") == {}
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOUR_BARS)


def test_mark_is_small_and_in_the_corner(tmp_path):
    plain = np.full((240, 320, 3), 100, np.uint8)
    (frame,) = read(write(tmp_path / "a.mkv", [plain], WriteOptions(mark=True, lossless=True)))
    changed = (frame.image != plain).any(-1)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 200
    assert columns.min() > 270
    assert frame.image.max() > 240
    assert (plain == 100).all()


# ---------------------------------------------------------------- when it goes wrong


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_video_plays(tmp_path, suffix, error):
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"older result")
    driving = encode_sound(tmp_path / "driving.mp4", 4, video_frames=2)
    writer = VideoWriter(target, (W, H), WriteOptions(audio=driving))
    with pytest.raises(error):
        give_up_after(writer, [numbered(i) for i in range(37)], error)
    assert writer.frames == 37
    assert target.read_bytes() == b"older result"
    frames = read(tmp_path / f"a.partial{suffix}")
    assert [number(f.image) for f in frames] == list(range(37))
    assert probe(writer.partial).has_audio
    assert read_label(writer.partial)["software"].startswith("PersonaLive")


def test_file_plays_while_it_grows(tmp_path):
    driving = encode_sound(tmp_path / "driving.mp4", 1, video_frames=2)
    with VideoWriter(tmp_path / "a.mp4", (W, H), WriteOptions(audio=driving)) as writer:
        for image in moving(150):
            writer.write(image)
        assert len(read(writer.partial)) > 75
        assert probe(writer.partial).has_audio


def test_nothing_is_left_when_no_frame_came(tmp_path):
    with pytest.raises(OutputError, match="no frame was made"), VideoWriter(tmp_path / "a.mp4", (W, H)):
        pass
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", (W, H)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_full_disk_keeps_a_playable_part(tmp_path, suffix):
    resource = pytest.importorskip("resource", reason="the limit that stands in for a full disk is POSIX's")
    target = tmp_path / f"a{suffix}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OutputError) as error:
            write(target, moving(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    partial = tmp_path / f"a.partial{suffix}"
    kept = len(read(partial))
    assert kept > 10
    assert "the disk is full" in str(error.value)
    assert f"its first {kept} frames are in {partial}" in str(error.value)
    assert not target.exists()


def test_full_disk_before_anything_could_be_kept(tmp_path):
    resource = pytest.importorskip("resource", reason="the limit that stands in for a full disk is POSIX's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written, as the disk is full"):
            write(tmp_path / "a.mp4", moving(3))
        with pytest.raises(OutputError, match="free space"):
            write_image(tmp_path / "a.png", moving(1)[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_second_copy_keeps_the_fragmented_file(tmp_path, monkeypatch, caplog):
    path = tmp_path / "a.mp4"

    with VideoWriter(path, (W, H)) as writer:
        for index in range(30):
            writer.write(numbered(index))
        count = video_write._count_frames
        monkeypatch.setattr(video_write, "_count_frames", lambda file: count(file) - (".whole" in file.name))
    assert b"moof" in path.read_bytes()
    assert len(read(path)) == 30
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert "stays a fragmented file" in caplog.text


def test_output_folder(tmp_path):
    write(tmp_path / "new" / "a.mp4", [numbered(0)])
    assert (tmp_path / "new" / "a.mp4").exists()
    with pytest.raises(OutputError, match="does not exist: create that folder"):
        VideoWriter(tmp_path / "no" / "such" / "a.mp4", (W, H))
    with pytest.raises(OutputError, match="must end with .mp4 or .mov or .mkv or .webm, but ends with '.avi'"):
        VideoWriter(tmp_path / "a.avi", (W, H))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", (W, H))
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "new" / "a.mp4" / "b.mp4", (W, H))


def test_read_only_folder():
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions of folders are tested on POSIX systems")
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)  # nothing is read-only for root
        try:
            with pytest.raises(OutputError, match="choose a folder that you may write to"):
                VideoWriter(folder / "a.mp4", (W, H))
            with pytest.raises(OutputError, match="choose a folder that you may write to"):
                write_image(folder / "a.png", COLOUR_BARS)
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_pictures_are_replaced_whole(tmp_path):
    write_image(tmp_path / "a.png", COLOUR_BARS)
    write_image(tmp_path / "a.png", COLOUR_BARS[::-1])
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOUR_BARS[::-1])
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
