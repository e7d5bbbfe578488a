"""ExtractHybridMotion: the driving video's motion, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any

import comfy.utils
import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.animation.pipeline import MotionOptions, film_motion
from ..personalive_core.errors import InputError
from ..personalive_core.faces.crop import Box, crop_by_hand, crop_found, portrait_crop, whole_frame
from ..personalive_core.faces.detectors import detector_for, used_detector
from ..personalive_core.faces.tracking import TrackOptions
from ..personalive_core.media.picture import Picture
from ..personalive_core.media.video import Frame
from ..personalive_core.motion.gaps import MISSING_POLICIES
from ..personalive_core.motion.smoothing import pose_smoothing
from ..personalive_core.motion.times import time_at, times_of, usual_rate
from ..personalive_core.motion.types import HybridMotion, concat_motion
from .host.errors import readable
from .host.faces import boxes, choice, face_inputs, parse_box, yunet
from .host.footage import DrivingFrames, open_frames
from .host.memory import check_interrupt
from .host.panel import for_page
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
from .host.sound import sound_of
from .plot import plot
from .prepare import also_there, picker

MASK_SIDE = 64  # pixels a side of a mask in `valid`: all black or all white, so the size is free


class ExtractHybridMotion(io.ComfyNode):
    """Extracts the hybrid motion of a driving video, one frame at a time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExtractHybridMotion",
            display_name="Extract Hybrid Motion (PersonaLive)",
            description="Reads the motion of a driving video: head pose as 3-D keypoints, expression as an embedding. "
            "Reads the file frame by frame, so that length does not matter.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load PersonaLive."),
                io.MultiType.Input(
                    "driving",
                    types=[io.Video, io.Image],
                    tooltip="The video whose motion is taken: a VIDEO (for any length), or a batch of images.",
                ),
                *face_inputs(),
                io.Combo.Input(
                    "missing_face",
                    options=list(MISSING_POLICIES),
                    default="hold",
                    tooltip="What a frame without a face gets: the last motion (hold), a path between its neighbours "
                    "(interpolate), the reference's own (neutral; connect reference), or an error.",
                ),
                io.Float.Input(
                    "smoothing",
                    default=0.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="Against trembling: cutoff in Hz of a One-Euro filter, 1 is strong, 5 is light, 0 is off.",
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
                ReferenceSocket.Input("reference", optional=True, tooltip="Only for missing_face neutral."),
            ],
            outputs=[
                MotionSocket.Output(
                    "motion", display_name="motion", tooltip="One motion per frame, for Keypoint Interpolate."
                ),
                io.Mask.Output(
                    "valid",
                    display_name="valid",
                    is_output_list=True,
                    tooltip="One mask per frame: white where a face was found.",
                ),
                io.Image.Output(
                    "plot", display_name="plot", tooltip="Yaw, pitch, roll and novelty of the motion over time."
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
        model: LoadedModel,
        driving: Any,
        detector: str,
        face: str,
        face_box: str,
        missing_face: str,
        smoothing: float,
        start: float,
        count: int,
        frame_rate: float,
        reference: PreparedReference | None = None,
    ) -> io.NodeOutput:
        if missing_face == "neutral" and reference is None:
            raise InputError("missing_face neutral needs the reference: connect it, or choose hold")
        # the driving, and how it is read
        source = open_frames(driving, start, count, frame_rate)
        box = parse_box(face_box)
        first = source.first.image
        options = MotionOptions(
            detector=None if box else detector_for(detector, first, partial(yunet, model.weights)),
            track=TrackOptions(choice=choice(face), manual=box and crop_box(box, first)),
            missing=missing_face,
            smoothing=pose_smoothing(float(source.rate), smoothing),
        )
        # the motion, and its outputs
        frames, ticks = extract_frames(model, source, options, reference)
        black, white = torch.zeros(1, MASK_SIDE, MASK_SIDE), torch.ones(1, MASK_SIDE, MASK_SIDE)
        valid = [white if seen else black for seen in frames.valid.tolist()]  # only two masks in memory
        motion = Motion(frames, usual_rate(source.rate, ticks), source.footage, ticks=ticks)
        sound = sound_of(source.footage, time_at(ticks, len(frames)) - time_at(ticks, 0))
        shown = for_page("personalive_faces", first_faces(first, box, (detector, face), model))
        return io.NodeOutput(motion, valid, to_image([plot(motion)]), float(motion.rate), sound, ui=shown)


def first_faces(first: Picture, box: Box | None, choices: tuple[str, str], model: LoadedModel) -> dict[str, object]:
    """Data for the face picker: the driving's first frame, its faces, and the square that the first crop takes.

    `choices` are the options of the widgets detector and face.
    """
    detector, face = choices
    faces = also_there(first, detector, model.weights)
    looked = None if used_detector(detector, first) == "none" else faces
    crop = portrait_crop(box, first.shape[:2]) if box else crop_found(looked, choice(face), first.shape[:2])
    detects = {"detects": looked is not None}
    return {**picker(first, crop or whole_frame(first.shape[:2]), boxes(faces)), **detects}


def crop_box(face: Box, picture: Picture) -> Box:
    """The head-and-shoulders square around a face, as the fixed box that every frame is cropped to.

    Raises InputError if the face is outside the picture.
    """
    crop = crop_by_hand(face, picture.shape[:2], "face_box")
    return Box(crop.left, crop.top, crop.left + crop.size, crop.top + crop.size)


def extract_frames(
    model: LoadedModel, source: DrivingFrames, options: MotionOptions, reference: PreparedReference | None
) -> tuple[HybridMotion, torch.Tensor]:
    """Extracts the motion of all frames, with a progress bar; returns it with the frames' times [F + 1].

    Raises ComfyUI's InterruptProcessingException at the next frame after the user pressed Cancel.
    """
    bar = comfy.utils.ProgressBar(max(source.total, 1))
    shown: list[tuple[Fraction, Fraction | None]] = []

    def noted() -> Iterator[Frame]:
        for index, frame in enumerate(chain([source.first], source.frames)):
            check_interrupt()
            bar.update_absolute(index, max(source.total, index))
            shown.append((frame.time, frame.duration))
            yield frame

    neutral = reference.reference.motion if reference else None
    motion = concat_motion(film_motion(model.networks, noted(), options, neutral))
    return motion, times_of(shown, source.rate)
