"""HEIF pictures: tells HEIC and AVIF by their first bytes, and opens HEIC with pillow-heif or pi-heif, an extra."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from typing import Any

from PIL import Image, features

from ..errors import InputError

HEIF_SUFFIXES = (".heic", ".heif", ".avif")
_AVIF = (b"avif", b"avis")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", *_AVIF)
_MOST_BRANDS = 64  # compatible brands read; real files have fewer than ten
_PACKAGES = ("pillow_heif", "pi_heif")  # the same programming interface; the second only decodes


def heif_kind(path: Path) -> str | None:
    """ "AVIF" or "HEIC" if the file at `path` says so in its first box (ISO/IEC 23008-12); None for any other file."""
    with path.open("rb") as file:
        head = file.read(16 + 4 * _MOST_BRANDS)
    if head[4:8] != b"ftyp" or len(head) < 16:  # noqa: PLR2004 - size, type, brand, version
        return None
    end = min(struct.unpack(">I", head[:4])[0], len(head))
    major, brands = head[8:12], {head[i : i + 4] for i in range(16, end, 4)}
    if major not in _HEIF:
        return None
    return "AVIF" if {major, *brands} & {*_AVIF} else "HEIC"


def has_avif() -> bool:
    """Whether Pillow reads AVIF (11.3 or newer)."""
    return "avif" in features.get_supported_modules()


def open_heic(path: Path) -> Image.Image:
    """Opens a HEIC picture, a phone's grid of tiles too: whole and upright.

    Raises:
        InputError: no package that reads it is installed, or the file is damaged.
    """
    reader = _reader()
    if reader is None:
        raise InputError(
            f"{path} is a HEIC picture, which needs a package: pip install pi-heif, or save the picture as JPEG or PNG"
        )
    try:
        image: Image.Image = reader.open_heif(str(path), convert_hdr_to_8bit=True).to_pillow()
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError) as error:
        raise InputError(f"{path} is a damaged HEIC picture ({error}): copy or export it again.") from error
    return image


def refuse_avif(path: Path) -> InputError:
    """The error for an AVIF picture where Pillow is too old to read it."""
    return InputError(f"{path} is an AVIF picture, which needs Pillow 11.3 or newer: update it, or save it as PNG")


def _reader() -> Any:  # noqa: ANN401 - the packages carry no types
    for name in _PACKAGES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
