"""Retarget and LivePortrait Render: a driving's motion on a source, drawn as images or into a video file."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.animation import MULTIPLIER_RANGE, AnimationOptions
from ..personalive_core.backends.liveportrait.driving import with_openness
from ..personalive_core.backends.liveportrait.kalman import OBSERVATION_VARIANCE
from ..personalive_core.backends.liveportrait.kj_modes import KJ_MODES, check_kj
from ..personalive_core.backends.liveportrait.portrait import SourcePortrait
from ..personalive_core.backends.liveportrait.regions import FACE_REGIONS
from ..personalive_core.backends.liveportrait.stream import RenderOptions, check_openness
from ..personalive_core.backends.liveportrait.transfer import TRANSFER_MODES, TransferOptions
from .host.errors import readable
from .host.film import refused_film, workflow_tags
from .host.liveportrait_draw import Retargeted, RetargetedSocket, drawn
from .host.liveportrait_film import RetargetedFilm, SourceVideo, retargeted_film
from .host.schema import schema
from .host.sockets import LivePortraitSocket, LoadedLivePortrait, Motion, MotionSocket, SourceSocket
from .host.systems import implicit
from .moving import as_images, open_moving_film, written_film
from .sample_video import FilmFile, file_inputs, later_inputs

NO_KJ = "none"


def switch(name: str, default: bool, tooltip: str) -> io.Boolean.Input:
    """A widget of one option."""
    return io.Boolean.Input(name, default=default, tooltip=tooltip)


class Retarget(io.ComfyNode):
    """Puts a driving's motion on a source picture or source video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        least, most = MULTIPLIER_RANGE
        return schema(
            node_id="PersonaLiveRetarget",
            display_name="Retarget (LivePortrait, PersonaLive)",
            description="Puts the motion of a driving on a picture or video: which part of it, how, and how much.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                SourceSocket.Input("source", tooltip="From Prepare Source, or Prepare Source Video."),
                MotionSocket.Input("motion", tooltip="From Extract Motion (LivePortrait), Load or Blend Motion."),
                io.Combo.Input(
                    "mode",
                    options=list(TRANSFER_MODES),
                    default=TRANSFER_MODES[0],
                    tooltip="relative takes what changes since the driving's first frame; absolute the pose itself.",
                ),
                io.Combo.Input(
                    "region",
                    options=list(FACE_REGIONS),
                    default=FACE_REGIONS[0],
                    tooltip="What is taken over: all, the expression (exp), the head's pose, the lips (lip), the eyes.",
                ),
                io.Float.Input(
                    "multiplier",
                    default=1.0,
                    min=least,
                    max=most,
                    step=0.01,
                    tooltip="How much of the motion. 0: the picture keeps still. 1.75 is usual for animals.",
                ),
                switch("stitching", True, "Moves neck and hair, so that the square joins the picture seamlessly."),
                switch("expression_friendly", True, "Lets motion grow with the face; off keeps the head's pose exact."),
                switch("eyes", False, "Opens the eyes as the driving's are; relative motion is then left out."),
                switch("lips", False, "Opens the lips as the driving's are; relative motion is then left out."),
                switch("close_lips", False, "Relative motion begins with the picture's lips closed."),
                *film_inputs(),
                kj_input(),
            ],
            outputs=[
                RetargetedSocket.Output("keypoints", display_name="keypoints", tooltip="For LivePortrait Render.")
            ],
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        source: SourcePortrait | SourceVideo,
        motion: Motion,
        mode: str,
        region: str,
        multiplier: float,
        stitching: bool,
        expression_friendly: bool,
        eyes: bool,
        lips: bool,
        close_lips: bool,
        even_eyes: bool = False,
        smoothing: float = 1.0,
        kj_mode: str = NO_KJ,
    ) -> io.NodeOutput:
        options = AnimationOptions(
            TransferOptions(mode, region),
            expression_friendly,
            multiplier,
            stitching,
            eyes,
            lips,
            close_lips,
            even_eyes,
            OBSERVATION_VARIANCE * smoothing,
            None if kj_mode == NO_KJ else kj_mode,
        )
        driving = implicit(motion)
        how = RenderOptions(options, animal=model.subject == "animal", by_picture=len(driving) == 1)
        check_openness(source.film.motion if isinstance(source, SourceVideo) else source.source.motion, options)
        if eyes or lips:
            deque(with_openness([driving], eyes, lips), maxlen=0)  # refuses now what could not be drawn later
        check_kj(options.kj, isinstance(source, SourceVideo), how.by_picture)
        moved = retargeted_film if isinstance(source, SourceVideo) else Retargeted
        return io.NodeOutput(moved(source, driving, how, motion))


