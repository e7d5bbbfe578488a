"""ExtractHunyuanMotion: reads the motion of a driving for HunyuanPortrait, once for many pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.hunyuan.types import PORTRAIT_SIDE
from ..personalive_core.motion.times import time_at
from .host.errors import readable
from .host.faces import CHOICES, LARGEST, choice
from .host.footage import open_frames
from .host.hunyuan import NO_HUNYUAN_YUNET, motion_of_film
from .host.liveportrait_source import live_face_detector
from .host.schema import schema
from .host.sockets import HunyuanSocket, LoadedHunyuan, MotionSocket
from .host.sound import sound_of
from .liveportrait_motion import part_inputs


class ExtractHunyuanMotion(io.ComfyNode):
    """Reads the motion of a driving for HunyuanPortrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveExtractHunyuanMotion",
            display_name="Extract Motion (HunyuanPortrait, PersonaLive)",
            description="Reads the motion of a driving video for HunyuanPortrait, once for many pictures: head angles, "
            "expression, and how strongly they move. For research only.",
            inputs=[
                HunyuanSocket.Input("model", tooltip="From Load HunyuanPortrait."),
                io.MultiType.Input(
                    "driving",
                    types=[io.Video, io.Image],
                    tooltip="The video whose motion is taken: a VIDEO (for any length), or a batch of images.",
                ),
                io.Combo.Input(
                    "face",
                    options=list(CHOICES),
                    default=LARGEST,
                    tooltip="Whose face in the driving, when there are several: that person is followed.",
                ),
                *part_inputs(),
                io.Int.Input(
                    "size",
                    default=PORTRAIT_SIDE,
                    min=64,
                    max=1024,
                    step=64,
                    tooltip="Pixels a side that the head is read at: size of the sampler. Made for 512.",
                ),
            ],
            outputs=[
                MotionSocket.Output(
                    "motion", display_name="motion", tooltip="For HunyuanPortrait Sample, Save Motion and Motion Plot."
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
        model: LoadedHunyuan,
        driving: Any,
        face: str,
        missing_face: str,
        start: float,
        count: int,
        frame_rate: float,
        size: int,
    ) -> io.NodeOutput:
        source = open_frames(driving, start, count, frame_rate)
        detector = live_face_detector("yunet", source.first.image, NO_HUNYUAN_YUNET)
        assert detector is not None
        motion = motion_of_film(model.networks, source, missing_face, detector, (choice(face), size))
        ticks = motion.ticks
        assert ticks is not None
        sound = sound_of(source.footage, time_at(ticks, len(motion)) - time_at(ticks, 0))
        return io.NodeOutput(motion, float(motion.rate), sound)
