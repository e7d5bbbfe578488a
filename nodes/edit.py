"""EditMotion: changes head and expression of a motion over a range of frames, with a preview of one chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui

from ..personalive_core.backends.personalive.editing import edit_driving, edit_fitted
from ..personalive_core.backends.personalive.motion import fit, lead_in
from ..personalive_core.backends.personalive.sampling import StreamingSampler
from ..personalive_core.backends.personalive.stream import stream_fitted
from ..personalive_core.backends.personalive.types import LEAD_IN, STREAM
from ..personalive_core.errors import InputError
from ..personalive_core.media.picture import Picture
from ..personalive_core.modules.schedule import seeded_noise
from ..personalive_core.motion.editing import UNITS, Edit, range_weights
from ..personalive_core.motion.times import even_times
from ..personalive_core.motion.types import FittedMotion, concat_motion
from .host.errors import readable
from .host.memory import activation_bytes, check_interrupt, settled
from .host.schema import schema
from .host.sockets import (
    LoadedModel,
    ModelSocket,
    Motion,
    MotionSocket,
    PreparedReference,
    ReferenceSocket,
    to_image,
)
from .host.streaming import SamplerRun, check
from .host.systems import hybrid

UNEDITED = Edit()
ONLY_FITTED = ("x", "y", "size")  # fitting takes over changes since the first frame, and by default no size


def amount(name: str, most: float, step: float, tooltip: str) -> io.Float.Input:
    """The widget of a value that is added, 0 by default, up to `most` in both directions."""
    return io.Float.Input(name, default=getattr(UNEDITED, name), min=-most, max=most, step=step, tooltip=tooltip)


def factor(name: str, least: float, tooltip: str) -> io.Float.Input:
    """The widget of a factor, 1 by default."""
    return io.Float.Input(name, default=getattr(UNEDITED, name), min=least, max=3.0, step=0.05, tooltip=tooltip)


def edit_inputs() -> list[io.Input]:
    """The widgets of an Edit, in the order and by the names of its fields."""
    return [
        amount("pitch", 60.0, 1.0, "Degrees added: above 0 looks up."),
        amount("yaw", 60.0, 1.0, "Degrees added: above 0 turns to the picture's right."),
        amount("roll", 60.0, 1.0, "Degrees added: above 0 tilts the crown to the picture's right."),
        factor("pitch_scale", 0.0, "Factor of the nodding. 0: looks neither up nor down."),
        factor("yaw_scale", 0.0, "Factor of the turning. 0: looks straight ahead."),
        factor("roll_scale", 0.0, "Factor of the tilting. 0: upright."),
        amount("x", 1.0, 0.01, "Moves the head to the right, in halves of the picture. After Keypoint Interpolate."),
        amount("y", 1.0, 0.01, "Moves the head down, in halves of the picture. After Keypoint Interpolate."),
        factor("movement", 0.0, "Factor of the head's movement since the first frame. 0: it stays in its place."),
        factor("size", 0.1, "Factor of the head's size. After Keypoint Interpolate."),
        factor("expression", 0.0, "Factor of the expression. 0: frozen in the motion's average one. 1: as it is."),
    ]


def range_inputs() -> list[io.Input]:
    """The widgets of the range."""
    return [
        io.Float.Input(
            "start",
            default=0.0,
            min=0.0,
            max=1e7,
            step=1.0,
            round=0.001,
            tooltip="First frame to edit, counted from 0.",
        ),
        io.Float.Input(
            "end",
            default=0.0,
            min=0.0,
            max=1e7,
            step=1.0,
            round=0.001,
            tooltip="First frame that is no longer edited. 0: the motion's end.",
        ),
        io.Combo.Input(
            "unit", options=list(UNITS), default=UNITS[0], tooltip="What start and end count: frames or seconds."
        ),
        io.Int.Input(
            "ramp",
            default=5,
            min=0,
            max=1000,
            tooltip="Frames over which the edit fades in and out inside the range. 0: at once.",
        ),
    ]


class EditMotion(io.ComfyNode):
    """Changes head pose, movement, size and expression in a range of frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveEditMotion",
            display_name="Edit Motion (PersonaLive)",
            description="Turns, moves and sizes the head, and makes the expression stronger or weaker, in all frames "
            "or a range of them. With model and reference it shows one chunk of the result.",
            inputs=[
                MotionSocket.Input(
                    "motion", tooltip="From Keypoint Interpolate; or not fitted yet, to save or blend it."
                ),
                *edit_inputs(),
                *range_inputs(),
                ModelSocket.Input("model", optional=True, tooltip="For the preview, with reference: the sampler's."),
                ReferenceSocket.Input(
                    "reference", optional=True, tooltip="For the preview, with model: the portrait that will move."
                ),
            ],
            outputs=[MotionSocket.Output("edited_motion", display_name="edited_motion", tooltip="The edited motion.")],
            is_output_node=True,
        )

    @classmethod
    @readable
    def execute(
        cls,
        motion: Motion,
        start: float,
        end: float,
        unit: str,
        ramp: int,
        model: LoadedModel | None = None,
        reference: PreparedReference | None = None,
        **values: float,
    ) -> io.NodeOutput:
        times = even_times(len(motion), motion.rate) if motion.times is None else motion.times
        weights = range_weights(times, start, end, unit, ramp)
        edited = edited_motion(motion, Edit(**values), weights)
        if model is None or reference is None:
            return io.NodeOutput(edited)
        strip = np.concatenate(list(preview(model, reference, edited, weights)), 1)
        return io.NodeOutput(edited, ui=ui.PreviewImage(to_image([strip]), cls=cls))


