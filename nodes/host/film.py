"""How films are written in ComfyUI: the choices of the format widget, and the prompt and workflow that they carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy.cli_args import args

from ...personalive_core.errors import InputError, remedy_first
from ...personalive_core.media.decode import open_media
from ...personalive_core.media.encode import codec_for
from .folders import refused_prefix


@dataclass(frozen=True)
class Format:
    """A choice of the format widget."""

    suffix: str
    codec: str | None = None  # a name of the core's CODECS; None: the usual one for the suffix


FORMATS: Mapping[str, Format] = {
    "mp4": Format(".mp4"),
    "mkv": Format(".mkv"),
    "webm": Format(".webm"),
    "mov": Format(".mov", "prores"),
}


def chosen_format(name: str, lossless: bool, crf: int) -> Format:
    """The format called `name`. Raises InputError for an unknown one, or one that has no such quality; crf 0: usual."""
    if name not in FORMATS:
        *others, last = FORMATS
        raise InputError(f"unknown format {name!r}: choose {', '.join(others)} or {last}")
    chosen = FORMATS[name]
    codec_for(chosen.suffix, chosen.codec, lossless, crf or None)
    return chosen


def refused_film(prefix: str | None, name: str | None, lossless: bool | None, crf: int | None) -> bool | str:
    """Why a film cannot be written, for `validate_inputs`; True if it can. None: a value is not known yet."""
    try:
        if name is not None and lossless is not None and crf is not None:
            chosen_format(name, lossless, crf)
    except InputError as error:
        return remedy_first(str(error))
    return refused_prefix(prefix)


def same_format(path: Path | None) -> Format:
    """The format of the film at `path`, if such files are written, else mp4: None, avi and others."""
    if path is None or path.suffix.lower() not in {form.suffix for form in FORMATS.values()}:
        return FORMATS["mp4"]
    with open_media(path) as container:
        codec = container.streams.video[0].codec_context.name if container.streams.video else ""
    return Format(path.suffix.lower(), "prores" if codec == "prores" else None)


def workflow_tags(hidden: Any) -> dict[str, str]:
    """The metadata by which ComfyUI's page opens a film's workflow, as core's Save Video writes it.

    `hidden` is an output node's `cls.hidden`. Nothing if ComfyUI was started with --disable-metadata.
    """
    if args.disable_metadata:
        return {}
    prompt = {  # without what the executor notes in it, which may be no JSON
        node: {key: value for key, value in entry.items() if key != "is_changed"}
        for node, entry in (hidden.prompt or {}).items()
    }
    found = {**(hidden.extra_pnginfo or {}), **({"prompt": prompt} if prompt else {})}
    return {key: json.dumps(value, default=str) for key, value in found.items()}