def film_inputs() -> list[io.Input]:
    """The widgets for source videos, which came later."""
    return [
        io.Boolean.Input(
            "even_eyes",
            default=False,
            optional=True,
            tooltip="Of a source video: its eyes stay as open as in its first frame.",
        ),
        io.Float.Input(
            "smoothing",
            default=1.0,
            min=0.01,
            max=10_000.0,
            step=0.1,
            optional=True,
            tooltip="Of a source video: how smooth its motion becomes. 1: as published; 10 and more are smoother.",
        ),
    ]


def kj_input() -> io.Combo.Input:
    """The widget of another pack's modes, which came later still."""
    return io.Combo.Input(
        "kj_mode",
        options=[NO_KJ, *KJ_MODES],
        default=NO_KJ,
        optional=True,
        tooltip="A mode of ComfyUI-LivePortraitKJ in place of mode and region, which stay relative and all: relative "
        "is the same as these; relative_rotation_only takes the head's place alone; single_frame place, pose and "
        "expression as they are; off place and pose; source_video_smoothed is for a source video. "
        "expression_friendly is off there, and smoothing is 10.",
    )


def render_inputs() -> list[io.Input]:
    """The inputs that both renderers have."""
    return [
        LivePortraitSocket.Input("model", tooltip="From Load LivePortrait: the same as for Retarget."),
        RetargetedSocket.Input("keypoints", tooltip="From Retarget."),
        switch("paste_back", True, "Paste the square back into the picture. Off: the square alone."),
    ]


class RenderImages(io.ComfyNode):
    """Draws retargeted motion as images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveRender",
            display_name="LivePortrait Render (PersonaLive)",
            description="Draws the moving picture as images. For clips; for long videos use LivePortrait Render "
            "(Video), which needs no memory for them.",
            inputs=render_inputs(),
            outputs=[io.Image.Output("frames", display_name="frames", tooltip="One image per driving frame.")],
        )

    @classmethod
    @readable
    def execute(
        cls, model: LoadedLivePortrait, keypoints: Retargeted | RetargetedFilm, paste_back: bool
    ) -> io.NodeOutput:
        pictures = drawn(model, keypoints, paste_back)
        size = keypoints.size(paste_back)
        return io.NodeOutput(as_images(pictures, len(keypoints), size, "LivePortrait Render (Video)"))


class RenderVideo(io.ComfyNode):
    """Draws retargeted motion into a video file, frame by frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveRenderVideo",
            display_name="LivePortrait Render (Video, PersonaLive)",
            description="Draws the moving picture and writes a video into the output folder as it goes, with the "
            "driving's sound: for any length. Cancel keeps what is there.",
            inputs=[*render_inputs(), *file_inputs("video/LivePortrait"), *later_inputs()],
            outputs=[io.Video.Output("video", display_name="video", tooltip="The written video.")],
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
        model: LoadedLivePortrait,
        keypoints: Retargeted | RetargetedFilm,
        paste_back: bool,
        filename_prefix: str,
        format: str,  # noqa: A002 - the widget's name
        lossless: bool,
        audio: bool,
        crf: int = 0,
        sound: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        file = FilmFile(filename_prefix, format, lossless, crf, audio, sound)
        writer = open_moving_film(keypoints, paste_back, file, workflow_tags(cls.hidden))
        return written_film(writer, drawn(model, keypoints, paste_back, previews=True), keypoints.motion)
