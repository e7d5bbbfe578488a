"""All measures of a task, in the order of the table: each with its reader, or with the reason why it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from ..metrics.felt import (
    CENTRE,
    EYES,
    colour_drift,
    colour_error,
    jitter,
    lip_lag,
    lip_sync,
    read_colours,
    read_sharpness,
    sharpness_ratio,
)
from ..metrics.pictures import Numbers, l1, psnr, ssim, unit
from ..metrics.temporal import PictureDistance, read_changes
from ..metrics.types import Best, FilmWindow, Metric, MetricTask, Reader, Reading, averaged
from ..metrics.vectors import cosine, frechet_distance, mean_distance, pose_distance
from ..metrics.windows import CLIP_FRAMES
from .judges.clips import open_i3d
from .judges.dlib_faces import open_dlib_identity
from .judges.identity import arcface_judge, open_sface
from .judges.mediapipe_faces import open_mediapipe_expression
from .judges.perceptual import BACKBONE_NAMES, open_lpips
from .judges.points import open_points
from .judges.pose import open_pose
from .judges.types import JudgeOptions, OpenedJudge, PerPicture

_FunctionT = TypeVar("_FunctionT")
Compare = Callable[[Numbers, Numbers], Numbers]
_SMIRK = "SMIRK is in no package, and its FLAME model needs a registration"
_NEEDS_TRUTH, _NEEDS_REFERENCE = "needs the true film: give --truth", "needs a portrait: give --reference"
LEAST_CLIPS = 2  # that a covariance needs


@dataclass(frozen=True, eq=False)
class Judges:
    """The opened networks, or why each is missing."""

    lpips: OpenedJudge[PictureDistance]
    backbone: str
    identities: Mapping[str, OpenedJudge[PerPicture]]  # by what follows ID-SIM in the title; "" is the paper's own
    pose: OpenedJudge[PerPicture]
    expression: OpenedJudge[PerPicture]
    clips: OpenedJudge[PerPicture]
    points: OpenedJudge[PerPicture]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The measures of a task, and the readers that they name."""

    measures: tuple[Metric, ...]
    readers: Mapping[str, Reader]


def open_judges(options: JudgeOptions) -> Judges:
    """Opens every network that is there. Raises WeightsError for a damaged file, InputError for an unknown choice."""
    return Judges(
        lpips=open_lpips(options),
        backbone=BACKBONE_NAMES[options.backbone],
        identities={"": arcface_judge(options), "dlib": open_dlib_identity(), "SFace": open_sface(options)},
        pose=open_pose(options.weights),
        expression=open_mediapipe_expression(options.mediapipe),
        clips=open_i3d(options.i3d),
        points=open_points(options),
    )


@dataclass(frozen=True, eq=False)
class _Row:
    measure: Metric
    read: Reader | None = None


def catalogue(task: MetricTask, judges: Judges, has_reference: bool) -> Catalogue:
    """The measures of self- or cross-reenactment; without a reference those that compare with it are missing."""
    rows = [
        *_fidelity(task),
        *_perceptual(task, judges),
        *_identity(judges, has_reference),
        *_motion(judges),
        *_felt(task, judges.points),
    ]
    readers = {row.measure.reader: row.read for row in rows if row.read is not None}
    return Catalogue(tuple(row.measure for row in rows), readers)


def _judged(
    judge: OpenedJudge[_FunctionT], measure: Metric, read: Callable[[_FunctionT], Reader], missing: str = ""
) -> _Row:
    """The row of a measure that needs a network, or other inputs that are `missing`."""
    if missing or isinstance(judge, str):
        return _Row(replace(measure, missing=missing or str(judge)))
    return _Row(replace(measure, origin=judge.origin), read(judge.run))


def _fidelity(task: MetricTask) -> Iterator[_Row]:
    """Against the true frames, which cross-reenactment has not."""
    columns: tuple[tuple[str, str, Best], ...] = (
        ("l1", "L1", "least"),
        ("psnr", "PSNR (dB)", "most"),
        ("ssim", "SSIM", "most"),
    )
    for number, (key, title, wanted) in enumerate(columns):
        finish = partial(_column, column=number)
        measure = Metric(key, title, wanted, "pixels", finish, missing=_truth(task))
        yield _Row(measure, None if measure.missing else read_fidelity)


def read_fidelity(window: FilmWindow) -> Numbers:
    """L1, PSNR and SSIM of each frame, [F, 3]; one by one, as SSIM takes many times the memory of its pictures."""
    pairs = ((unit(a[None]), unit(b[None])) for a, b in zip(window.result, window.beside, strict=True))
    return np.array([[float(measure(shown, true)) for measure in (l1, psnr, ssim)] for shown, true in pairs])


