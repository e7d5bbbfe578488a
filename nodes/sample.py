"""StreamingSampler: makes the animation and returns it as a batch of images."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.errors import PersonaLiveError
from ..personalive_core.media.write import VideoWriter, WriteOptions
from .host.errors import readable
from .host.folders import new_output
from .host.memory import check_fits, free_ram
from .host.panel import SamplerPanel, for_page
from .host.schema import schema
from .host.sockets import Bank, LoadedModel, Motion, PreparedReference, to_picture
from .host.streaming import Keyframes, SamplerRun, bank_outputs, check, run_stream, sampler_inputs, told

_log = logging.getLogger(__name__)


class StreamingSampler(io.ComfyNode):
    """Animates the reference with the motion and returns all frames as images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="StreamingSampler",
            display_name="Streaming Sampler (PersonaLive)",
            description="Animates the reference with the motion and gives all frames as images. For clips; for long "
            "videos use Streaming Sampler (Video), which needs no memory for them.",
            inputs=sampler_inputs(),
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="One image per driving frame."),
                *bank_outputs(),
            ],
            hidden=[io.Hidden.unique_id],
        )

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
        bank: Bank | None = None,
    ) -> io.NodeOutput:
        task = check((model, reference, motion, bank), seed, steps)
        check_fits(len(motion), (task.size, task.size), free_ram(), "Streaming Sampler (Video)")
        panel = SamplerPanel(str(cls.hidden.unique_id), len(motion), preview_every, task.bank.threshold)
        frames, keyframes = sample(task, panel)
        return io.NodeOutput(frames, *told(task, keyframes), ui=for_page("personalive_run", panel.end()))


def sample(task: SamplerRun, panel: SamplerPanel) -> tuple[torch.Tensor, Keyframes]:
    """Runs the stream; returns all frames [F, S, S, 3] in [0, 1] and the keyframes.

    If the run ends early, by an error or Cancel, the frames made so far are saved as a video.
    """
    frames = torch.empty((len(task.motion), task.size, task.size, 3))
    keyframes, made = Keyframes((), ()), 0
    try:
        for emitted, keyframes in run_stream(task, panel):  # noqa: B007 - the last is given back
            for picture in emitted.pictures:
                frames[made] = torch.from_numpy(picture.copy()).float() / 255
                made += 1
    except BaseException:
        panel.stop(rescue(frames[:made], task), made, task.motion.footage)
        raise
    return frames, keyframes


def rescue(frames: torch.Tensor, task: SamplerRun) -> Path | None:
    """Saves the frames [F, S, S, 3] of a cancelled or failed run as a video in the output folder; returns its path.

    None if there are no frames, or they could not be saved, which is logged.
    """
    if not len(frames):
        return None
    try:
        path = new_output("video/PersonaLive_unfinished", ".mp4", (task.size, task.size))
        with VideoWriter(path, (task.size, task.size), WriteOptions(rate=task.motion.rate)) as writer:
            for index, frame in enumerate(frames):
                writer.write(to_picture(frame), task.motion.time(index), task.motion.duration(index))
    except (PersonaLiveError, OSError) as error:  # not raised: the user must see why the run ended
        _log.error("The frames made so far could not be saved: %s", error)
        return None
    _log.warning("The run ended early; its %d frames are in %s", len(frames), path)
    return path
