"""ExpressionTimeline: a still that goes from expression to expression over the frames of a clip."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.expressions import Expression
from ..personalive_core.backends.liveportrait.keyframes import read_timeline
from ..personalive_core.backends.liveportrait.stitching import stitched
from ..personalive_core.backends.liveportrait.timelines import timeline_keypoints
from .host.errors import readable
from .host.liveportrait_draw import keypoint_pictures
from .host.liveportrait_source import FaceChoice, choice_inputs, read_source
from .host.memory import check_fits, free_ram
from .host.schema import schema
from .host.sockets import ExpressionSocket, LivePortraitSocket, LoadedLivePortrait, only_picture, to_image

MOST_EXPRESSIONS = 8
START = "24: 1"
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
            ],
            outputs=[io.Image.Output("images", display_name="images", tooltip="The frames, for Create Video.")],
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
        **expressions: Expression | None,
    ) -> io.NodeOutput:
        keys = read_timeline(timeline, in_order(expressions))
        keys = replace(keys, frames=frames or keys.frames)
        choice = FaceChoice(detector, face, face_box, crop_scale, crop_x, crop_y)
        portrait = read_source(model, only_picture(image, "Expression Timeline"), choice)
        height, width = (portrait.whole if paste_back else portrait.crop.picture).shape[:2]
        check_fits(keys.frames, (width, height), free_ram(), INSTEAD)
        motion = portrait.source.motion
        moved = timeline_keypoints(motion, keys)
        moved = stitched(model.networks, motion.keypoints, moved) if stitching else moved
        images = torch.empty(keys.frames, height, width, 3)
        for frame, picture in enumerate(keypoint_pictures(model, portrait, moved, paste_back)):
            images[frame] = to_image([picture])[0]
        return io.NodeOutput(images)


def in_order(expressions: dict[str, Expression | None]) -> list[Expression]:
    """The expressions by number, up to the last one that is connected; one that is not changes nothing."""
    slots = [expressions.get(f"expression_{number}") for number in range(1, MOST_EXPRESSIONS + 1)]
    last = max((index for index, one in enumerate(slots) if one is not None), default=-1)
    return [one or Expression.none() for one in slots[: last + 1]]
