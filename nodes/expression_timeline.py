"""ExpressionTimeline: a still that goes from expression to expression over the frames of a clip."""

from __future__ import annotations

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.editing import edited_by_node, expression_motion
from ..personalive_core.backends.liveportrait.expressions import Expression
from ..personalive_core.backends.liveportrait.keyframes import read_timeline
from ..personalive_core.backends.liveportrait.reference import SourceCrop
from ..personalive_core.backends.liveportrait.stitching import stitched
from ..personalive_core.backends.liveportrait.timelines import timeline_expressions
from ..personalive_core.backends.liveportrait.types import ImplicitMotion
from ..personalive_core.errors import InputError
from ..personalive_core.motion.times import USUAL_RATE, held_times
from .host.errors import readable
from .host.liveportrait_draw import keypoint_pictures
from .host.liveportrait_source import FaceChoice, choice_inputs, read_source
from .host.memory import check_fits, free_ram
from .host.schema import schema
from .host.sockets import (
    ExpressionSocket,
    LivePortraitSocket,
    LoadedLivePortrait,
    Motion,
    MotionSocket,
    only_picture,
    to_image,
)
from .host.systems import implicit

MOST_EXPRESSIONS = 8
START = "24: 1"
MOTION_TOOLTIP = (
    "The edited face as motion, to save, or for PersonaLive: its head pose, by Keypoint Interpolate with expression 0."
)
INSTEAD = "a shorter timeline, or a smaller picture"


class ExpressionTimeline(io.ComfyNode):
    """Draws a picture whose expression follows keyframes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveExpressionTimeline",
            display_name="Expression Timeline (PersonaLive)",
            description="Animates a still from expression to expression with LivePortrait: keyframes over frames. The "
            "command text of AdvancedLivePortrait is read too.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                io.Image.Input("image", tooltip="One picture of the person to animate."),
                io.String.Input(
                    "timeline",
                    default=START,
                    multiline=True,
                    tooltip="A line frame: expression for each keyframe, such as 24: 1, or 24: 1 x 0.5 for half of it; "
                    "0 is the picture's own. Or commands such as 1=10:5.",
                ),
                io.Int.Input(
                    "frames", default=0, min=0, max=100000, tooltip="Frames to draw. 0: up to the last keyframe."
                ),
                io.Boolean.Input(
                    "stitching",
                    default=True,
                    tooltip="Moves neck and hair so that the square joins the picture without a seam.",
                ),
                io.Boolean.Input(
                    "paste_back", default=True, tooltip="Paste the square back into the picture. Off: the square alone."
                ),
                *choice_inputs(),
                *(
                    ExpressionSocket.Input(
                        f"expression_{number}", optional=True, tooltip=f"Expression {number} of the timeline."
                    )
                    for number in range(1, MOST_EXPRESSIONS + 1)
                ),
                MotionSocket.Input(
                    "motion",
                    optional=True,
                    tooltip="A film that moves the picture beside the timeline, from Extract Motion (LivePortrait). "
                    "With frames 0 the clip is as long as the longer of both; after its end the film moves nothing, "
                    "the timeline's last expression stays.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The frames, for Create Video."),
                MotionSocket.Output("edited_motion", display_name="edited_motion", tooltip=MOTION_TOOLTIP),
            ],
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        image: torch.Tensor,
        timeline: str,
        frames: int,
        stitching: bool,
        paste_back: bool,
        detector: str,
        face: str,
        face_box: str,
        crop_scale: float,
        crop_x: float,
        crop_y: float,
        motion: Motion | None = None,
        **expressions: Expression | None,
    ) -> io.NodeOutput:
        driving = None if motion is None else film_of(motion)
        keys = read_timeline(timeline, in_order(expressions)).lasting(frames, len(driving or ()))
        choice = FaceChoice(detector, face, face_box, crop_scale, crop_x, crop_y)
        portrait = read_source(model, only_picture(image, "Expression Timeline"), choice)
        height, width = (portrait.whole if paste_back else portrait.crop.picture).shape[:2]
        check_fits(keys.frames, (width, height), free_ram(), INSTEAD)
        own, added = portrait.source.motion, timeline_expressions(keys, driving)
        moved = torch.cat([edited_by_node(own, expression) for expression in added])
        moved = stitched(model.networks, own.keypoints, moved) if stitching else moved
        images = torch.empty(keys.frames, height, width, 3)
        for frame, picture in enumerate(keypoint_pictures(model, portrait, moved, paste_back)):
            images[frame] = to_image([picture])[0]
        return io.NodeOutput(images, motion_at(expression_motion(own, added), portrait.crop, motion))


def film_of(motion: Motion) -> ImplicitMotion:
    """The driving's motion. Raises InputError for PersonaLive's, and for that of one picture."""
    driving = implicit(motion)
    if len(driving) == 1:
        raise InputError(
            "the motion has one frame, which moves nothing: read a film, or give the picture to Expression Editor as "
            "sample_image"
        )
    return driving


def motion_at(frames: ImplicitMotion, crop: SourceCrop, driving: Motion | None = None) -> Motion:
    """Edited frames of a `crop` as a node's motion: the head as it is in the whole picture.

    At the times of their driving as far as it goes, then evenly; without one at 25 a second.
    """
    frames = frames.turned(torch.tensor([[0.0, 0.0, crop.roll]]))
    if driving is None:
        return Motion(frames, USUAL_RATE)
    ticks = None if driving.times is None else held_times(driving.times, len(frames), driving.rate)
    return Motion(frames, driving.rate, driving.footage, ticks=ticks)


def in_order(expressions: dict[str, Expression | None]) -> list[Expression]:
    """The expressions by number, up to the last one that is connected; one that is not changes nothing."""
    slots = [expressions.get(f"expression_{number}") for number in range(1, MOST_EXPRESSIONS + 1)]
    last = max((index for index, one in enumerate(slots) if one is not None), default=-1)
    return [one or Expression.none() for one in slots[: last + 1]]
