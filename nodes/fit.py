"""KeypointInterpolate: retargets driving motion to the reference's keypoints and adds lead-in frames (MII)."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.personalive.motion import Strengths, fit
from ..personalive_core.backends.personalive.types import LEAD_IN
from .host.errors import readable
from .host.schema import schema
from .host.sockets import Motion, MotionSocket, PreparedReference, ReferenceSocket
from .host.systems import hybrid

DEFAULTS = Strengths()


def strength(name: str, default: float, tooltip: str) -> io.Float.Input:
    """The widget of one of the four strengths."""
    return io.Float.Input(name, default=default, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


class KeypointInterpolate(io.ComfyNode):
    """Retargets motion to a reference and interpolates from the reference's pose to the first driving pose (MII)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="KeypointInterpolate",
            display_name="Keypoint Interpolate (MII, PersonaLive)",
            description="Puts the driving motion on the reference's face, and leads from the reference's pose to the "
            "first driving frame (motion-interpolated initialisation), so that the stream starts without a jump.",
            inputs=[
                ReferenceSocket.Input("reference", tooltip="The portrait that will move, from Prepare Reference."),
                MotionSocket.Input(
                    "motion",
                    tooltip="From Extract, Load or Blend Motion. Of LivePortrait's the head pose alone, with "
                    "expression 0.",
                ),
                io.Int.Input(
                    "lead_in",
                    default=LEAD_IN,
                    min=0,
                    max=48,
                    tooltip="Frames from the reference's pose to the first driving pose; they are not in the result. "
                    "More start more gently. 12 is the paper's.",
                ),
                strength("rotation", DEFAULTS.rotation, "How much of the head's turning is taken over. 1: all of it."),
                strength("translation", DEFAULTS.translation, "How far the head moves. 0.5 is the published value."),
                strength("scale", DEFAULTS.scale, "How much the head grows when it comes nearer. 0: not at all."),
                strength("expression", DEFAULTS.expression, "How much of the expression is taken over. 1: all of it."),
            ],
            outputs=[
                MotionSocket.Output("fitted_motion", display_name="fitted_motion", tooltip="For a streaming sampler.")
            ],
        )

    @classmethod
    @readable
    def execute(
        cls,
        reference: PreparedReference,
        motion: Motion,
        lead_in: int,
        rotation: float,
        translation: float,
        scale: float,
        expression: float,
    ) -> io.NodeOutput:
        strengths = Strengths(rotation, translation, scale, expression)
        return io.NodeOutput(fitted_motion(motion, reference, lead_in, strengths))


def fitted_motion(motion: Motion, reference: PreparedReference, lead_in: int, strengths: Strengths) -> Motion:
    """`motion` fitted to the reference. Raises InputError for LivePortrait's, but for a head without its expression."""
    frames = hybrid(motion, alone=strengths.expression == 0)
    fitted = fit(frames, reference.reference, lead_in, strengths)
    return replace(motion, frames=frames, fitted=fitted, canonical=reference.reference.canonical)
