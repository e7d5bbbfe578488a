"""The contact sheet: reference, driving and result side by side at a few moments of a clip of any length."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..media.chart import FAINT, INK, KEYFRAME, PAPER
from ..media.picture import Picture

Place = tuple[float, float]  # x, y in pixels

THUMBNAIL = 224  # pixels: side of the square into which each picture is fitted
MARGIN, GAP, CAPTION, HEADER, BORDER = 20, 10, 26, 56, 4
ONE_COLUMN = 2  # up to this many rows make one column; more make two
SMALLEST_PRINT = 9  # font size below which text is not shrunk further


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One moment of the clip."""

    index: int  # frame, from 0
    driving: Picture
    result: Picture
    is_keyframe: bool = False
    time: Fraction | None = None  # of the frame, in seconds; None: not said


@dataclass(frozen=True)
class SheetCollector:
    """Collects a few moments of a clip of unknown length, in constant memory.

    It keeps the first keyframes and every `stride`-th frame; `stride` doubles when there are too many.
    """

    moments: int = 8  # rows on the sheet
    keyframe_limit: int = 3
    stride: int = 1
    even: tuple[SheetRow, ...] = ()  # every `stride`-th frame
    keyframes: tuple[SheetRow, ...] = ()

    def then(
        self,
        index: int,
        driving: Picture,
        result: Picture,
        is_keyframe: bool = False,
        time: Fraction | None = None,
    ) -> SheetCollector:
        """The collector after frame `index` at `time`; `driving` and `result` are [H, W, 3] uint8 of any size."""
        is_kept = is_keyframe and len(self.keyframes) < self.keyframe_limit
        is_even = index % self.stride == 0
        if not is_kept and not is_even:
            return self
        row = SheetRow(index, thumbnail(driving), thumbnail(result), is_keyframe, time)
        keyframes = (*self.keyframes, row) if is_kept else self.keyframes
        even = (*self.even, row) if is_even else self.even
        stride = thinning_stride([r.index for r in even], 2 * self.moments, self.stride)
        return replace(self, stride=stride, keyframes=keyframes, even=tuple(r for r in even if r.index % stride == 0))

    def rows(self) -> tuple[SheetRow, ...]:
        """At most `moments` rows in frame order, spread evenly; keyframes replace the frames nearest to them."""
        count = min(self.moments, len(self.even))
        others = [self.even[i] for i in np.linspace(0, len(self.even) - 1, count).round().astype(int)]
        keyframes = self.keyframes[: self.moments]
        for number, keyframe in enumerate(keyframes):
            nearest = min(others, key=lambda row: abs(row.index - keyframe.index), default=keyframe)
            if nearest in others and (nearest.index == keyframe.index or len(others) + number >= self.moments):
                others.remove(nearest)
        return tuple(sorted((*others, *keyframes), key=lambda row: row.index))


def thinning_stride(indices: Collection[int], most: int, stride: int = 1) -> int:
    """`stride`, doubled until at most `most` of the frame `indices` are multiples of it."""
    while sum(index % stride == 0 for index in indices) > most:
        stride *= 2
    return stride


def thumbnail(picture: Picture) -> Picture:
    """`picture` [H, W, 3], resized to fit into the sheet's square; the aspect ratio is kept."""
    image = Image.fromarray(picture)
    scale = THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def contact_sheet(reference: Picture, rows: Sequence[SheetRow], title: str) -> Picture:
    """The sheet [H, W, 3] uint8: each row is a strip of reference, driving and result; strips in up to two columns.

    `title` is the line at the top. Captions show the time of a frame that has one.
    """
    columns = 2 if len(rows) > ONE_COLUMN else 1
    lines = -(-len(rows) // columns)
    strip_width, strip_height = 3 * THUMBNAIL + 2 * GAP, THUMBNAIL + CAPTION
    width = 2 * MARGIN + columns * strip_width + (columns - 1) * 2 * MARGIN
    height = HEADER + CAPTION + lines * (strip_height + GAP) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    write_text(sheet, (MARGIN, MARGIN), title, INK, 20)
    face = thumbnail(reference)
    for column in range(columns):
        left = MARGIN + column * (strip_width + 2 * MARGIN)
        for place, name in enumerate(("reference", "driving", "result")):
            write_text(sheet, (left + place * (THUMBNAIL + GAP), HEADER), name, FAINT, 16)
    for number, row in enumerate(rows):
        line, column = number % lines, number // lines
        left = MARGIN + column * (strip_width + 2 * MARGIN)
        draw_strip(sheet, (left, HEADER + CAPTION + line * (strip_height + GAP)), face, row)
    return np.asarray(sheet)


def draw_strip(sheet: Image.Image, corner: tuple[int, int], face: Picture, row: SheetRow) -> None:
    """Draws one row: its three pictures; below them frame number, time, and a mark if it is a keyframe."""
    left, top = corner
    for place, picture in enumerate((face, thumbnail(row.driving), thumbnail(row.result))):
        height, width = picture.shape[:2]
        x = left + place * (THUMBNAIL + GAP) + (THUMBNAIL - width) // 2
        y = top + (THUMBNAIL - height) // 2
        sheet.paste(Image.fromarray(picture), (x, y))
    below = (left, top + THUMBNAIL + 4)
    caption = f"frame {row.index}" + ("" if row.time is None else f"   {float(row.time):.2f} s")
    if row.is_keyframe:
        x = left + 2 * (THUMBNAIL + GAP)
        box = (x, top, x + THUMBNAIL - 1, top + THUMBNAIL - 1)
        ImageDraw.Draw(sheet).rectangle(box, outline=KEYFRAME, width=BORDER)
        write_text(sheet, (x, below[1]), "keyframe", KEYFRAME, 16)
    write_text(sheet, below, caption, INK, 16)


def write_text(sheet: Image.Image, corner: Place, text: str, colour: tuple[int, int, int], size: int) -> None:
    """Writes `text` in one line with its top left at `corner`, in a smaller font if it would leave the sheet."""
    text = " ".join(text.splitlines())  # a file's name in it may hold line breaks
    draw, room = ImageDraw.Draw(sheet), sheet.width - MARGIN - corner[0]
    while size > SMALLEST_PRINT and draw.textlength(text, ImageFont.load_default(size)) > room:
        size -= 1
    draw.text(corner, text, colour, ImageFont.load_default(size))
