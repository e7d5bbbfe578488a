"""HunyuanPortrait Sample: animates a picture by a driving's motion, as images or into a video file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.hunyuan.types import Guidance, SamplingOptions, SegmentRule
from ..personalive_core.errors import InputError
from .host.errors import readable
from .host.faces import CHOICES, LARGEST, choice
from .host.film import refused_film, workflow_tags
from .host.footage import open_frames
from .host.hunyuan import NO_HUNYUAN_YUNET, HunyuanRun, HunyuanWish, begun_hunyuan
from .host.liveportrait_source import live_face_detector
from .host.schema import schema
from .host.sockets import HunyuanSocket, LoadedHunyuan, Motion, MotionSocket, only_picture
from .liveportrait_motion import part_inputs
from .liveportrait_render import switch
from .moving import as_images, open_moving_film, written_film
from .sample_video import FilmFile, file_inputs, later_inputs

_MOST_GUIDANCE = 20.0
_GUIDED = {  # widget -> what it is the strength of
    "guidance_min": "the picture's look in the first step",
    "guidance_max": "the picture's look in the last step",
    "motion_guidance_min": "the driving's motion in the first step",
    "motion_guidance_max": "the driving's motion in the last step",
}


def hunyuan_inputs() -> list[io.Input]:
    """The inputs that both samplers have."""
    published = SamplingOptions()
    return [
        HunyuanSocket.Input("model", tooltip="From Load HunyuanPortrait."),
        io.Image.Input("image", tooltip="One picture of the person to animate."),
        io.MultiType.Input(
            "driving",
            types=[io.Video, io.Image],
            optional=True,
            tooltip="Whose motion is taken: a VIDEO, or a batch of images. Without motion it is needed.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="The noise. The same seed and inputs give the same frames.",
        ),
        io.Int.Input("steps", default=published.steps, min=1, max=100, tooltip="Denoising steps. 25 as published."),
        *guidance_inputs(),
        io.Int.Input(
            "segment",
            default=published.segments.frames,
            min=2,
            max=10_000,
            tooltip="A longer film is made in overlapping segments of so many frames, each finished before the next. "
            "More take more memory, and the first picture comes later.",
        ),
        io.Int.Input("size", default=512, min=64, max=1024, step=64, tooltip="Pixels a side. Made for 512."),
        switch("paste_back", True, "Paste the square back into the picture, which stays still. Off: the square alone."),
        *part_inputs(),
    ]


def chosen_inputs() -> list[io.Input]:
    """The inputs that came after the first version: workflows saved before do not have them."""
    return [
        *(
            io.Combo.Input(name, options=list(CHOICES), default=LARGEST, optional=True, tooltip=tooltip)
            for name, tooltip in (
                ("face", "Whose face in the picture, when there are several."),
                ("driving_face", "Whose face in the driving, when there are several: that person is followed."),
            )
        ),
        MotionSocket.Input(
            "motion",
            optional=True,
            tooltip="From Extract Motion (HunyuanPortrait) or Load Motion, instead of driving.",
        ),
    ]


def guidance_inputs() -> list[io.Input]:
    """The widgets of guidance, in the order of `wish_of`."""
    return [
        io.Float.Input(
            name,
            default=Guidance().first,
            min=0.0,
            max=_MOST_GUIDANCE,
            step=0.1,
            tooltip=f"Strength of {what}. While look and motion have the same, a third of the work is saved.",
        )
        for name, what in _GUIDED.items()
    ]


def run_of(
    model: LoadedHunyuan,
    image: torch.Tensor,
    driving: Any,
    motion: Motion | None,
    part: tuple[str, float, int, float],
    wish: HunyuanWish,
) -> HunyuanRun:
    """Reads the picture and, of the driving or the motion, the one that is given. Raises as `begun_hunyuan` does.

    `part` is missing_face, start, count, frame_rate. Raises InputError also for both or neither.
    """
    missing, *taken = part
    whole = only_picture(image, "HunyuanPortrait Sample")
    check_given(driving, motion, taken, wish)
    moving = open_frames(driving, *taken) if motion is None else motion
    detector = live_face_detector("yunet", whole, NO_HUNYUAN_YUNET)
    assert detector is not None
    return begun_hunyuan(model, whole, moving, missing, detector, wish)


def check_given(driving: Any, motion: Motion | None, taken: Sequence[float], wish: HunyuanWish) -> None:
    """Raises InputError unless one of `driving` and `motion` is given, and what is `taken` of the driving with it."""
    if driving is None and motion is None:
        raise InputError("nothing moves the picture: connect driving, or motion from Extract Motion (HunyuanPortrait)")
    if driving is not None and motion is not None:
        raise InputError("driving and motion are both connected, and one is used: disconnect the other")
    if motion is not None and (any(taken) or wish.driving_face != LARGEST):
        raise InputError(
            "start, count, frame_rate and driving_face choose in a driving, and motion is connected: set them to 0, "
            "driving_face to largest, and choose in Extract or Load Motion"
        )


def choosing(wish: HunyuanWish, face: str, driving_face: str) -> HunyuanWish:
    """The same with these options of the widgets of faces. Raises InputError for an unknown one."""
    return replace(wish, face=choice(face), driving_face=choice(driving_face))


def wish_of(
    seed: int, steps: int, strengths: tuple[float, float, float, float], segment: int, size: int, paste_back: bool
) -> HunyuanWish:
    """What the widgets ask for; `strengths` in their order. Raises InputError for what cannot be done."""
    overlap = min(SegmentRule().overlap, segment // 2)
    sampling = SamplingOptions(
        steps=steps,
        appearance=Guidance(*strengths[:2]),
        motion=Guidance(*strengths[2:]),
        segments=SegmentRule(segment, overlap),
    )
    return HunyuanWish(sampling, seed, size, paste_back)


class HunyuanImages(io.ComfyNode):
    """Animates a picture as images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveHunyuan",
            display_name="HunyuanPortrait Sample (PersonaLive)",
            description="Animates the picture by the driving's motion, as images: for research only. For clips; for "
            "long videos use HunyuanPortrait Sample (Video).",
            inputs=[*hunyuan_inputs(), *chosen_inputs()],
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="One image per driving frame."),
                io.Float.Output("rate", display_name="frame_rate", tooltip="Frames a second, for Create Video."),
            ],
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedHunyuan,
        image: torch.Tensor,
        seed: int,
        steps: int,
        guidance_min: float,
        guidance_max: float,
        motion_guidance_min: float,
        motion_guidance_max: float,
        segment: int,
        size: int,
        paste_back: bool,
        missing_face: str,
        start: float,
        count: int,
        frame_rate: float,
        driving: Any = None,
        face: str = LARGEST,
        driving_face: str = LARGEST,
        motion: Motion | None = None,
    ) -> io.NodeOutput:
        strengths = guidance_min, guidance_max, motion_guidance_min, motion_guidance_max
        wish = choosing(wish_of(seed, steps, strengths, segment, size, paste_back), face, driving_face)
        run = run_of(model, image, driving, motion, (missing_face, start, count, frame_rate), wish)
        instead = "HunyuanPortrait Sample (Video)"
        images = as_images(run.pictures(previews=True), len(run), run.size(paste_back), instead)
        return io.NodeOutput(images, float(run.motion.rate))


