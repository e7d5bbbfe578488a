"""A source picture or source video: its faces cropped, and read in the pieces that animation needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from ...errors import FaceError
from ...faces.crop import whole_frame
from ...media.picture import Picture
from ...motion.gaps import fill_missing
from ...motion.types import concat_motion
from .crops import SIDE, SOURCE_CROP, CropMatrix, CropRule, FaceSquare, crop_matrix, warped
from .finding import Finder, FollowState, FoundFace, follow_face, rule_for
from .landmarks import eye_openness, lip_openness
from .model import LivePortrait
from .motion import FaceFacts, read_implicit, unit_pictures
from .reference import SourceCrop, crop_source, live_source
from .types import ImplicitMotion, LiveSource

WINDOW = 4  # frames per network call


@dataclass(frozen=True, eq=False)
class SourcePortrait:
    """A source picture, ready to be animated."""

    whole: Picture  # [H, W, 3]
    crop: SourceCrop
    source: LiveSource  # [1]
    found: FoundFace | None = None  # None: the whole picture is the face


@dataclass(frozen=True, eq=False)
class SourceFilm:
    """What was read of a source video in a first pass; its pictures are read again when they are animated."""

    motion: ImplicitMotion  # [F]; where no face was found, what `read_film` was told to fill in
    matrices: tuple[CropMatrix, ...]  # F times [3, 3], from pixels of the crop to pixels of the frame

    def __len__(self) -> int:
        return len(self.matrices)

    def crop(self, frame: Picture, index: int) -> SourceCrop:
        """The crop of frame `index` [H, W, 3], read again."""
        matrix = self.matrices[index]
        return SourceCrop(warped(frame, np.asarray(np.linalg.inv(matrix), np.float64), SIDE, SIDE), matrix)


def prepare_source(
    model: LivePortrait, picture: Picture, found: FoundFace | None, rule: CropRule = SOURCE_CROP
) -> SourcePortrait:
    """Crops a source picture [H, W, 3] to its face by `rule`, and reads it; without a face, its largest square."""
    crop = source_crop(picture, found, rule)
    return SourcePortrait(picture, crop, live_source(model, [crop.small], face_facts([found], [True])), found)


def source_crop(picture: Picture, found: FoundFace | None, rule: CropRule = SOURCE_CROP) -> SourceCrop:
    """The crop of a source picture [H, W, 3]; without a face, its largest square."""
    if found is not None:
        return crop_source(picture, found.points, rule_for(rule, found.points))
    square = whole_frame(picture.shape[:2])
    matrix = crop_matrix(FaceSquare(square.centre, square.size, 0.0), SIDE, rotated=False)
    return SourceCrop(warped(picture, matrix, SIDE, SIDE), np.asarray(np.linalg.inv(matrix), np.float64))


def face_facts(found: Sequence[FoundFace | None], valid: Sequence[bool]) -> FaceFacts:
    """What detection says of F frames; openness is NaN where there are no 203 landmarks, the box 0 without a face."""
    eyes, lips = torch.full((len(found), 2), torch.nan), torch.full((len(found), 1), torch.nan)
    box = torch.zeros(len(found), 4)
    for index, face in enumerate(found):
        if face is not None:
            box[index] = torch.tensor([face.box.left, face.box.top, face.box.right, face.box.bottom])
        if face is not None and face.landmarks is not None:
            eyes[index] = torch.from_numpy(eye_openness(face.landmarks))
            lips[index] = torch.from_numpy(lip_openness(face.landmarks))
    return FaceFacts(eyes, lips, box, torch.tensor(valid))


def read_film(
    model: LivePortrait,
    frames: Iterable[Picture],
    finder: Finder,
    rule: CropRule = SOURCE_CROP,
    missing: str = "hold",
) -> SourceFilm:
    """Reads the frames [H, W, 3] of a source video once: motion and crops, 0.7 kB a frame; no picture is kept.

    Each frame has its own crop, by the landmarks that `finder` follows; frames without a face get motion by `missing`,
    a policy of `fill_missing` other than neutral. Raises FaceError if no frame has a face, or if `missing` is error and
    one has none.
    """
    motions: list[ImplicitMotion] = []
    matrices: list[CropMatrix | None] = []
    parts = _followed_crops(frames, finder, rule)
    while window := list(islice(parts, WINDOW)):
        facts = face_facts(
            [found for found, _ in window], [not finder.looks or found is not None for found, _ in window]
        )
        motions.append(read_implicit(model, unit_pictures([crop.small for _, crop in window]), facts))
        known = facts.valid.tolist() if facts.valid is not None else []
        if missing == "error" and not all(known):
            where = f"frame {len(matrices) + known.index(False)} of the source video"
            raise FaceError(f"no face in {where}: set missing faces to hold, or cut the frame")
        matrices += [crop.matrix if is_known else None for (_, crop), is_known in zip(window, known, strict=True)]
    if not any(matrix is not None for matrix in matrices):
        raise FaceError(
            f"no face in any of the {len(matrices)} frames of the source video: give the face's box in its first frame"
        )
    return SourceFilm(_openness_held(concat_motion(fill_missing(motions, missing))), _held(matrices))


def _followed_crops(
    frames: Iterable[Picture], finder: Finder, rule: CropRule
) -> Iterator[tuple[FoundFace | None, SourceCrop]]:
    state = FollowState()
    for frame in frames:
        state, found = follow_face(state, frame, finder)
        yield found, source_crop(frame, found, rule)


def _openness_held(motion: ImplicitMotion) -> ImplicitMotion:
    """`motion` where frames whose openness is not known take that of the known frame before, or else the first known.

    Landmarks slip off a face that is turned far away: one such frame would leave eyes and lips of no frame to be set.
    """
    held = {}
    for name, values in (("eyes", motion.eyes), ("lips", motion.lips)):
        known = values.isfinite().all(1)
        if known.any():
            last = torch.where(known, torch.arange(len(values)), -1).cummax(0).values
            held[name] = values[last.clamp(min=int(known.nonzero()[0]))]
    return motion.changed(**held)


def _held(matrices: Sequence[CropMatrix | None]) -> tuple[CropMatrix, ...]:
    """Each matrix, or the one before it that is known; before the first, that one."""
    last = next(matrix for matrix in matrices if matrix is not None)
    held = []
    for matrix in matrices:
        last = last if matrix is None else matrix
        held.append(last)
    return tuple(held)
