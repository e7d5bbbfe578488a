"""Motion becomes pictures, in pieces: keypoints, rendering, pasting back; any length, as many frames out as in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...device import results_behind
from ...errors import InputError
from ...media.ahead import ahead, in_turn
from ...media.picture import Picture
from ...motion.gaps import in_windows
from ..personalive.pictures import begin_pictures
from .animation import (
    AnimationOptions,
    animate_animal,
    animate_by_picture,
    animate_picture,
    animate_video,
    animate_video_by_picture,
)
from .driving import unknown_openness, with_openness
from .model import LivePortrait
from .motion import unit_pictures
from .pasting import prepare_live_paste
from .portrait import WINDOW, SourceFilm, SourcePortrait
from .types import ImplicitMotion, LiveSource

_T = TypeVar("_T")


@dataclass(frozen=True)
class RenderOptions:
    """How motion becomes pictures. Raises InputError for what animals do not have: a KJ mode, open eyes and lips."""

    animation: AnimationOptions = field(default_factory=AnimationOptions)
    animal: bool = False  # the source is an animal, the networks are those for animals
    by_picture: bool = False  # the driving is one picture, not a film
    paste: bool = False  # results are the whole source pictures; else the crops [512, 512, 3]

    def __post_init__(self) -> None:
        if self.animal and self.animation.kj is not None:
            raise InputError("animals take all of a person's motion as it is: leave the KJ mode out")
        if self.animal and any(_needed_openness(self.animation).values()):
            raise InputError(
                "how open an animal's eyes and lips are is not known: leave them as they are, with eyes, lips, close "
                "lips and even eyes off"
            )


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """The result for one frame."""

    picture: Picture  # [H, W, 3]
    valid: bool  # False where the driving or the source video had no face


def animate_portrait(
    model: LivePortrait, portrait: SourcePortrait, motions: Iterable[ImplicitMotion], options: RenderOptions
) -> Iterator[RenderedFrame]:
    """Animates a source picture with driving motion, frame for frame; memory does not grow with their number.

    Raises InputError if openness is asked for and not known, NumericalError for NaN or black pictures.
    """
    check_openness(portrait.source.motion, options.animation)
    source = portrait.source.to(model.device, model.dtype)
    own, paste = source.motion.keypoints, None
    if options.paste:
        paste = prepare_live_paste(portrait.whole, portrait.crop.matrix)

    def begun() -> Iterator[Callable[[], tuple[ImplicitMotion, NDArray[np.uint8]]]]:
        for motion, keypoints in portrait_keypoints(model, source.motion, motions, options):
            read = begin_pictures(model.render(source.volume, own, keypoints), model.dtype, torch.trunc)
            yield partial(_read_beside, motion, read)

    for motion, pictures in in_turn(begun(), results_behind(model.device)):
        for picture, valid in zip(pictures, motion.valid.tolist(), strict=True):
            yield RenderedFrame(paste(picture) if paste else picture, valid)


def drawn_square(model: LivePortrait, source: LiveSource, keypoints: Tensor) -> Picture:
    """The square [512, 512, 3] of a source picture [1] at `keypoints` [1, 21, 3].

    Raises NumericalError as `animate_portrait`.
    """
    pixels = model.render(source.volume, source.motion.keypoints, keypoints)
    picture: Picture = begin_pictures(pixels, model.dtype, torch.trunc)()[0]
    return picture


def portrait_keypoints(
    model: LivePortrait, source: ImplicitMotion, motions: Iterable[ImplicitMotion], options: RenderOptions
) -> Iterator[tuple[ImplicitMotion, Tensor]]:
    """Pieces of the driving's motion, and where each puts the keypoints [F, 21, 3] of the source picture [1]."""
    how, first = options.animation, None
    for motion in in_windows(with_openness(motions, how.eyes, how.lips), WINDOW):
        first = motion[:1] if first is None else first
        if options.animal:
            moved = animate_animal(source, motion, None if options.by_picture else first, model, how)
        elif options.by_picture:
            moved = animate_by_picture(source, motion, model, how)
        else:
            moved = animate_picture(source, motion, first, model, how)
        yield motion, moved


def film_keypoints(model: LivePortrait, film: SourceFilm, driving: ImplicitMotion, options: RenderOptions) -> Tensor:
    """Where the keypoints [F, 21, 3] of a source video go: the shorter of both, or all of it for a driving picture."""
    check_openness(film.motion, options.animation)
    how = options.animation
    driving = next(with_openness([driving], how.eyes, how.lips))
    animate = animate_video_by_picture if options.by_picture else animate_video
    return animate(film.motion, driving, model, how)


def animate_film(
    model: LivePortrait, film: SourceFilm, frames: Iterable[Picture], keypoints: Tensor, options: RenderOptions
) -> Iterator[RenderedFrame]:
    """Animates a source video, whose `frames` [H, W, 3] are read a second time, to `keypoints` [F, 21, 3].

    A frame without a face is pasted into by nothing: it stays as it is. Raises NumericalError as `animate_portrait`.
    """
    own, source, index = film.motion.keypoints, iter(frames), 0

    def cropped() -> Iterator[tuple[int, list[Picture], Tensor]]:
        for begin in range(0, len(keypoints), WINDOW):
            window = list(islice(source, len(keypoints[begin : begin + WINDOW])))
            if not window:
                return
            crops = [film.crop(frame, begin + place) for place, frame in enumerate(window)]
            yield begin, window, unit_pictures([crop.small for crop in crops])

    with closing(ahead(cropped(), 1)) as parts:

        def begun() -> Iterator[Callable[[], tuple[list[Picture], NDArray[np.uint8]]]]:
            for begin, window, crops in parts:
                part = slice(begin, begin + len(window))
                pixels = model.render(model.appearance(crops), own[part], keypoints[part])
                yield partial(_read_beside, window, begin_pictures(pixels, model.dtype, torch.trunc))

        for window, pictures in in_turn(begun(), results_behind(model.device)):
            for frame, picture in zip(window, pictures, strict=True):
                result = _pasted(frame, picture, film, index) if options.paste else picture
                yield RenderedFrame(result, bool(film.motion.valid[index]))
                index += 1


def check_openness(source: ImplicitMotion, how: AnimationOptions) -> None:
    """Raises InputError if the options need the openness of the source's eyes or lips, and it is not known."""
    for name, asked in _needed_openness(how).items():
        if asked and not bool(getattr(source, name).isfinite().all()):
            raise InputError(unknown_openness(name, "source's"))


def _needed_openness(how: AnimationOptions) -> dict[str, bool]:
    """Whether the openness of the source's eyes and of its lips is needed."""
    return {"eyes": how.eyes or how.even_eyes, "lips": how.lips or how.closes_lips}


def _read_beside(beside: _T, read: Callable[[], NDArray[np.uint8]]) -> tuple[_T, NDArray[np.uint8]]:
    return beside, read()


def _pasted(frame: Picture, picture: Picture, film: SourceFilm, index: int) -> Picture:
    return prepare_live_paste(frame, film.matrices[index])(picture) if bool(film.motion.valid[index]) else frame
