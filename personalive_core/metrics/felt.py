"""What people see first: jitter of the face, drift of colours, loss of sharpness, and lips that are late."""

from __future__ import annotations

import numpy as np

from .pictures import Numbers, Pictures, lab
from .types import FilmWindow, Reading, averaged

EYES, CENTRE, LIPS = 0, slice(1, 3), 3  # of FACE_NUMBERS
FACE_NUMBERS = ("eye distance", "centre x", "centre y", "lip openness")  # pixels, but the last: height over width
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
DRIFT_START = 5  # frames whose mean colour is the start that drift is measured from
MOST_LAG = 10  # frames that lips may be early or late
LEAST_LIPS = 8  # frames with lips that a correlation needs
THOUSAND = 1000.0
_FLAT = 1e-12  # below this variance nothing moves


def mean_colours(pictures: Pictures) -> Numbers:
    """Mean colour [F, 3] of pictures [F, H, W, 3] in CIE Lab."""
    return np.asarray(lab(pictures.mean((1, 2)) / 255))


def sharpness(pictures: Pictures) -> Numbers:
    """Standard deviation [F] of the Laplacian of the luma, in 0..1, of pictures [F, H, W, 3]."""
    return np.array([_edges(picture).std() for picture in pictures])  # one by one: no batch changes a last bit


def _edges(picture: Pictures) -> Numbers:
    """Four neighbours less four times the pixel itself, [H - 2, W - 2]."""
    red, green, blue = np.moveaxis(picture.astype(np.float64) / 255, -1, 0)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    beside = luma[1:-1, :-2] + luma[1:-1, 2:] + luma[:-2, 1:-1] + luma[2:, 1:-1]
    return np.asarray(beside - 4 * luma[1:-1, 1:-1])


def read_colours(window: FilmWindow, of_reference: bool) -> Numbers:
    """[F, 2, 3]: mean colours of the result, and of the truth or (`of_reference`) the reference."""
    shown = mean_colours(window.result)
    return np.stack([shown, np.broadcast_to(mean_colours(_compared(window, of_reference)), shown.shape)], 1)


def read_sharpness(window: FilmWindow, of_reference: bool) -> Numbers:
    """[F, 2]: sharpness of the result, and of the truth or (`of_reference`) the reference."""
    shown = sharpness(window.result)
    return np.stack([shown, np.broadcast_to(sharpness(_compared(window, of_reference)), shown.shape)], 1)


def _compared(window: FilmWindow, of_reference: bool) -> Pictures:
    if of_reference:
        assert window.reference is not None  # cross-reenactment has one
        return window.reference
    return window.beside


def colour_error(colours: Numbers) -> Reading:
    """Delta E (CIE76) between the mean colours [F, 2, 3]."""
    return averaged(np.linalg.norm(colours[:, 0] - colours[:, 1], axis=-1))


def colour_drift(colours: Numbers) -> Reading:
    """How far, in Delta E, the difference of the mean colours [F, 2, 3] has moved since the first few frames."""
    off = colours[:, 0] - colours[:, 1]
    return averaged(np.linalg.norm(off - off[:DRIFT_START].mean(0), axis=-1))


def sharpness_ratio(levels: Numbers) -> Reading:
    """Sharpness of the result over that beside it, of [F, 2]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = levels[:, 0] / levels[:, 1]
    return averaged(np.where(np.isfinite(ratio), ratio, np.nan))


def shake(places: Numbers) -> Numbers:
    """Length of the second difference of places [F, D], over the root of 6: [F], NaN at both ends.

    Steady motion has none. Places that are off by independent errors of variance v have a mean square of D v.
    """
    found = np.full(len(places), np.nan)
    found[1:-1] = np.linalg.norm(places[2:] - 2 * places[1:-1] + places[:-2], axis=-1) / np.sqrt(6)
    return found


def jitter(faces: Numbers, column: int | slice) -> Reading:
    """Shake of a column of faces [F, 2, 4] in thousandths of the mean eye distance: the result's less the other's."""
    shakes = []
    for film in (faces[:, 0], faces[:, 1]):
        if not np.isfinite(film[:, EYES]).any():
            return Reading(np.nan, np.full(len(faces), np.nan), "no face was found in one of the films")
        places = film[:, column].reshape(len(film), -1)
        shakes.append(THOUSAND * shake(places) / np.nanmean(film[:, EYES]))
    if not np.isfinite(shakes[0] - shakes[1]).any():
        return Reading(np.nan, np.full(len(faces), np.nan), "no three frames with a face follow each other")
    return averaged(shakes[0] - shakes[1])


def correlation(a: Numbers, b: Numbers) -> float:
    """Pearson's correlation of a [N] and b [N], exactly 1 for equal ones; NaN where one of them does not move."""
    a, b = a - a.mean(), b - b.mean()
    own, other = (a * a).sum(), (b * b).sum()
    return float("nan") if min(own, other) < _FLAT * len(a) else float((a * b).sum() / np.sqrt(own * other))


def lip_sync(faces: Numbers) -> Reading:
    """Correlation of the openness of the lips, of faces [F, 2, 4]: the result's with the other's, frame by frame."""
    lips = _lips(faces, 0)
    if len(lips) < LEAST_LIPS:
        return Reading(np.nan, None, _few(lips))
    value = correlation(*lips.T)
    return Reading(value, None, "" if np.isfinite(value) else "the lips of one of the films do not move")


def lip_lag(faces: Numbers) -> Reading:
    """Frames by which the result's lips come after the other's: where the correlation is highest, within MOST_LAG."""
    most = min(MOST_LAG, len(faces) // 4)
    found = {}
    for lag in sorted(range(-most, most + 1), key=abs):  # of equal ones the nearest
        lips = _lips(faces, lag)
        if len(lips) >= LEAST_LIPS and np.isfinite(value := correlation(*lips.T)):
            found[lag] = value
    if not found:
        lips = _lips(faces, 0)
        return Reading(np.nan, None, _few(lips) if len(lips) < LEAST_LIPS else "the lips do not move")
    return Reading(float(max(found, key=lambda lag: found[lag])))


def _few(lips: Numbers) -> str:
    return f"lips were seen in {len(lips)} frames of both films, {LEAST_LIPS} are needed"


def _lips(faces: Numbers, lag: int) -> Numbers:
    """[N, 2]: openness in the result `lag` frames after that beside it, where both are seen."""
    shown, true = faces[max(lag, 0) :, 0, LIPS], faces[max(-lag, 0) :, 1, LIPS]
    count = min(len(shown), len(true))
    pairs = np.stack([shown[:count], true[:count]], 1)
    return np.asarray(pairs[np.isfinite(pairs).all(1)])