def edited_motion(motion: Motion, change: Edit, weights: torch.Tensor) -> Motion:
    """`motion` with the edit in its driving and, if there is one, its fitted motion; `weights` [F] of its frames.

    Raises InputError where fitting would undo the edit.
    """
    lost = [name for name in ONLY_FITTED if getattr(change, name) != getattr(UNEDITED, name)]
    if lost and motion.fitted is None:
        raise InputError(
            f"{' and '.join(lost)} of a motion that is not fitted yet would not reach the portrait: put Edit Motion "
            "after Keypoint Interpolate"
        )
    frames = edit_driving(hybrid(motion, motion.fitted is not None), change, weights)
    if motion.fitted is None or motion.canonical is None:
        return replace(motion, frames=frames)
    return replace(motion, frames=frames, fitted=edit_fitted(motion.fitted, motion.canonical, change, weights))


def preview(
    model: LoadedModel, prepared: PreparedReference, motion: Motion, weights: torch.Tensor
) -> Iterator[Picture]:
    """Yields the pictures of one chunk, around the middle of the frames that the edit reaches; motion of fewer: all.

    Motion that is not fitted is fitted with the published strengths.
    """
    if motion.fitted is None:
        fitted = fit(hybrid(motion), prepared.reference)
        motion = replace(motion, fitted=fitted, canonical=prepared.reference.canonical)
    run = check((model, prepared, motion, None), 0, len(STREAM.timesteps))
    networks = settled(model.networks, activation_bytes(run.size, STREAM.window * STREAM.windows, model.networks.dtype))
    reference = prepared.reference.to(networks.device, networks.dtype)
    sampler = StreamingSampler(networks, reference, seeded_noise(run.seed), STREAM)
    for emitted in stream_fitted(networks, sampler, chunk(run, weights)):
        check_interrupt()
        yield from emitted.pictures


def chunk(run: SamplerRun, weights: torch.Tensor) -> FittedMotion:
    """One window of the fitted motion, led in from the reference's own."""
    reached = weights.nonzero()[:, 0]
    middle = int(reached[len(reached) // 2])
    first = max(min(middle - STREAM.window // 2, len(weights) - STREAM.window), 0)
    frames = run.fitted.motion[run.fitted.lead :][first : first + STREAM.window]
    return FittedMotion(concat_motion([lead_in(run.prepared.reference, frames[:1]), frames]), LEAD_IN)
