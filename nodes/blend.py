"""BlendMotion: mixes two motions, with separate weights for head pose and expression."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.v0_0_2 import io

from ..personalive_core.errors import InputError
from ..personalive_core.motion.editing import LENGTHS, mix
from ..personalive_core.motion.times import held_times
from .host.errors import readable
from .host.schema import schema
from .host.sockets import Motion, MotionSocket


class BlendMotion(io.ComfyNode):
    """Mixes two unfitted motions frame by frame, with one weight for the head and one for the expression."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveBlendMotion",
            display_name="Blend Motion (PersonaLive)",
            description="Mixes two motions frame by frame, for example the head of one with the expression of another.",
            inputs=[
                MotionSocket.Input("motion_a", tooltip="The motion at 0. Its frame rate and sound are kept."),
                MotionSocket.Input("motion_b", tooltip="The motion at 1."),
                io.Float.Input(
                    "head", default=0.5, min=0.0, max=1.0, step=0.05, tooltip="Head pose: 0 is a's, 1 is b's."
                ),
                io.Float.Input(
                    "expression", default=0.5, min=0.0, max=1.0, step=0.05, tooltip="Expression: 0 is a's, 1 is b's."
                ),
                io.Combo.Input(
                    "length",
                    options=list(LENGTHS),
                    default="shorter",
                    tooltip="shorter: end with the shorter motion. longer: hold its last frame.",
                ),
            ],
            outputs=[MotionSocket.Output("motion", display_name="motion", tooltip="For Keypoint Interpolate.")],
        )

    @classmethod
    @readable
    def execute(cls, motion_a: Motion, motion_b: Motion, head: float, expression: float, length: str) -> io.NodeOutput:
        if motion_a.fitted or motion_b.fitted:
            raise InputError("a motion was fitted to a reference already: blend before Keypoint Interpolate")
        frames = mix(motion_a.frames, motion_b.frames, head, expression, length)
        times = motion_a.times
        ticks = None if times is None else held_times(times, len(frames), motion_a.rate)
        return io.NodeOutput(replace(motion_a, frames=frames, ticks=ticks))
