"""Colour profiles: pictures and wide-gamut film to sRGB, with littleCMS through Pillow."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Matrix = NDArray[np.float64]
Chromaticity = tuple[float, float]  # CIE 1931 x, y

_D65, _DCI = (0.3127, 0.3290), (0.314, 0.351)
_D50 = (0.9642, 1.0, 0.8249)  # XYZ of the ICC's connection space
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
# Code point of the primaries (ITU-T H.273) -> red, green, blue and white of wide gamuts.
GAMUTS: dict[int, tuple[tuple[Chromaticity, Chromaticity, Chromaticity], Chromaticity]] = {
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), _D65),  # BT.2020
    11: (_P3, _DCI),
    12: (_P3, _D65),  # Display P3
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1, as an ICC parametric curve
_MODES = ("L", "RGB", "RGBA", "CMYK", "LAB")  # Pillow modes that littleCMS reads
_CHANNELS = {"GRAY": ("L",), "RGB ": ("RGB", "RGBA"), "CMYK": ("CMYK",), "Lab ": ("LAB",)}  # by the profile's space


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """`image` with its ICC `profile` applied, as sRGB; RGBA keeps its alpha.

    The rendering intent is the profile's own, as in browsers.

    Raises:
        ValueError: the profile is damaged, or for another kind of picture.
    """
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = opened.profile.xcolor_space
        if image.mode not in _CHANNELS.get(space, ()):
            raise ValueError(f"it is for {space.strip()} pictures")
        intent = ImageCms.Intent(opened.profile.rendering_intent)
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        made = ImageCms.profileToProfile(image, opened, ImageCms.createProfile("sRGB"), intent, mode)
    except (ImageCms.PyCMSError, OSError, TypeError) as error:
        raise ValueError(str(error)) from error
    if made is None:  # only with inPlace
        raise ValueError("it gives no picture")
    return made


@lru_cache(maxsize=8)
def to_srgb(primaries: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """The map of RGB [H, W, 3] with wide `primaries`, one of GAMUTS, to sRGB; the transfer curve stays as it is."""
    source = ImageCms.ImageCmsProfile(BytesIO(_matrix_profile(*GAMUTS[primaries])))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent(1))

    def mapped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(ImageCms.applyTransform(Image.fromarray(image), transform))

    return mapped


def _matrix_profile(colours: tuple[Chromaticity, Chromaticity, Chromaticity], white: Chromaticity) -> bytes:
    """An ICC profile (version 4.3) of an RGB space with sRGB's curve."""
    columns = np.array([_xyz(colour) for colour in colours]).T
    columns = columns * np.linalg.solve(columns, _xyz(white))
    to_d50 = np.linalg.solve(_BRADFORD, np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _xyz(white))) @ _BRADFORD)
    curve = b"para" + struct.pack(">4x2H", 3, 0) + b"".join(_fixed(value) for value in _SRGB_CURVE)
    tags = {b"wtpt": _xyz_tag(np.array(_D50))}
    for name, column in zip((b"r", b"g", b"b"), (to_d50 @ columns).T, strict=True):
        tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz_tag(column), curve
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">2I", start + len(data), len(content))
        data += content
    head = struct.pack(">I4xI", start + len(data), 0x04300000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return (head + b"".join(_fixed(value) for value in _D50)).ljust(128, b"\0") + table + data


def _xyz(point: Chromaticity) -> Matrix:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz_tag(values: Matrix) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * (1 << 16)))  # s15Fixed16
