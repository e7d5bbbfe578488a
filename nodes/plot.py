"""MotionPlot: draws head angles and novelty of a motion over time, with the keyframes a sampler would choose."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.v0_0_2 import io, ui

from ..personalive_core.backends.personalive.novelty import novelty_curve
from ..personalive_core.media.picture import Picture
from ..personalive_core.motion.changes import implicit_plot
from ..personalive_core.motion.plot import motion_plot
from ..personalive_core.motion.times import average_rate
from ..personalive_core.motion.types import HybridMotion
from .host.errors import readable
from .host.schema import schema
from .host.sockets import (
    Bank,
    BankSocket,
    Motion,
    MotionSocket,
    PreparedReference,
    ReferenceSocket,
    stream_config,
    to_image,
)
from .host.systems import hybrid


def plot(motion: Motion, reference: PreparedReference | None = None, bank: Bank | None = None) -> Picture:
    """A plot [H, W, 3] of yaw, pitch, roll and novelty over time; of other systems' motion the change of expression.

    Novelty is measured from the reference and the keyframes chosen so far; without a reference, from the first frame.
    """
    rate = motion.rate if motion.times is None else average_rate(motion.times)  # the axis ends where the motion does
    if not isinstance(motion.frames, HybridMotion):
        return implicit_plot(motion.frames, float(rate))
    # the motion of fixed keyframes is unknown here: without them, `max_keyframes` counts only historical ones
    config, frames = stream_config(replace(bank or Bank(), portraits=())), hybrid(motion, motion.fitted is not None)
    if motion.fitted:
        frames = motion.fitted.motion[motion.fitted.lead :]
    known: torch.Tensor | None = reference.reference.motion.embedding if reference else None
    curve = novelty_curve(frames.embedding, config, known)
    return motion_plot(frames, curve.points, float(rate), config.keyframe_distance, curve.keyframes)


class MotionPlot(io.ComfyNode):
    """Plots motion, before or after it is fitted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveMotionPlot",
            display_name="Motion Plot (PersonaLive)",
            description="Draws yaw, pitch and roll of the head, and how new the motion is, over time.",
            inputs=[
                MotionSocket.Input("motion", tooltip="Extracted, loaded, blended or fitted motion."),
                ReferenceSocket.Input(
                    "reference", optional=True, tooltip="Measure novelty from this portrait, as a sampler does."
                ),
                BankSocket.Input("bank", optional=True, tooltip="Its threshold and limits, to see which frames join."),
            ],
            outputs=[io.Image.Output("plot", display_name="plot", tooltip="The drawing.")],
            is_output_node=True,
        )

    @classmethod
    @readable
    def execute(
        cls, motion: Motion, reference: PreparedReference | None = None, bank: Bank | None = None
    ) -> io.NodeOutput:
        image = to_image([plot(motion, reference, bank)])
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))
