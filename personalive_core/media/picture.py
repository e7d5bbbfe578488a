"""Reads still pictures and animations as RGB arrays, and writes labelled pictures, with Pillow."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from ..errors import InputError
from ..text import warn_once
from .files import whole_file
from .heif import HEIF_SUFFIXES, has_avif, heif_kind, open_heic, refuse_avif
from .label import SOFTWARE, label_text, make_label, parse_label
from .profile import in_srgb, png_profile

Picture = NDArray[np.uint8]  # [H, W, 3] RGB

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", *HEIF_SUFFIXES)
MIN_SIDE = 32  # pixels; a smaller face has too little detail to animate
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow's names; others start external programs
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # a JPEG of several pictures (from phones) is not an animation
_TOO_SHORT = Fraction(1, 100)  # seconds; browsers show a frame of this duration or less for _UNTIMED
_UNTIMED = Fraction(1, 10)
_DEEP = 257  # 16-bit levels per 8-bit level
# Errors that Pillow raises for damaged files, depending on the format.
_DAMAGED = (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError)

_log = logging.getLogger(__name__)


def check_file(path: Path) -> None:
    """Raises InputError unless `path` is a readable file that is not empty."""
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check the path and its permissions.") from error
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes), not a video or a picture: copy or export it again.")


def check_side(path: Path, width: int, height: int) -> None:
    """Raises InputError if a side is too small to hold a usable face."""
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{path} is {width}x{height} pixels, but each side needs at least {MIN_SIDE}: use a larger picture."
        )


def open_picture(path: Path) -> Image.Image | None:
    """Opens the file at `path` without decoding it; None if its content is not a picture, whatever its suffix.

    Raises:
        InputError: it is a picture, but too large, or of a kind for which a package is missing.
    """
    kind = heif_kind(path)
    if kind == "HEIC":
        return open_heic(path)
    if kind == "AVIF" and not has_avif():
        raise refuse_avif(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # at half of the limit below
            return Image.open(path, formats=(*_FORMATS, "AVIF") if has_avif() else _FORMATS)
    except Image.DecompressionBombError as error:
        pixels, limit = (int(number) / 1e6 for number in re.findall(r"\d{6,}", str(error)))
        raise InputError(
            f"{path} is too large: {pixels:.0f} megapixels, at most {limit:.0f} are read: make it smaller"
        ) from error
    except _DAMAGED as error:
        _log.debug("%s is no picture: %s", path, error)
        return None


def is_animation(image: Image.Image) -> bool:
    """True if `image` holds frames that follow each other in time."""
    return image.format in _ANIMATED and getattr(image, "is_animated", False)


def over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 4] with straight alpha -> [H, W, 3] composed over black."""
    opacity = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * opacity + 127) // 255).astype(np.uint8)


def to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """The picture from `path` -> [H, W, 3] uint8 sRGB: upright (EXIF), alpha over black, deep levels scaled to 8 bits.

    An ICC profile is applied; one that cannot be used is left out with a warning.

    Raises:
        InputError: floating-point levels outside 0 to 1, or integers outside 0 to 65535.
    """
    image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile") or png_profile(image.info)
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow's own conversion would clip at 255
        image = Image.fromarray(_eight_bits(np.asarray(image), path))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "CMYK", "LAB"):
        image = image.convert("RGB")
    if profile:
        try:
            image = in_srgb(image, profile)
        except ValueError as error:
            warn_once(_log, f"The colour profile of {path} is left out ({error}): colours may differ.")
    if image.mode == "RGBA":
        return over_black(np.asarray(image))
    return np.array(image.convert("RGB"))


def _eight_bits(grey: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    """Grey levels [H, W] in 0 to 1 (floating point) or 0 to 65535 -> uint8."""
    white = 1 if np.issubdtype(grey.dtype, np.floating) else 255 * _DEEP
    low, high = grey.min(), grey.max()
    if not (low >= 0 and high <= white):  # NaN too
        raise InputError(
            f"{path} holds grey levels from {low:g} to {high:g}, but 0 to {white} are known: save it as an 8-bit PNG."
        )
    return np.rint(grey.astype(np.float64) * (255 / white)).astype(np.uint8)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The picture at `path` (the first frame of an animation) as [H, W, 3] RGB; see `to_rgb`.

    Raises:
        InputError: no such file, not a picture, damaged, or a side under MIN_SIDE pixels.
    """
    path = Path(path)
    check_file(path)
    image = open_picture(path)
    if image is None:
        raise InputError(f"{path} is not a picture that can be read: save it as PNG or JPEG.")
    with image:
        try:
            array = to_rgb(image, path)
        except _DAMAGED as error:
            raise InputError(f"{path} is a damaged picture ({error}): copy or export it again.") from error
    check_side(path, array.shape[1], array.shape[0])
    return array


def read_animation(path: Path) -> Iterator[tuple[NDArray[np.uint8], Fraction]]:
    """Yields each frame of an animated GIF, WebP, PNG or AVIF as [H, W, 3] RGB, with its duration in seconds.

    Raises:
        InputError: the first frame is damaged. At a later damaged frame, it logs a warning and ends.
    """
    opened = open_picture(path)
    if opened is None:
        raise InputError(f"{path} is not an animation that can be read: export it again.")
    with opened as image:
        frames = getattr(image, "n_frames", 1)
        first = 1 if image.info.get("default_image") else 0  # of a PNG: shown only where animations are unknown
        for index in range(first, frames):
            try:
                image.seek(index)
                array = to_rgb(image, path)
            except _DAMAGED as error:
                if index == first:
                    raise InputError(f"{path} is a damaged animation ({error}): export it again.") from error
                _log.warning("%s is damaged: only the first %d of %d frames were read.", path, index - first, frames)
                return
            # In milliseconds; Pillow knows it only after the frame is decoded.
            seconds = Fraction(image.info.get("duration", 0)).limit_denominator(1000) / 1000
            yield array, seconds if seconds > _TOO_SHORT else _UNTIMED


def write_image(
    path: str | Path, image: NDArray[np.uint8], label: bool = True, details: Mapping[str, str] | None = None
) -> None:
    """Writes [H, W, 3] RGB as PNG or JPEG, atomically; metadata as in `label.make_label`.

    Raises:
        OutputError: wrong suffix, or the file cannot be written.
    """
    path = Path(path)
    facts = make_label(label, details or {})
    with whole_file(path, (".png", ".jpg", ".jpeg")) as partial:
        if path.suffix.lower() == ".png":
            text = PngImagePlugin.PngInfo()
            for key, value in ({"Description": label_text(facts), "Software": SOFTWARE} if facts else {}).items():
                text.add_text(key, value)
            Image.fromarray(image).save(partial, pnginfo=text)
        else:
            exif = Image.Exif()
            if facts:
                exif[ExifTags.Base.ImageDescription] = label_text(facts)
                exif[ExifTags.Base.Software] = SOFTWARE
            Image.fromarray(image).save(partial, exif=exif, quality=95, subsampling=0)


def read_picture_label(path: Path) -> dict[str, str]:
    """The facts that `write_image` stored in the picture at `path`; empty if there are none."""
    image = open_picture(path)
    if image is None:
        return {}
    with image:
        text = image.info.get("Description") or image.getexif().get(ExifTags.Base.ImageDescription)
    return parse_label(text) if isinstance(text, str) else {}
