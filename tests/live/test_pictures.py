"""Pictures on the wire: what their headers say, what is refused before decoding, and which library does the work."""

import io
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import InputError
from personalive_core.live import pictures
from personalive_core.live.pictures import decode_frame, decode_reference, encode_jpeg, picture_header, small
from tests.live.serving import encoded, grey


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(32, 48), (640, 480), (333, 77)])
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": Image.Exif().tobytes() + bytes(5000)}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"icc_profile": bytes(100)}),
    ],
)
def test_a_header_tells_format_and_size(size, form, options):
    width, height = size
    assert picture_header(encoded(noise(height, width), form, **options)) == (form, width, height)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_header_that_is_cut_anywhere_is_refused_in_words(form):
    whole = encoded(grey(9), form)
    for length in range(20):
        with pytest.raises(InputError, match="send one of these, whole"):
            picture_header(whole[:length])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("decode", [decode_frame, decode_reference])
def test_a_picture_comes_back(form, decode):
    picture = np.repeat(np.repeat(noise(8, 12), 16, 0), 16, 1)
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    read = decode(encoded(picture, form, **options))
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - picture).max() <= (0 if form != "JPEG" else 12)


@pytest.mark.parametrize("library", ["simplejpeg", "Pillow"])
def test_a_jpeg_there_and_back(library, monkeypatch):
    if library == "Pillow":
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg", reason="needs simplejpeg: pip install simplejpeg")
    picture = np.repeat(np.repeat(noise(8, 12), 16, 0), 16, 1)
    read = decode_frame(encode_jpeg(picture[:, ::-1][:, ::-1], 95))
    assert np.abs(read.astype(int) - picture).mean() < 12


def test_simplejpeg_is_used_where_it_is_and_pillow_for_what_it_cannot_read(monkeypatch):
    calls = []

    def encode(picture, quality, colorspace, colorsubsampling):
        calls.append((picture.flags.c_contiguous, quality, colorspace, colorsubsampling))
        return b"jpeg"

    def decode(data, colorspace):
        calls.append(colorspace)
        if b"CMYK" in data:
            raise ValueError("CMYK")
        return grey(1)

    monkeypatch.setitem(sys.modules, "simplejpeg", SimpleNamespace(encode_jpeg=encode, decode_jpeg=decode))
    assert encode_jpeg(grey(5)[:, ::2]) == b"jpeg"
    assert calls == [(True, 85, "RGB", "420")]
    assert decode_frame(encoded(grey(5))).mean() == 1
    file = io.BytesIO()
    Image.new("CMYK", (64, 64), (0, 0, 0, 255)).save(file, "JPEG", comment=b"CMYK")
    assert decode_frame(file.getvalue()).mean() <= 2


def test_a_reference_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert decode_reference(encoded(noise(40, 80), exif=exif)).shape == (80, 40, 3)


def test_a_jpeg_of_many_scans_is_refused():
    """Each scan is a few bytes, and takes as long as the whole picture."""
    whole = encoded(grey(9), progressive=True)
    with pytest.raises(InputError, match="at most 64 scans"):
        decode_frame(whole[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 100 + b"\xff\xd9")


def test_a_jpeg_of_many_segments_is_given_up():
    with pytest.raises(InputError, match="its header is damaged"):
        picture_header(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2_000_000)


def test_a_second_size_is_refused_before_it_is_decoded(monkeypatch):
    """The size that was looked at is the one that is decoded."""
    opened = nullcontext(SimpleNamespace(size=(4000, 4000)))  # it has no way to be decoded
    monkeypatch.setattr(pictures.Image, "open", lambda *_, **__: opened)
    with pytest.raises(InputError, match="damaged or cut off"):
        decode_frame(encoded(grey(9), "PNG"))


def test_webp_is_refused_before_pillow_makes_room_for_it(monkeypatch):
    monkeypatch.setattr(pictures.Image, "open", None)
    huge = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\x00" * 2 + bytes(100)
    with pytest.raises(InputError, match="16384x16384"):
        decode_reference(huge)


def test_small_keeps_the_shape():
    assert small(noise(480, 640)).shape == (240, 320, 3)
    assert small(noise(2048, 32), 320).shape == (320, 5, 3)
    assert small(noise(100, 90)).shape == (100, 90, 3)
