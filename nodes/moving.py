"""Writes a system's moving pictures: into a video file as they are made, or as one batch of images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from comfy_api.v0_0_2 import InputImpl, io

from ..personalive_core.media.ahead import ENCODED_BEHIND, Behind
from ..personalive_core.media.picture import Picture
from ..personalive_core.media.write import VideoWriter, WriteOptions
from .host.film import chosen_format
from .host.folders import new_output
from .host.memory import check_fits, free_ram
from .host.panel import compare_ui
from .host.sockets import Footage, Motion, to_image
from .host.sound import sound_source
from .sample_video import FilmFile

_log = logging.getLogger(__name__)


class Moving(Protocol):
    """What a film is made of, whatever the system."""

    @property
    def motion(self) -> Motion: ...
    @property
    def sound(self) -> Footage | None: ...
    def size(self, paste_back: bool) -> tuple[int, int]: ...


def open_moving_film(
    moving: Moving, paste_back: bool, file: FilmFile, tags: Mapping[str, str], details: Mapping[str, str] = {}
) -> VideoWriter:
    """Opens a new video file in the output folder, whose metadata say `details` too.

    Raises as the streaming sampler's `open_writer` does.
    """
    form, size = chosen_format(file.format, file.lossless, file.crf), moving.size(paste_back)
    audio, start = sound_source(moving.sound, file.sound)
    options = WriteOptions(
        rate=moving.motion.rate,
        audio=audio if file.audio else None,
        audio_start=start,
        lossless=file.lossless,
        details=dict(details),
        codec=form.codec,
        crf=file.crf or None,
        tags=tags,
    )
    return VideoWriter(new_output(file.prefix, form.suffix, size), size, options)


def written_film(writer: VideoWriter, pictures: Iterable[Picture], motion: Motion) -> io.NodeOutput:
    """Writes each picture as it is made, in a thread; what was made stays if the run ends early."""
    try:
        with writer, Behind(writer.write, ENCODED_BEHIND) as write:
            for index, picture in enumerate(pictures):
                write(picture, motion.time(index), motion.duration(index))
    except BaseException:
        if writer.frames:
            _log.warning("The run ended early; its %d frames are in %s", writer.frames, writer.partial)
        raise
    return io.NodeOutput(InputImpl.VideoFromFile(str(writer.path)), ui=compare_ui(writer, motion.footage))


def as_images(pictures: Iterable[Picture], count: int, size: tuple[int, int], instead: str) -> torch.Tensor:
    """`count` pictures of (width, height) as IMAGE. Raises InputError that says what to use `instead` without room."""
    width, height = size
    check_fits(count, size, free_ram(), instead)
    images = torch.empty(count, height, width, 3)
    for frame, picture in enumerate(pictures):
        images[frame] = to_image([picture])[0]
    return images
