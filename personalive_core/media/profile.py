"""Colour profiles: pictures and wide-gamut film to sRGB, with littleCMS through Pillow."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

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
_SRGB: tuple[Chromaticity, ...] = (_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # white, red, green, blue
_SRGB_GAMMA = 1 / 2.2  # what a PNG's gAMA chunk says of sRGB
_GAMMAS = (0.1, 10)  # others are mistakes
_CLOSE = 0.01
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


def png_profile(info: Mapping[Any, Any]) -> bytes | None:
    """The profile that a PNG's gAMA and cHRM chunks mean, as Pillow reports them; None if they mean sRGB, or nothing.

    Source: PNG specification, sections 11.3.2.1, 11.3.2.2 and 4.3 (an sRGB chunk counts before them).
    """
    gamma = info.get("gamma")
    if gamma is None or not _GAMMAS[0] < gamma < _GAMMAS[1] or "srgb" in info:
        return None
    points = tuple(info.get("chromaticity", ()))
    places = tuple(zip(points[::2], points[1::2], strict=False)) if len(points) == len(_SRGB) * 2 else _SRGB
    distance = float(np.abs(np.array(places) - _SRGB).max())
    is_srgb = abs(gamma - _SRGB_GAMMA) < _CLOSE and distance < _CLOSE
    if is_srgb or any(y <= 0 for _, y in places):
        return None
    white, *colours = places
    return matrix_profile((colours[0], colours[1], colours[2]), white, 1 / gamma)


@lru_cache(maxsize=8)
def to_srgb(primaries: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """The map of RGB [H, W, 3] with wide `primaries`, one of GAMUTS, to sRGB; the transfer curve stays as it is."""
    source = ImageCms.ImageCmsProfile(BytesIO(matrix_profile(*GAMUTS[primaries])))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent(1))

    def mapped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(ImageCms.applyTransform(Image.fromarray(image), transform))

    return mapped


def matrix_profile(
    colours: tuple[Chromaticity, Chromaticity, Chromaticity], white: Chromaticity, gamma: float | None = None
) -> bytes:
    """An ICC profile (version 4.3) of the RGB space with these primaries; the curve is sRGB's, or a power `gamma`."""
    columns = np.array([_xyz(colour) for colour in colours]).T
    columns = columns * np.linalg.solve(columns, _xyz(white))
    to_d50 = np.linalg.solve(_BRADFORD, np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _xyz(white))) @ _BRADFORD)
    kind, values = (0, (gamma,)) if gamma else (3, _SRGB_CURVE)
    curve = b"para" + struct.pack(">4x2H", kind, 0) + b"".join(_fixed(value) for value in values)
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
