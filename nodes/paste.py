"""PasteBack: pastes the animated square back into the full picture it was cut from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import comfy.utils
import torch
from comfy_api.v0_0_2 import InputImpl, io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..personalive_core.faces.paste import PasteBack as Paste
from ..personalive_core.faces.paste import PasteOptions, prepare_paste
from ..personalive_core.media.ahead import ENCODED_BEHIND, Behind
from ..personalive_core.media.write import VideoWriter, WriteOptions
from .host.errors import readable
from .host.film import same_format, workflow_tags
from .host.folders import new_output, refused_prefix
from .host.footage import DrivingFrames, open_frames
from .host.memory import check_fits, check_interrupt, free_ram
from .host.panel import compare_ui
from .host.schema import schema
from .host.sockets import PreparedReference, ReferenceSocket, to_image, to_picture

DEFAULT = PasteOptions()


class PasteBack(io.ComfyNode):
    """Pastes animated squares, images or a video, into the full picture of the reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLivePasteBack",
            display_name="Paste Back (PersonaLive)",
            description="Puts the animated square back into the full picture it was cut from, with soft borders and "
            "matched colours. Images give images; a video gives a video of any length, with its sound.",
            inputs=[
                io.MultiType.Input("animated", types=[io.Video, io.Image], tooltip="What a streaming sampler made."),
                ReferenceSocket.Input(
                    "reference", tooltip="The reference it was made from: it holds the full picture."
                ),
                io.Float.Input(
                    "feather",
                    default=DEFAULT.feather,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft border, as a part of the square's side.",
                ),
                io.Boolean.Input(
                    "match_colour",
                    default=DEFAULT.match_colour,
                    tooltip="Shift the square's colours to meet the picture's at the border.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/PersonaLive_full",
                    tooltip="For a video: folder and beginning of its name.",
                ),
            ],
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="The full pictures, when images came in."),
                io.Video.Output("video", display_name="video", tooltip="The full video, when a video came in."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Refuses a prefix that names no file in the output folder before the workflow runs."""
        return refused_prefix(filename_prefix)

    @classmethod
    @readable
    def execute(
        cls,
        animated: Any,
        reference: PreparedReference,
        feather: float,
        match_colour: bool,
        filename_prefix: str,
    ) -> io.NodeOutput:
        size = len(reference.portrait)
        paste = prepare_paste(reference.whole, reference.crop, size, PasteOptions(feather, match_colour))
        height, width = reference.whole.shape[:2]
        if isinstance(animated, torch.Tensor):
            check_fits(len(animated), (width, height), free_ram(), "the video of Streaming Sampler (Video)")
            frames = paste_images(paste, animated)
            blocked = ExecutionBlocker("Use the frames output of Paste Back: images came in, not a video.")
            return io.NodeOutput(frames, blocked, ui=ui.PreviewImage(frames[:1], cls=cls))
        source = open_frames(animated, 0, 0, 0)
        writer = open_paste(source, filename_prefix, (width, height), workflow_tags(cls.hidden))
        paste_video(paste, source, writer)
        blocked = ExecutionBlocker("Use the video output of Paste Back: a video came in, not images.")
        return io.NodeOutput(blocked, InputImpl.VideoFromFile(str(writer.path)), ui=compare_ui(writer, None))


def open_paste(source: DrivingFrames, prefix: str, size: tuple[int, int], tags: Mapping[str, str]) -> VideoWriter:
    """Opens a new video file of `size` (width, height) in the output folder, in the format and with the sound of
    `source`.

    Raises InputError for a prefix outside the output folder or unreadable sound, OutputError if the file cannot be
    written.
    """
    footage = source.footage
    form = same_format(footage.path if footage and footage.pictures else None)
    options = WriteOptions(
        source.rate,
        footage.path if footage else None,
        footage.start if footage else 0,
        codec=form.codec,
        tags=tags,
    )
    return VideoWriter(new_output(prefix, form.suffix, size), size, options)


def paste_images(paste: Paste, images: torch.Tensor) -> torch.Tensor:
    """Pastes an IMAGE [F, S, S, 3] -> IMAGE [F, H, W, 3] in [0, 1].

    Raises ComfyUI's InterruptProcessingException if the user pressed Cancel.
    """
    bar = comfy.utils.ProgressBar(len(images))
    frames = torch.empty((len(images), *paste.original.shape))
    for index, image in enumerate(images):
        check_interrupt()
        frames[index] = to_image([paste(to_picture(image))])[0]
        bar.update_absolute(index + 1)
    return frames


def paste_video(paste: Paste, source: DrivingFrames, writer: VideoWriter) -> None:
    """Pastes frame by frame and writes each at its time in the source file.

    Raises ComfyUI's InterruptProcessingException if the user pressed Cancel.
    """
    bar = comfy.utils.ProgressBar(source.total)
    with writer, Behind(writer.write, ENCODED_BEHIND) as write:
        for index, frame in enumerate(chain([source.first], source.frames), 1):
            check_interrupt()
            write(paste(frame.image), frame.time, frame.duration)
            bar.update_absolute(index, max(source.total, index))
