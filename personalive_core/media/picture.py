"""Reads still pictures and animations as RGB arrays, and writes labelled pictures, with Pillow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from ..errors import InputError
from .files import whole_file
from .label import SOFTWARE, label_text, make_label, parse_label

Picture = NDArray[np.uint8]  # [H, W, 3] RGB

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MIN_SIDE = 32  # pixels; a smaller face has too little detail to animate
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow's names; others start external programs
_ANIMATED = ("GIF", "WEBP", "PNG")  # a JPEG of several pictures (from phones) is not an animation
_SHORTEST = Fraction(1, 50)  # seconds; browsers show a frame with a shorter duration for _UNTIMED
_UNTIMED = Fraction(1, 10)
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
    """Opens the file at `path` without decoding it; None if its content is not a picture, whatever its suffix."""
    try:
        return Image.open(path, formats=_FORMATS)
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


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Any Pillow picture -> [H, W, 3] uint8: upright (EXIF), alpha over black, 16-bit grey scaled to 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # Pillow's own conversion would clip at 255
        grey = np.clip(np.rint(np.asarray(image) / 257), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.has_transparency_data:
        return over_black(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


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
            array = to_rgb(image)
        except _DAMAGED as error:
            raise InputError(f"{path} is a damaged picture ({error}): copy or export it again.") from error
    check_side(path, array.shape[1], array.shape[0])
    return array


def read_animation(path: Path) -> Iterator[tuple[NDArray[np.uint8], Fraction]]:
    """Yields each frame of an animated GIF, WebP or PNG as [H, W, 3] RGB, with its duration in seconds.

    Raises:
        InputError: the first frame is damaged. At a later damaged frame, it logs a warning and ends.
    """
    with Image.open(path, formats=_FORMATS) as image:
        frames = getattr(image, "n_frames", 1)
        for index in range(frames):
            try:
                image.seek(index)
                array = to_rgb(image)
            except _DAMAGED as error:
                if index == 0:
                    raise InputError(f"{path} is a damaged animation ({error}): export it again.") from error
                _log.warning("%s is damaged: only the first %d of %d frames were read.", path, index, frames)
                return
            # In milliseconds; Pillow knows it only after the frame is decoded.
            seconds = Fraction(image.info.get("duration", 0)).limit_denominator(1000) / 1000
            yield array, seconds if seconds >= _SHORTEST else _UNTIMED


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
    with Image.open(path, formats=_FORMATS) as image:
        text = image.info.get("Description") or image.getexif().get(ExifTags.Base.ImageDescription)
    return parse_label(text) if isinstance(text, str) else {}
