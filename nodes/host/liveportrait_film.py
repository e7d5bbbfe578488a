"""A source video for LivePortrait's nodes: read in a first pass, its pictures once more as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import comfy.utils

from ...personalive_core.backends.liveportrait.crops import SIDE, SOURCE_CROP, limited, limited_scale
from ...personalive_core.backends.liveportrait.finding import Finder
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.portrait import SourceFilm, read_film
from ...personalive_core.backends.liveportrait.stream import RenderedFrame, RenderOptions, animate_film, film_keypoints
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.errors import InputError
from ...personalive_core.faces.crop import Box, crop_by_hand
from ...personalive_core.faces.tracking import TrackOptions
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.times import times_of, usual_rate
from .faces import choice, parse_box
from .footage import DrivingFrames
from .liveportrait_motion import Shown, frames_of
from .liveportrait_source import FaceChoice, landmarker, live_face_detector, roomy
from .sockets import Footage, LoadedLivePortrait, Motion
from .sound import audible

SIDE_LIMIT = 1280  # pixels of the longer side, as published


@dataclass(frozen=True, eq=False)
class SourceVideo:
    """PERSONALIVE_SOURCE of a video."""

    film: SourceFilm
    opened: Callable[[], DrivingFrames]  # for another pass over the same frames
    whole: Picture  # [H, W, 3] the first frame as it is in the video
    limit: int  # pixels of the longer side to which larger frames are made smaller; 0: they stay as they are
    own: Motion  # that of `film`: times and sound

    def __len__(self) -> int:
        return len(self.film)

    def __repr__(self) -> str:
        return f"{len(self)} frames of a {self.whole.shape[1]}x{self.whole.shape[0]} video"

    @property
    def scale(self) -> float:
        """By how much the frames are resized before they are animated."""
        height, width = self.whole.shape[:2]
        return limited_scale(width, height, self.limit)

    @property
    def first(self) -> Picture:
        """The first frame [h, w, 3] as it is animated."""
        return limited(self.whole, self.limit)

    def pictures(self) -> Iterator[Picture]:
        """The frames [H, W, 3] once more."""
        again = self.opened()
        yield limited(again.first.image, self.limit)
        for frame in again.frames:
            yield limited(frame.image, self.limit)


@dataclass(frozen=True, eq=False)
class RetargetedFilm:
    """PERSONALIVE_KEYPOINTS of a source video: how a driving's motion moves its keypoints, found as they are drawn."""

    source: SourceVideo
    driving: ImplicitMotion
    how: RenderOptions
    motion: Motion  # the source's own, as long as the result, with the driving's file

    def __len__(self) -> int:
        return len(self.motion)

    def __repr__(self) -> str:
        return f"{len(self)} of {self.source!r}"

    def size(self, paste_back: bool) -> tuple[int, int]:
        """Width and height of the pictures in pixels."""
        height, width = self.source.first.shape[:2] if paste_back else (SIDE, SIDE)
        return width, height

    @property
    def sound(self) -> Footage | None:
        """Where the result's sound is: the driving's, or the source video's if it has none."""
        return audible(self.motion.footage, self.source.own.footage)

    def frames(self, model: LivePortrait, how: RenderOptions) -> Iterator[RenderedFrame]:
        """Yields the drawn frames. Raises as `animate_film`; InputError if the video has become shorter."""
        keypoints, drawn = film_keypoints(model, self.source.film, self.driving, how), 0
        pictures = self.source.pictures()
        with closing(pictures):
            for frame in animate_film(model, self.source.film, pictures, keypoints, how):
                yield frame
                drawn += 1
        if drawn < len(self):
            raise InputError(f"the source video had {len(self)} frames and now has {drawn}: run the workflow again")


def retargeted_film(source: SourceVideo, driving: ImplicitMotion, how: RenderOptions, motion: Motion) -> RetargetedFilm:
    """As many frames as the shorter of source and driving has, or all of the source for a driving picture."""
    count, own = len(source) if how.by_picture else min(len(source), len(driving)), source.own
    ticks = None if own.times is None else own.times[: count + 1]
    return RetargetedFilm(source, driving, how, Motion(own.frames[:count], own.rate, motion.footage, ticks=ticks))


def source_finder(model: LoadedLivePortrait, whole: Picture, limit: int, wanted: FaceChoice) -> Finder:
    """How the face is followed through a film whose first frame is `whole`, in its frames within `limit`.

    Raises InputError for an unknown choice or a box outside the picture, WeightsError if the detector is missing.
    """
    box = parse_box(wanted.face_box)
    if box is None:
        detector = live_face_detector(wanted.detector, limited(whole, limit))
        return Finder(detector, landmarker(model), TrackOptions(choice=choice(wanted.face)))
    crop_by_hand(box, whole.shape[:2], "face_box")  # refuses one outside the picture
    scale = limited_scale(whole.shape[1], whole.shape[0], limit)
    box = Box(*(edge * scale for edge in (box.left, box.top, box.right, box.bottom)))
    return Finder(None, landmarker(model), TrackOptions(manual=box))


def read_source_film(
    model: LoadedLivePortrait, opened: Callable[[], DrivingFrames], wanted: FaceChoice, missing: str, limit: int
) -> SourceVideo:
    """Reads a source video in a first pass, with a progress bar; no picture is kept.

    Raises ComfyUI's InterruptProcessingException at the next frame after the user pressed Cancel, FaceError if no frame
    has a face, or for a missing one if `missing` says so; InputError and WeightsError as `source_finder`.
    """
    source, shown = opened(), Shown()
    whole = source.first.image
    finder = source_finder(model, whole, limit, wanted)
    bar = comfy.utils.ProgressBar(max(source.total, 1))
    frames = (limited(picture, limit) for picture in frames_of(source, bar, shown))
    film = read_film(roomy(model), frames, finder, wanted.rule(SOURCE_CROP), missing)
    ticks = times_of(shown, source.rate)
    own = Motion(film.motion, usual_rate(source.rate, ticks), source.footage, ticks=ticks)
    return SourceVideo(film, opened, whole, limit, own)
