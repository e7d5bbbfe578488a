"""Prepares clips of drawn people for training, cached on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import extract_shape, face_boxes, is_face
from ..drawn.canvas import FaceMotion
from ..drawn.truth import (
    TOKEN_DIM,
    TOKENS,
    Split,
    Style,
    canonical_keypoints,
    clip_hands,
    clip_motion,
    draw,
    draw_crossed,
    expression,
    expression_code,
    head_pose,
    hidden_landmarks,
    journey_motion,
    landmarks,
    person,
)
from ..errors import InputError
from ..media.tensors import to_signed
from ..modules.keypoints import pose_keypoints
from ..modules.layers import concatenated_positions
from ..motion.types import HybridMotion
from .data import CLIP_SUFFIX, Clip, save_clip
from .files import make_folder
from .regions import hidden_features

ACTORS = 1_000_000  # the actor of person n is person n + ACTORS of the split
PART = 8  # clips that a process draws in one go


def facial_code(numbers: Tensor) -> Tensor:
    """Expression numbers [F, E] -> facial embeddings [F, 32, 16], the first training target of the small encoder."""
    return expression_code(numbers, concatenated_positions(torch.arange(TOKENS), TOKEN_DIM))


@dataclass(frozen=True)
class Drawing:
    """Settings of drawn clips."""

    size: int  # pixels a side
    frames: int = 16  # per clip
    stride: int = 1  # motion frames from one frame of the clip to the next
    style: Style = "photo"
    actors: bool = False  # each clip has a second person too, in exactly the same motion
    journeys: bool = False  # longer films, with turns, leaving and coming back; False: short talk


def drawn_clip(split: Split, index: int, drawing: Drawing) -> Clip:
    """One clip of a drawn person, with the exact motion, canonical keypoints and landmarks of each frame."""
    frames, stride = drawing.frames, drawing.stride
    moving = journey_motion if drawing.journeys else clip_motion
    who, motions = person(split, index), moving(split, index, frames * stride)[::stride]
    pose, canonical = head_pose(motions), canonical_keypoints(who)[None].expand(frames, -1, -1)
    keypoints = pose_keypoints(canonical, pose)
    box = face_boxes(keypoints, drawing.size).float()
    valid = is_face(box, drawing.size) if drawing.journeys else torch.ones(frames, dtype=torch.bool)
    motion = HybridMotion(facial_code(expression(motions)), keypoints, pose, box, valid)
    pictures = torch.from_numpy(draw(who, motions, drawing.size, drawing.style))
    clip = Clip(pictures, motion, canonical.clone(), landmarks(who, motions))
    return with_actor(clip, split, index, motions, drawing) if drawing.actors else clip


def with_actor(clip: Clip, split: Split, index: int, motions: Sequence[FaceMotion], drawing: Drawing) -> Clip:
    """`clip` with a second person who does the same, frame by frame: pictures, face boxes, landmarks, keypoints.

    In the style fine, hands cross before the actor in some frames, never before the clip's own person: see drawn/hands.
    """
    actor = person(split, ACTORS + index)
    keypoints = pose_keypoints(canonical_keypoints(actor)[None].expand(len(motions), -1, -1), head_pose(motions))
    box, hidden = face_boxes(keypoints, drawing.size).float(), None
    if drawing.style == "fine":
        hands = clip_hands(split, index, drawing.frames * drawing.stride)[:: drawing.stride]
        pictures = draw_crossed(actor, motions, hands, drawing.size)
        hidden = hidden_features(hidden_landmarks(actor, motions, hands))
    else:
        pictures = draw(actor, motions, drawing.size, drawing.style)
    marks = landmarks(actor, motions)
    drawn = replace(clip, actors=torch.from_numpy(pictures), actor_box=box, actor_landmarks=marks)
    return replace(drawn, actor_hidden=hidden, actor_keypoints=keypoints)


def as_seen(clip: Clip, model: PersonaLive) -> Clip:
    """`clip` with the motion that the model's networks read from its pictures, with the errors of inference."""
    motion, canonical = extract_shape(model, to_signed(clip.pictures.numpy()))
    return replace(clip, motion=motion, canonical=canonical)


def prepare_drawn(
    folder: Path, split: Split, clips: range, drawing: Drawing, model: PersonaLive | None = None, workers: int = 0
) -> None:
    """Draws `clips` into `folder`, one file each; existing files are kept.

    With a `model`, its networks read the motion (see `as_seen`). Without one, `workers` processes share the clips; 0:
    this process draws. Raises OutputError, and as `drawing_pool` does.
    """
    make_folder(folder)
    if workers and model is None:
        with drawing_pool(workers) as pool:
            for done in [pool.submit(prepare_drawn, folder, split, part, drawing) for part in parts_of(clips)]:
                done.result()
        return
    for index in clips:
        path = folder / f"{split}_{index:06d}{CLIP_SUFFIX}"
        if not path.exists():
            clip = drawn_clip(split, index, drawing)
            save_clip(path, as_seen(clip, model) if model else clip)


def parts_of(clips: range) -> list[range]:
    """`clips` in parts of PART: a process whose caller was killed ends after the few that wait for it."""
    return [clips[first : first + PART] for first in range(0, len(clips), PART)]


@contextmanager
def drawing_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """`workers` processes that draw; what still waits when the pool is left is not drawn.

    Raises InputError if one of them is killed, as a machine without memory does.
    """
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), drawing_alone) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    except BrokenProcessPool as error:
        raise InputError(
            "a process that drew clips was killed, for which the usual reason is too little memory: run the same "
            "command again, which keeps what was drawn, with fewer --workers"
        ) from error


def drawing_alone() -> None:
    """A drawing process uses one thread: there is one process for each core."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
