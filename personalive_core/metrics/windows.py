"""Reads two films side by side, a window at a time; films of different lengths or sizes are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from ..errors import InputError
from .pictures import Pictures
from .types import FilmWindow

CLIP_FRAMES = 16  # frames held at once; as many as a clip of FVD


def side_by_side(
    result: Iterable[Pictures], beside: Iterable[Pictures], name: str, other: str, reference: Pictures | None = None
) -> Iterator[FilmWindow]:
    """Yields windows of CLIP_FRAMES frames (the last may be shorter) of two films of pictures [H, W, 3].

    `name` and `other` are what messages call them; `reference` is [H, W, 3]. Memory is O(window). Raises InputError
    where a film is empty, where one ends before the other, and where the size of a film's pictures changes.
    """
    films = iter(result), iter(beside)
    portrait = None if reference is None else reference[None]
    done, before = 0, None
    while True:
        shown, true = (list(islice(film, CLIP_FRAMES)) for film in films)
        if len(shown) != len(true):
            raise _unequal(done + len(shown), done + len(true), films, (name, other))
        if not shown:
            break
        window = FilmWindow(done, _stacked(shown, name), _stacked(true, other), portrait, before)
        yield window
        done, before = done + len(shown), (window.result[-1:], window.beside[-1:])
    if not done:
        raise InputError(f"{name} has no frame to measure: choose another film")


def _stacked(pictures: list[Pictures], name: str) -> Pictures:
    if len({picture.shape for picture in pictures}) > 1:
        raise InputError(f"the pictures of {name} change their size: give --size, which makes them equal")
    return np.stack(pictures)


def _unequal(
    shown: int, true: int, films: tuple[Iterator[Pictures], Iterator[Pictures]], names: tuple[str, str]
) -> InputError:
    counts = [count + sum(1 for _ in film) for count, film in zip((shown, true), films, strict=True)]
    return InputError(
        f"{names[0]} has {counts[0]} frames and {names[1]} {counts[1]}, which cannot be compared frame by frame: make "
        "them equally long, or give --first N to measure the first N of both"
    )


def same_size(window: FilmWindow, name: str, other: str) -> FilmWindow:
    """`window`. Raises InputError unless both films have pictures of one size."""
    (height, width), (high, wide) = window.result.shape[1:3], window.beside.shape[1:3]
    if (height, width) != (high, wide):
        raise InputError(
            f"{name} is {width}x{height} pixels and {other} {wide}x{high}, which cannot be compared pixel by pixel: "
            "give --size, which makes them equal"
        )
    return window