class HunyuanVideo(io.ComfyNode):
    """Animates a picture into a video file, segment by segment."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveHunyuanVideo",
            display_name="HunyuanPortrait Sample (Video, PersonaLive)",
            description="Animates the picture by the driving's motion and writes a video into the output folder, with "
            "the driving's sound: for research only. Cancel keeps the segments that are there.",
            inputs=[*hunyuan_inputs(), *file_inputs("video/HunyuanPortrait"), *later_inputs(), *chosen_inputs()],
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
        model: LoadedHunyuan,
        image: torch.Tensor,
        seed: int,
        steps: int,
        guidance_min: float,
        guidance_max: float,
        motion_guidance_min: float,
        motion_guidance_max: float,
        segment: int,
        size: int,
        paste_back: bool,
        missing_face: str,
        start: float,
        count: int,
        frame_rate: float,
        filename_prefix: str,
        format: str,  # noqa: A002 - the widget's name
        lossless: bool,
        audio: bool,
        crf: int = 0,
        sound: Mapping[str, Any] | None = None,
        driving: Any = None,
        face: str = LARGEST,
        driving_face: str = LARGEST,
        motion: Motion | None = None,
    ) -> io.NodeOutput:
        strengths = guidance_min, guidance_max, motion_guidance_min, motion_guidance_max
        wish = choosing(wish_of(seed, steps, strengths, segment, size, paste_back), face, driving_face)
        run = run_of(model, image, driving, motion, (missing_face, start, count, frame_rate), wish)
        file = FilmFile(filename_prefix, format, lossless, crf, audio, sound)
        writer = open_moving_film(run, paste_back, file, workflow_tags(cls.hidden), wish.details)
        return written_film(writer, run.pictures(previews=True), run.motion)
