"""PrepareSource and ExtractImplicitMotion: a picture for LivePortrait to animate, and the motion of a driving."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.finding import Finder
from ..personalive_core.backends.liveportrait.pasting import prepare_live_paste
from ..personalive_core.faces.crop import crop_by_hand
from ..personalive_core.faces.tracking import TrackOptions
from ..personalive_core.motion.gaps import MISSING_POLICIES
from ..personalive_core.motion.times import time_at, usual_rate
from .host.errors import readable
from .host.faces import choice, parse_box
from .host.footage import open_frames
from .host.liveportrait_motion import motion_of_driving
from .host.liveportrait_picker import picture_faces
from .host.liveportrait_source import (
    FaceChoice,
    choice_inputs,
    found_inputs,
    landmarker,
    live_face_detector,
    points_input,
    read_source,
    roomy,
)
from .host.panel import for_page
from .host.schema import schema
from .host.sockets import (
    LivePortraitSocket,
    LoadedLivePortrait,
    Motion,
    MotionSocket,
    SourceSocket,
    only_picture,
    to_image,
)
from .host.sound import sound_of

POLICIES = [policy for policy in MISSING_POLICIES if policy != "neutral"]  # a source has no neutral driving


def part_inputs() -> list[io.Input]:
    """The widgets that say which frames of a driving are taken, and what those without a face get."""
    return [
        io.Combo.Input(
            "missing_face",
            options=POLICIES,
            default="hold",
            tooltip="What a frame without a face gets: the last motion (hold), a path between its neighbours "
            "(interpolate), or an error.",
        ),
        io.Float.Input(
            "start", default=0.0, min=0.0, max=1e6, step=0.04, tooltip="Seconds of the driving to leave out."
        ),
        io.Int.Input("count", default=0, min=0, max=10**7, tooltip="Most frames to take. 0: all."),
        io.Float.Input(
            "frame_rate",
            default=0.0,
            min=0.0,
            max=240.0,
            step=1.0,
            tooltip="Frames a second to take. 0: as the video is; an image batch counts as 25.",
        ),
    ]


class PrepareSource(io.ComfyNode):
    """Crops the face out of a picture and reads it for LivePortrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLivePrepareSource",
            display_name="Prepare Source (LivePortrait, PersonaLive)",
            description="Cuts the face out of the picture that LivePortrait is to animate, and reads it.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                io.Image.Input("image", tooltip="One picture of the person or animal to animate."),
                *choice_inputs(),
                points_input(),
            ],
            outputs=[
                SourceSocket.Output("source", display_name="source", tooltip="For Retarget (LivePortrait)."),
                io.Image.Output("portrait", display_name="portrait", tooltip="The square that is animated."),
                io.Mask.Output(
                    "paste_mask",
                    display_name="paste_mask",
                    tooltip="Where it is pasted back, fading at its edge.",
                ),
            ],
            has_intermediate_output=True,  # the face picker has its faces again after the page was reloaded
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        image: torch.Tensor,
        detector: str,
        face: str,
        face_box: str,
        crop_scale: float,
        crop_x: float,
        crop_y: float,
        face_points: str = "",
    ) -> io.NodeOutput:
        whole = only_picture(image, "Prepare Source")
        wanted = FaceChoice(detector, face, face_box, crop_scale, crop_x, crop_y, face_points)
        found = read_source(model, whole, wanted)
        mask = torch.from_numpy(prepare_live_paste(whole, found.crop.matrix).mask[None, ..., 0])
        shown = for_page("personalive_faces", picture_faces(model, found, wanted))
        return io.NodeOutput(found, to_image([found.crop.picture]), mask, ui=shown)


class ExtractImplicitMotion(io.ComfyNode):
    """Reads the motion of a driving for LivePortrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveExtractImplicitMotion",
            display_name="Extract Motion (LivePortrait, PersonaLive)",
            description="Reads the motion of a driving video for LivePortrait: head pose, 21 keypoints and their "
            "expression. Reads the file frame by frame, so that length does not matter.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                io.MultiType.Input(
                    "driving",
                    types=[io.Video, io.Image],
                    tooltip="The video whose motion is taken: a VIDEO (for any length), or a batch of images. "
                    "One image gives its expression alone.",
                ),
                *found_inputs(),
                *part_inputs(),
            ],
            outputs=[
                MotionSocket.Output(
                    "motion", display_name="motion", tooltip="For Retarget (LivePortrait), Save and Blend Motion."
                ),
                io.Float.Output(
                    "rate", display_name="frame_rate", tooltip="Frames a second of the motion, for Create Video."
                ),
                io.Audio.Output(
                    "audio",
                    display_name="audio",
                    tooltip="The driving's sound for the part taken, for Create Video. Without sound: nothing.",
                ),
            ],
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        driving: Any,
        detector: str,
        face: str,
        face_box: str,
        missing_face: str,
        start: float,
        count: int,
        frame_rate: float,
    ) -> io.NodeOutput:
        opened = partial(open_frames, driving, start, count, frame_rate)
        source, box = opened(), parse_box(face_box)
        if box is not None:
            crop_by_hand(box, source.first.image.shape[:2], "face_box")  # refuses one outside the picture
        detects = None if box else live_face_detector(detector, source.first.image)
        finder = Finder(detects, landmarker(model), TrackOptions(choice=choice(face), manual=box))
        frames, ticks = motion_of_driving(roomy(model), opened, finder, missing_face)
        motion = Motion(frames, usual_rate(source.rate, ticks), source.footage, ticks=ticks)
        sound = sound_of(source.footage, time_at(ticks, len(frames)) - time_at(ticks, 0))
        return io.NodeOutput(motion, float(motion.rate), sound)
