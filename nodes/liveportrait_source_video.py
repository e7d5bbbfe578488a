"""PrepareSourceVideo: a film whose face LivePortrait is to animate, read once and never held in memory."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.v0_0_2 import io

from .host.errors import readable
from .host.footage import open_frames
from .host.liveportrait_film import SIDE_LIMIT, read_source_film
from .host.liveportrait_picker import film_faces
from .host.liveportrait_source import FaceChoice, choice_inputs
from .host.panel import for_page
from .host.schema import schema
from .host.sockets import LivePortraitSocket, LoadedLivePortrait, SourceSocket, to_image
from .host.sound import sound_of
from .liveportrait_motion import POLICIES

NAME = "the source video"


class PrepareSourceVideo(io.ComfyNode):
    """Follows the face through a film and reads it for LivePortrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLivePrepareSourceVideo",
            display_name="Prepare Source Video (LivePortrait, PersonaLive)",
            description="Follows the face through a film whose face LivePortrait is to animate, and reads it. Reads "
            "the file frame by frame, so that length does not matter.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                io.MultiType.Input(
                    "video",
                    types=[io.Video, io.Image],
                    tooltip="The film whose face is animated: a VIDEO (for any length), or a batch of images.",
                ),
                *choice_inputs(),
                io.Combo.Input(
                    "missing_face",
                    options=POLICIES,
                    default="hold",
                    tooltip="What a frame without a face counts as: the face before (hold), a path between its "
                    "neighbours (interpolate), or an error. Nothing is pasted into it.",
                ),
                io.Float.Input(
                    "start", default=0.0, min=0.0, max=1e6, step=0.04, tooltip="Seconds of the film to leave out."
                ),
                io.Int.Input("count", default=0, min=0, max=10**7, tooltip="Most frames to take. 0: all."),
                io.Int.Input(
                    "longest_side",
                    default=SIDE_LIMIT,
                    min=0,
                    max=16384,
                    tooltip="Pixels of the longer side to which a larger film is made smaller. 0: it stays as it is.",
                ),
            ],
            outputs=[
                SourceSocket.Output("source", display_name="source", tooltip="For Retarget (LivePortrait)."),
                io.Image.Output("portrait", display_name="portrait", tooltip="The square of the first frame."),
                io.Float.Output(
                    "rate",
                    display_name="frame_rate",
                    tooltip="Frames a second of the film, for Create Video, or for the driving to be read at.",
                ),
                io.Audio.Output(
                    "audio",
                    display_name="audio",
                    tooltip="The film's sound for the part taken, for Create Video. Without sound: nothing.",
                ),
            ],
            has_intermediate_output=True,  # the face picker has its faces again after the page was reloaded
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        video: Any,
        detector: str,
        face: str,
        face_box: str,
        crop_scale: float,
        crop_x: float,
        crop_y: float,
        missing_face: str,
        start: float,
        count: int,
        longest_side: int,
    ) -> io.NodeOutput:
        opened = partial(open_frames, video, start, count, 0.0, NAME)
        wanted = FaceChoice(detector, face, face_box, crop_scale, crop_x, crop_y)
        source = read_source_film(model, opened, wanted, missing_face, longest_side)
        crop, own = source.film.crop(source.first, 0), source.own
        sound = sound_of(own.footage, own.time(len(own) - 1) + own.duration(len(own) - 1) - own.time(0))
        shown = for_page("personalive_faces", film_faces(model, source, wanted))
        return io.NodeOutput(source, to_image([crop.picture]), float(own.rate), sound, ui=shown)