def _perceptual(task: MetricTask, judges: Judges) -> Iterator[_Row]:
    name = judges.backbone
    lpips = Metric("lpips", f"LPIPS ({name})", "least", "lpips", averaged)
    yield _judged(judges.lpips, lpips, lambda d: lambda w: d(w.result, w.beside), _truth(task))
    tlp = Metric("tlp", f"tLP ({name})", "least", "tlp", averaged, digits=2)
    yield _judged(judges.lpips, tlp, lambda d: partial(read_changes, distance=d))


def _identity(judges: Judges, has_reference: bool) -> Iterator[_Row]:
    for name, judge in judges.identities.items():
        key, title = f"id_sim_{name.lower()}".rstrip("_"), f"ID-SIM ({name})" if name else "ID-SIM"
        measure = Metric(key, title, "most", key, averaged)
        yield _judged(
            judge, measure, lambda run: partial(read_likeness, describe=run), "" if has_reference else _NEEDS_REFERENCE
        )


def read_likeness(window: FilmWindow, describe: PerPicture) -> Numbers:
    """Cosine [F] of what `describe` says of the result's faces and of the reference's."""
    assert window.reference is not None  # the catalogue has this reader only with a reference
    return cosine(describe(window.result), describe(window.reference))


def _motion(judges: Judges) -> Iterator[_Row]:
    def compare(distance: Compare) -> Callable[[PerPicture], Reader]:
        return lambda run: lambda window: distance(run(window.result), run(window.beside))

    apd = Metric("apd", "APD", "least", "apd", averaged, digits=4)
    yield _judged(judges.pose, apd, compare(pose_distance))
    yield _Row(Metric("aed", "AED", "least", missing=_SMIRK))
    aed = Metric("aed_mediapipe", "AED (MediaPipe)", "least", "aed", averaged)
    yield _judged(judges.expression, aed, compare(mean_distance))
    fvd = Metric("fvd", "FVD", "least", "fvd", pooled=frechet_of_clips, digits=1)
    yield _judged(judges.clips, fvd, lambda run: partial(read_clip_features, describe=run))


def read_clip_features(window: FilmWindow, describe: PerPicture) -> Numbers:
    """[1, 2, D]: the features of the window as a clip, of both films; [0, 2, 1] for the shorter one at the end."""
    if len(window) < CLIP_FRAMES:
        return np.empty((0, 2, 1))
    return np.stack([describe(window.result), describe(window.beside)], 1)


def frechet_of_clips(films: Sequence[Numbers]) -> Reading:
    """FVD of all clips of all films, [N, 2, D] each."""
    clips = [film for film in films if len(film)]
    count = sum(map(len, clips))
    if count < LEAST_CLIPS:
        return Reading(np.nan, None, f"needs {LEAST_CLIPS} clips of {CLIP_FRAMES} frames, got {count}")
    both = np.concatenate(clips)
    return Reading(frechet_distance(both[:, 0], both[:, 1]), None, f"of {count} clips of {CLIP_FRAMES} frames")


def _felt(task: MetricTask, points: OpenedJudge[PerPicture]) -> Iterator[_Row]:
    of_reference = task == "cross"
    colours, sharp = (partial(read, of_reference=of_reference) for read in (read_colours, read_sharpness))
    yield _Row(Metric("colour", "Colour (ΔE)", "least", "colours", colour_error, digits=2), colours)
    yield _Row(Metric("drift", "Colour drift (ΔE)", "least", "colours", colour_drift, digits=2), colours)
    yield _Row(Metric("sharpness", "Sharpness (ratio)", "one", "sharpness", sharpness_ratio), sharp)

    def faces(run: PerPicture) -> Reader:
        return lambda window: np.stack([run(window.result), run(window.beside)], 1)

    yield from (
        _judged(points, measure, faces)
        for measure in (
            Metric("jitter_eyes", "Jitter, eyes (‰)", "least", "faces", partial(jitter, column=EYES), digits=2),
            Metric("jitter_head", "Jitter, head (‰)", "least", "faces", partial(jitter, column=CENTRE), digits=2),
            Metric("lips", "Lip sync", "most", "faces", lip_sync),
            Metric("lip_lag", "Lip lag (frames)", "none", "faces", lip_lag, digits=1),
        )
    )


def _column(numbers: Numbers, column: int) -> Reading:
    return averaged(numbers[:, column])


def _truth(task: MetricTask) -> str:
    return "" if task == "self" else _NEEDS_TRUTH
