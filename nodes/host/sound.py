"""AUDIO of a file's sound, which is decoded only when a node asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...personalive_core.errors import InputError
from ...personalive_core.media.audio import has_audio, read_sound
from .folders import as_sound
from .sockets import Footage

KEYS = ("waveform", "sample_rate")


class FileAudio(Mapping[str, Any]):
    """AUDIO, a mapping as nodes expect it: waveform [1, C, T] float32, sample_rate in Hz.

    An hour of sound takes 1.4 GB, so nothing is decoded unless the output is used.
    """

    def __init__(self, footage: Footage, seconds: Fraction) -> None:
        """The first `seconds` of the sound of `footage`, from where the motion begins."""
        self.footage, self.seconds = footage, seconds

    @cached_property
    def _parts(self) -> dict[str, Any]:
        samples, rate = read_sound(self.footage.path, self.footage.start, self.seconds)
        return dict(zip(KEYS, (torch.from_numpy(samples)[None], rate), strict=True))

    def __getitem__(self, key: str) -> Any:
        if key not in KEYS:
            raise KeyError(key)
        return self._parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(KEYS)

    def __len__(self) -> int:
        return len(KEYS)

    def __repr__(self) -> str:
        return f"{float(self.seconds):g} s of sound from {self.footage.path.name}"


def sound_of(footage: Footage | None, seconds: Fraction) -> FileAudio | None:
    """The sound beside a motion of `seconds`; None without any, which ComfyUI's Create Video takes for silence.

    Sound that cannot be decoded is an error only where it is used.
    """
    try:
        return FileAudio(footage, seconds) if footage and has_audio(footage.path) else None
    except InputError:
        return FileAudio(footage, seconds) if footage else None


def sound_source(footage: Footage | None, sound: Mapping[str, Any] | None) -> tuple[Path | None, Fraction]:
    """The file of a film's sound, and the second in it that belongs to the first frame: `sound`, else `footage`."""
    if isinstance(sound, FileAudio):
        footage = sound.footage
    elif sound is not None:
        return as_sound(sound), Fraction(0)
    return (footage.path, footage.start) if footage else (None, Fraction(0))


def audible(footage: Footage | None, other: Footage | None) -> Footage | None:
    """The first of both that has sound; without any, `footage`. Sound that cannot be decoded counts as sound."""
    return footage if other is None or sound_of(footage, Fraction(0)) or not sound_of(other, Fraction(0)) else other
