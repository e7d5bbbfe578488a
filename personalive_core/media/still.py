"""Writes a result that is one picture where a film's frames would be written."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from ..errors import OutputError
from .files import check_written
from .label import badge, stamp
from .picture import Picture, write_image

RESULT_PICTURES = (".png", ".jpg", ".jpeg")


class PictureWriter:
    """Writes one picture to `path` (.png, .jpg or .jpeg) where its block ends: a context manager, as `VideoWriter`.

    If the block raises, nothing is written and an older file is unchanged; a block without a picture raises
    OutputError.
    """

    def __init__(self, path: Path, label: bool = True, mark: bool = False, details: Mapping[str, str] = {}) -> None:
        """`label`, `mark` and `details` as in `WriteOptions`. Raises OutputError if the file cannot be written."""
        check_written(path, RESULT_PICTURES, {})
        self.path, self.frames = path, 0
        self._label, self._mark, self._details = label, mark, dict(details)
        self._picture: Picture | None = None

    def __enter__(self) -> PictureWriter:
        return self

    def write(self, image: Picture, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Takes the picture [H, W, 3]; a later one is left out, and times mean nothing."""
        del time, duration
        self.frames += 1
        if self._picture is None:
            self._picture = stamp(image, badge(len(image))) if self._mark else image.copy()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._picture is None:
            raise OutputError(f"no picture was made for {self.path}: check the driving")
        write_image(self.path, self._picture, self._label, self._details)
