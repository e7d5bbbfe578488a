"""Prepares clips of real videos: crops the face as in driving videos, extracts its motion, and saves the clips."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ..animation.driving import DrivingClip, open_driving
from ..animation.engine import Engine
from ..animation.pipeline import MotionOptions
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import extract_shape
from ..errors import InputError
from ..faces.tracking import TrackOptions, crop_frames
from ..media.files import whole_file
from ..media.folder import folder_files
from ..media.tensors import to_signed
from ..media.video import VIDEO_SUFFIXES
from ..motion.types import concat_motion
from .data import CLIP_SUFFIX, Clip, save_clip
from .files import LONE_SURROGATE, make_folder

LEDGER = "videos.json"  # lists the videos that are done; lies in the folder of their clips
# a crop changes person only after this many frames without the first one; a longer stride could skip that gap
LARGEST_STRIDE = TrackOptions.patience
NAMED = 40  # characters of a video's name in the names of its clips
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """Settings of clips from videos."""

    size: int  # pixels a side
    frames: int = 16  # per clip
    stride: int = 1  # video frames from one frame of the clip to the next
    detector: str = "auto"  # as for driving videos; auto: none for square pictures, yunet for others


@dataclass(frozen=True)
class Prepared:
    """The clips from a folder of videos, those of earlier calls included."""

    clips: Mapping[str, int]  # number of clips by video
    left_out: Mapping[str, str]  # reason by video


def prepare_videos(videos: Path, engine: Engine, output: Path, cut: Cut, quiet: bool = False) -> Prepared:
    """Writes the clips of every video below the folder `videos` into `output`; skips videos that are already done.

    Raises InputError where no video gives a clip or `output` holds clips of another `Cut`; also WeightsError and
    OutputError.
    """
    from tqdm import tqdm

    found = folder_files(videos, VIDEO_SUFFIXES, "video", deep=True)
    paths = {path.relative_to(videos).as_posix(): path for path in found}
    done = _read_ledger(make_folder(output) / LEDGER, cut)
    engine.require()
    model, broken = engine.load(), dict[str, str]()
    with tqdm(sorted(paths.keys() - done.keys()), "prepare", unit=" videos", disable=quiet) as bar:
        for name in bar:
            try:
                done[name] = _prepare(paths[name], _place(output, name), model, engine.weights, cut)
            except InputError as error:
                _log.warning("%s is left out: %s", name, error)
                broken[name] = str(error)
            else:
                _write_ledger(output / LEDGER, cut, done)
    clips = {name: count for name, count in done.items() if count}
    faceless = dict.fromkeys(done.keys() - clips.keys(), f"no {cut.frames} frames in a row show one person's face")
    left_out = dict(sorted({**broken, **faceless}.items()))
    if not clips:
        name, reason = next(iter(left_out.items()))
        raise InputError(f"none of the videos in {videos} gave a clip; the first of them, {name}: {reason}")
    return Prepared(clips, left_out)


def clips_of(model: PersonaLive, frames: Iterator[np.ndarray], options: MotionOptions, cut: Cut) -> Iterator[Clip]:
    """Yields the clips of one video's frames [H, W, 3] uint8; a frame without a face drops the unfinished clip."""
    kept: list[Clip] = []
    for frame in _singles(model, frames, options, cut.stride):
        kept = [*kept, frame] if bool(frame.motion.valid) else []
        if len(kept) == cut.frames:
            yield _joined(kept)
            kept = []


def _singles(model: PersonaLive, frames: Iterator[np.ndarray], options: MotionOptions, stride: int) -> Iterator[Clip]:
    """Yields every `stride`-th frame as a clip of one frame; the crop follows the face through all frames."""
    cropped = islice(crop_frames(frames, options.size, options.detector, options.track), 0, None, stride)
    while window := list(islice(cropped, options.window)):
        pictures = np.stack([item.picture for item in window])
        motion, canonical = extract_shape(model, to_signed(pictures))
        motion = replace(motion, valid=motion.valid & torch.tensor([item.found for item in window]))
        for i in range(len(window)):
            yield Clip(torch.from_numpy(pictures[i : i + 1]), motion[i : i + 1], canonical[i : i + 1])


def _joined(frames: list[Clip]) -> Clip:
    return Clip(
        torch.cat([frame.pictures for frame in frames]),
        concat_motion([frame.motion for frame in frames]),
        torch.cat([frame.canonical for frame in frames]),
    )


def _prepare(video: Path, place: Path, model: PersonaLive, weights: Path, cut: Cut) -> int:
    """Writes the clips of one video and returns their number; their paths begin with `place`.

    Clips that an interrupted call left there are deleted: it may have had another `Cut`.
    """
    for older in place.parent.glob(f"{glob.escape(place.name)}_*{CLIP_SUFFIX}"):
        older.unlink()
    driving = open_driving(DrivingClip(video, detector=cut.detector), cut.size, weights)
    frames = (frame.image for frame in driving.read())
    count = 0
    for clip in clips_of(model, frames, driving.options, cut):
        save_clip(place.with_name(f"{place.name}_{count:05d}{CLIP_SUFFIX}"), clip)
        count += 1
    return count


def _place(output: Path, name: str) -> Path:
    """The start of a video's clip paths; the digest separates videos of the same name in different folders.

    Clips are read again by safetensors, which takes UTF-8 names only.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return output / f"{re.sub(LONE_SURROGATE, '_', Path(name).stem[:NAMED])}_{digest}"


def _read_ledger(path: Path, cut: Cut) -> dict[str, int]:
    """Number of clips by video. Raises InputError for a damaged file, or for clips of another `Cut`."""
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        before, done = Cut(**read["cut"]), dict(read["clips"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged: delete it, and the videos are prepared again") from error
    if before != cut:
        raise InputError(f"{path.parent} holds clips of {before}, not of {cut}: give another --output")
    return done


def _write_ledger(path: Path, cut: Cut, done: Mapping[str, int]) -> None:
    with whole_file(path, (".json",)) as partial:
        partial.write_text(json.dumps({"cut": asdict(cut), "clips": done}, indent=1), encoding="utf-8")
