"""StreamingSamplerVideo: makes the animation and writes each frame to a video file at once, for any length."""

from __future__ import annotations

import logging

from comfy_api.v0_0_2 import InputImpl, io

from ..personalive_core.errors import InputError
from ..personalive_core.media.write import VideoWriter, WriteOptions
from .host.errors import readable
from .host.folders import new_output
from .host.panel import SamplerPanel, compare_ui, for_page
from .host.schema import schema
from .host.sockets import Bank, LoadedModel, Motion, PreparedReference
from .host.streaming import Keyframes, SamplerRun, bank_outputs, check, run_stream, sampler_inputs, told

FORMATS = ("mp4", "mkv")

_log = logging.getLogger(__name__)


class StreamingSamplerVideo(io.ComfyNode):
    """Animates the reference with the motion and writes the frames to a video file as they are made."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveStreamingSamplerVideo",
            display_name="Streaming Sampler (Video, PersonaLive)",
            description="Animates the reference with the motion and writes a video into the output folder as it goes, "
            "with the driving's sound: for any length. Cancel keeps what is there.",
            inputs=[*sampler_inputs(), *file_inputs("video/PersonaLive")],
            outputs=[io.Video.Output("video", display_name="video", tooltip="The written video."), *bank_outputs()],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedModel,
        reference: PreparedReference,
        motion: Motion,
        seed: int,
        steps: int,
        preview_every: int,
        filename_prefix: str,
        format: str,  # noqa: A002 - the widget's name
        lossless: bool,
        audio: bool,
        bank: Bank | None = None,
    ) -> io.NodeOutput:
        task = check((model, reference, motion, bank), seed, steps)
        panel = SamplerPanel(str(cls.hidden.unique_id), len(motion), preview_every, task.bank.threshold)
        writer = open_writer(task, filename_prefix, format, lossless, audio)
        keyframes = write_frames(task, panel, writer)
        video = InputImpl.VideoFromFile(str(writer.path))
        shown = {**for_page("personalive_run", panel.end()), **compare_ui(writer, motion.footage)}
        return io.NodeOutput(video, *told(task, keyframes), ui=shown)


def file_inputs(prefix: str) -> list[io.Input]:
    """The widgets that say how the video is written."""
    return [
        io.String.Input("filename_prefix", default=prefix, tooltip="Folder and beginning of the video's name."),
        io.Combo.Input("format", options=list(FORMATS), default="mp4", tooltip="mp4 plays everywhere."),
        io.Boolean.Input(
            "lossless", default=False, tooltip="Keep every pixel as it is, for further work; few players show it."
        ),
        io.Boolean.Input("audio", default=True, tooltip="Keep the sound of the driving video."),
    ]


def open_writer(task: SamplerRun, prefix: str, container: str, lossless: bool, audio: bool) -> VideoWriter:
    """Opens a new video file in the output folder.

    Raises InputError for an unknown container, a prefix outside the output folder or unreadable sound, OutputError if
    the file cannot be written.
    """
    if container not in FORMATS:
        raise InputError(f"unknown format {container!r}: choose {' or '.join(FORMATS)}")
    footage, size = task.motion.footage, (task.size, task.size)
    options = WriteOptions(
        rate=task.motion.rate,
        audio=footage.path if audio and footage else None,
        audio_start=footage.start if footage else 0,
        lossless=lossless,
        details={"seed": str(task.seed), "steps": str(task.steps)},
    )
    return VideoWriter(new_output(prefix, f".{container}", size), size, options)


def write_frames(task: SamplerRun, panel: SamplerPanel, writer: VideoWriter) -> Keyframes:
    """Writes every frame as soon as it is made; returns the keyframes.

    If the run ends early, the partial file stays and can be played.
    """
    keyframes = Keyframes((), ())
    try:
        with writer:
            for emitted, keyframes in run_stream(task, panel):  # noqa: B007 - the last is given back
                for index, picture in enumerate(emitted.pictures, emitted.first):
                    writer.write(picture, task.motion.time(index), task.motion.duration(index))
    except BaseException:
        if writer.frames:
            _log.warning("The run ended early; its %d frames are in %s", writer.frames, writer.partial)
        panel.stop(writer.partial, writer.frames, task.motion.footage)
        raise
    return keyframes
