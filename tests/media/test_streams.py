"""Which stream of a film is shown, and how: default flags, display matrices, interlacing, alpha."""

import logging
import struct
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition

from personalive_core.media.decode import _decoder
from personalive_core.media.video import probe, read_frames
from tests.media.films import COLOUR_BARS, H, W, encode, number, numbered, read

CORNERS = np.zeros((H, W, 3), np.uint8)
CORNERS[: H // 2, : W // 2], CORNERS[: H // 2, W // 2 :] = (250, 0, 0), (0, 250, 0)
CORNERS[H // 2 :, : W // 2], CORNERS[H // 2 :, W // 2 :] = (0, 0, 250), (250, 250, 250)


def as_player(image, a, b, c, d):
    """ISO 14496-12: the point (x, y) is shown at (a x + c y, b x + d y), y downwards; then the corner moves to 0, 0."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    x, y = a * columns + c * rows, b * columns + d * rows
    x, y = x - x.min(), y - y.min()
    shown = np.empty((y.max() + 1, x.max() + 1, 3), np.uint8)
    shown[y, x] = image
    return shown


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1),
        (0, 1, -1, 0),
        (-1, 0, 0, -1),
        (0, -1, 1, 0),
        (-1, 0, 0, 1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, -1, -1, 0),
    ],
)
def test_all_eight_display_matrices(tmp_path, matrix):
    path = encode(tmp_path / "a.mp4", [CORNERS] * 2, options={"qp": "4"})
    content, (a, b, c, d) = path.read_bytes(), (value << 16 for value in matrix)
    at = content.index(b"tkhd") + 4 + 40  # where ISO 14496-12 puts the matrix of a version 0 header
    content = content[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[at + 36 :]
    path.write_bytes(content)
    shown, expected = read(path)[1].image, as_player(CORNERS, *matrix)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 4
    info = probe(path)
    assert (info.width, info.height) == expected.shape[1::-1]


def moving_bar(count, interlaced):
    """A bar that moves right; in interlaced film the lower field's lines are half a frame later."""
    pictures = []
    for index in range(count):
        picture, x = np.full((H, W, 3), 30, np.uint8), 8 + 4 * index
        picture[::2, x : x + 10] = 220
        later = x + 2 if interlaced else x
        picture[1::2, later : later + 10] = 220
        pictures.append(picture)
    return pictures


def combing(image):
    """How much each line differs from the one above."""
    return np.abs(np.diff(image[..., 0].astype(int), axis=0)).mean()


@pytest.mark.parametrize("times", [None, [0, 0.04, 0.2, 0.24, 0.3, 0.5, 0.54, 0.6, 1, 3]])
def test_interlaced_film_is_deinterlaced_frame_for_frame(tmp_path, caplog, times):
    path = encode(
        tmp_path / "a.mp4", moving_bar(10, True), options={"x264-params": "tff=1:bframes=0", "qp": "4"}, times=times
    )
    with av.open(str(path)) as container:
        raw = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames = read(path)
    assert combing(raw[5]) > 5
    assert max(combing(frame.image) for frame in frames) < 1
    assert [float(frame.time) for frame in frames] == pytest.approx(times or [i / 25 for i in range(10)])
    bar = [np.flatnonzero(frame.image[H // 2, :, 0] > 120).mean() for frame in frames]
    assert np.diff(bar) == pytest.approx(4, abs=1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is interlaced" in caplog.text
    assert len(list(read_frames(path, start=0.1))) == len(frames) - (3 if times is None else 2)


def test_progressive_film_is_left_alone(tmp_path, caplog):
    path = encode(tmp_path / "a.mp4", moving_bar(6, False), options={"qp": "0"})
    with av.open(str(path)) as container:
        raw = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert all(np.abs(f.image.astype(int) - r).max() <= 3 for f, r in zip(read(path), raw, strict=True))
    assert not caplog.records


def two_streams(path, defaults):
    """Two video streams in mkv, showing the numbers 1 and 2, marked as `defaults` says."""
    with av.open(str(path), "w") as out:
        made = []
        for default in defaults:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
            stream.disposition = Disposition.default.value if default else 0  # PyAV before 17 sets only an int
            made.append(stream)
        for index, stream in enumerate(made, 1):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index), "rgb24")))
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("defaults", "shown"), [((True, False), 1), ((False, True), 2), ((True, True), 1)])
def test_the_default_stream_is_shown(tmp_path, defaults, shown):
    assert number(read(two_streams(tmp_path / "a.mkv", defaults))[0].image) == shown


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_transparent_film_is_black_there(tmp_path, codec, suffix):
    image = np.dstack([COLOUR_BARS, np.full((H, W), 255, np.uint8)])
    image[:, : W // 2, 3] = 0
    shown = read(encode(tmp_path / f"a{suffix}", [image] * 3, codec, "yuva420p", options={"auto-alt-ref": "0"}))
    assert len(shown) == 3
    assert all(frame.image[:, : W // 2 - 4].max() < 12 for frame in shown)
    assert np.abs(shown[1].image[H // 2, W * 3 // 4].astype(int) - COLOUR_BARS[0, W * 3 // 4]).max() < 12


@pytest.mark.parametrize("tag", ["alpha_mode", "ALPHA_MODE"])
@pytest.mark.parametrize(("codec", "decoder"), [("vp8", "libvpx"), ("vp9", "libvpx-vp9"), ("h264", "h264")])
def test_alpha_is_known_by_its_tag(tag, codec, decoder):
    """Matroska files made by other programs write it in capitals."""
    stream = SimpleNamespace(metadata={tag: "1"}, codec_context=SimpleNamespace(name=codec, extradata=None))
    assert _decoder(stream).name == decoder
    stream.metadata[tag] = "0"
    assert _decoder(stream) is stream.codec_context
