"""StreamingSamplerVideo: makes the animation and writes each frame to a video file at once, for any length."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfy_api.v0_0_2 import InputImpl, io

from ..personalive_core.media.ahead import ENCODED_BEHIND, Behind
from ..personalive_core.media.write import VideoWriter, WriteOptions
from .host.errors import readable
from .host.film import FORMATS, chosen_format, refused_film, workflow_tags
from .host.folders import new_output
from .host.panel import SamplerPanel, compare_ui, for_page
from .host.schema import schema
from .host.sockets import Bank, LoadedModel, Motion, PreparedReference
from .host.sound import sound_source
from .host.streaming import Keyframes, SamplerRun, bank_outputs, check, run_stream, sampler_inputs, told

MOST_CRF = 63  # of VP9; H.264 has 51

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
            inputs=[*sampler_inputs(), *file_inputs("video/PersonaLive"), *later_inputs()],
            outputs=[io.Video.Output("video", display_name="video", tooltip="The written video."), *bank_outputs()],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        filename_prefix: str | None,
        format: str | None,  # noqa: A002 - the widget's name
        lossless: bool | None,
        crf: int | None = 0,
    ) -> bool | str:
        """Refuses a file that cannot be written before the workflow runs. None: a value is not known yet."""
        return refused_film(filename_prefix, format, lossless, crf)

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
        crf: int = 0,
        sound: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        task = check((model, reference, motion, bank), seed, steps)
        panel = SamplerPanel(str(cls.hidden.unique_id), len(motion), preview_every, task.bank.threshold)
        file = FilmFile(filename_prefix, format, lossless, crf, audio, sound)
        writer = open_writer(task, file, workflow_tags(cls.hidden))
        keyframes = write_frames(task, panel, writer)
        video = InputImpl.VideoFromFile(str(writer.path))
        shown = {**for_page("personalive_run", panel.end()), **compare_ui(writer, motion.footage)}
        return io.NodeOutput(video, *told(task, keyframes), ui=shown)


def file_inputs(prefix: str) -> list[io.Input]:
    """The widgets that say how the video is written."""
    return [
        io.String.Input("filename_prefix", default=prefix, tooltip="Folder and beginning of the video's name."),
        io.Combo.Input(
            "format",
            options=list(FORMATS),
            default="mp4",
            tooltip="mp4 plays everywhere, webm (VP9) in browsers, mov (ProRes) is for video editors.",
        ),
        io.Boolean.Input(
            "lossless", default=False, tooltip="Keep every pixel as it is, for further work; few players show it."
        ),
        io.Boolean.Input("audio", default=True, tooltip="Keep the sound of the driving video, or write that of sound."),
    ]


def later_inputs() -> list[io.Input]:
    """The inputs that came after the first version: workflows saved before do not have them."""
    return [
        io.Int.Input(
            "crf",
            default=0,
            min=0,
            max=MOST_CRF,
            optional=True,
            tooltip="Quality of mp4, mkv and webm: less is better, and larger. 0: no loss seen (17; webm: 20).",
        ),
        io.Audio.Input("sound", optional=True, tooltip="Another sound instead of the driving's."),
    ]


@dataclass(frozen=True, eq=False)
class FilmFile:
    """What the widgets say of the film."""

    prefix: str
    format: str
    lossless: bool
    crf: int
    audio: bool
    sound: Mapping[str, Any] | None  # AUDIO; None: the driving's


def open_writer(task: SamplerRun, file: FilmFile, tags: Mapping[str, str]) -> VideoWriter:
    """Opens a new video file in the output folder.

    Raises InputError for an unknown format, a quality that it has not, a prefix outside the output folder or unreadable
    sound, OutputError if the file cannot be written.
    """
    form, size = chosen_format(file.format, file.lossless, file.crf), (task.size, task.size)
    audio, start = sound_source(task.motion.footage, file.sound)
    options = WriteOptions(
        rate=task.motion.rate,
        audio=audio if file.audio else None,
        audio_start=start,
        lossless=file.lossless,
        details={"seed": str(task.seed), "steps": str(task.steps)},
        codec=form.codec,
        crf=file.crf or None,
        tags=tags,
    )
    return VideoWriter(new_output(file.prefix, form.suffix, size), size, options)


def write_frames(task: SamplerRun, panel: SamplerPanel, writer: VideoWriter) -> Keyframes:
    """Writes every frame as soon as it is made, in a thread; returns the keyframes.

    If the run ends early, the partial file stays and can be played, with every finished frame in it.
    """
    keyframes = Keyframes((), ())
    try:
        with writer, Behind(writer.write, ENCODED_BEHIND) as write:
            for emitted, keyframes in run_stream(task, panel):  # noqa: B007 - the last is given back
                for index, picture in enumerate(emitted.pictures, emitted.first):
                    write(picture, task.motion.time(index), task.motion.duration(index))
    except BaseException:
        if writer.frames:
            _log.warning("The run ended early; its %d frames are in %s", writer.frames, writer.partial)
        panel.stop(writer.partial, writer.frames, task.motion.footage)
        raise
    return keyframes
