"""Pictures on the wire: refused by their headers before anything is decoded, decoded, and encoded as JPEG."""

from __future__ import annotations

import importlib
import io
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import InputError
from ..media.picture import MIN_SIDE, Picture, to_rgb

MOST_FRAME_SIDE = 2048  # pixels of a driving frame
MOST_REFERENCE_SIDE = 16384  # pixels: more has no camera's picture
MOST_REFERENCE_PIXELS = 40_000_000
SMALL_SIDE = 320  # pixels of pictures that are shown beside the result
_JPEG_QUALITY = 85  # 20 to 40 kB for a portrait of 512 pixels a side
_MOST_SEGMENTS, _MOST_SCANS = 1000, 64  # of a JPEG: cameras write 20 and 1, progressive ones up to 20 scans
_SIZED = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # JPEG segments with the size
_BARE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length
_ENDS = {0xD9, 0xDA}  # the end, or the first scan
_MARK, _LOSSLESS = 0xFF, 0x2F  # first byte of a JPEG segment, of a lossless WebP
_SCAN = b"\xff\xda"
_DAMAGED = (OSError, EOFError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


class Header(NamedTuple):
    """What a picture says of itself."""

    format: str  # JPEG, PNG or WEBP
    width: int
    height: int


def picture_header(data: bytes) -> Header:
    """Format and size of a JPEG, PNG or WebP; nothing is decoded. Raises InputError for anything else."""
    try:
        found = _header(data)
    except (struct.error, IndexError):
        found = None
    if found is None:
        raise InputError("the picture is no JPEG, PNG or WebP, or its header is damaged: send one of these, whole")
    return found


def decode_frame(data: bytes) -> Picture:
    """A driving frame [H, W, 3]. Raises InputError: too large or too small, damaged, or no picture at all."""
    header = picture_header(data)
    if max(header.width, header.height) > MOST_FRAME_SIDE:
        raise InputError(
            f"a driving frame has at most {MOST_FRAME_SIDE} pixels a side, not {header.width}x{header.height}: make it "
            "smaller"
        )
    _check(data, header)
    fast = _simplejpeg()
    if fast is not None and header.format == "JPEG":
        try:
            decoded: Picture = fast.decode_jpeg(data, colorspace="RGB")
        except ValueError:  # of a kind that only Pillow reads, or damaged
            pass
        else:
            return decoded
    return _decoded(data, header, upright=False)


def decode_reference(data: bytes) -> Picture:
    """A reference picture [H, W, 3], upright and in sRGB. Raises InputError as `decode_frame`."""
    header = picture_header(data)
    sides, pixels = max(header.width, header.height), header.width * header.height
    if sides > MOST_REFERENCE_SIDE or pixels > MOST_REFERENCE_PIXELS:
        raise InputError(
            f"a reference picture has at most {MOST_REFERENCE_PIXELS // 10**6} megapixels and {MOST_REFERENCE_SIDE} "
            f"pixels a side, not {header.width}x{header.height}: make it smaller"
        )
    _check(data, header)
    return _decoded(data, header, upright=True)


def encode_jpeg(picture: Picture, quality: int = _JPEG_QUALITY) -> bytes:
    """[H, W, 3] uint8 RGB -> a JPEG, by simplejpeg if it is there (two thirds of the time), else by Pillow."""
    picture = np.ascontiguousarray(picture)
    fast = _simplejpeg()
    if fast is not None:
        encoded: bytes = fast.encode_jpeg(picture, quality=quality, colorspace="RGB", colorsubsampling="420")
        return encoded
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


def small(picture: Picture, side: int = SMALL_SIDE) -> Picture:
    """`picture` [H, W, 3] with at most `side` pixels on its longer side."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _simplejpeg() -> Any:  # noqa: ANN401 - an optional module without types
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def _check(data: bytes, header: Header) -> None:
    if min(header.width, header.height) < MIN_SIDE:
        raise InputError(
            f"a picture has at least {MIN_SIDE} pixels a side, not {header.width}x{header.height}: send a larger one"
        )
    if header.format == "JPEG" and data.count(_SCAN) > _MOST_SCANS:
        raise InputError(f"a JPEG has at most {_MOST_SCANS} scans here, as each costs time: save it as a plain JPEG")


def _decoded(data: bytes, header: Header, upright: bool) -> Picture:
    try:
        with Image.open(io.BytesIO(data), formats=[header.format]) as image:
            if image.size != (header.width, header.height):
                raise ValueError("it says two sizes")
            if upright:
                return to_rgb(image, Path("the picture"))
            return np.array(image.convert("RGB"))
    except _DAMAGED as error:
        raise InputError("the picture is damaged or cut off: send it again, whole") from error


def _header(data: bytes) -> Header | None:
    if data[:2] == b"\xff\xd8":
        return _jpeg_header(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        return Header("PNG", *struct.unpack_from(">II", data, 16))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    return None


def _jpeg_header(data: bytes) -> Header | None:
    """From the segment that begins a frame, which stands before the first scan."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        mark, kind = data[at], data[at + 1]
        if mark != _MARK or kind in _ENDS:
            return None
        if kind == _MARK:  # filling
            at += 1
        elif kind in _BARE:
            at += 2
        elif kind in _SIZED:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("JPEG", width, height)
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


def _webp_header(data: bytes) -> Header | None:
    """Read here, as Pillow makes room for the whole canvas when it opens one."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WEBP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L" and data[20] == _LOSSLESS:
        bits = struct.unpack_from("<I", data, 21)[0]
        return Header("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width, height = (int.from_bytes(bytes(struct.unpack_from("3B", data, at)), "little") + 1 for at in (24, 27))
        return Header("WEBP", width, height)
    return None
