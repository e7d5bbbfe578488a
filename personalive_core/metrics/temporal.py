"""tLP: how unlike the result's change from frame to frame is to that of the film beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .pictures import Numbers, Pictures
from .types import FilmWindow

PictureDistance = Callable[[Pictures, Pictures], Numbers]  # pictures [F, H, W, 3] and the same -> [F]
PER_MILLE = 1000.0


def read_changes(window: FilmWindow, distance: PictureDistance) -> Numbers:
    """tLP of each frame [F]: 1000 |d(o before, o) - d(g before, g)| of result o and the film beside it, g.

    The film's first frame has none (NaN).
    """
    found = np.full(len(window), np.nan)
    films = [window.result, window.beside]
    if window.before is not None:
        films = [np.concatenate([last, film]) for last, film in zip(window.before, films, strict=True)]
    if len(films[0]) > 1:
        own, other = (distance(film[:-1], film[1:]) for film in films)
        found[len(found) - len(own) :] = PER_MILLE * np.abs(own - other)
    return found
