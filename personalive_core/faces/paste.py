"""Pastes the animated crop back into the full-resolution picture that it was cut from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from ..errors import InputError
from ..media.picture import Picture
from .crop import Crop, FrameSize, check_picture, crop_image

Floats = npt.NDArray[np.floating]
Span = tuple[float, float, float, float]  # left, top, right, bottom, in units of the crop's side

_GRID = 32  # cells per side of the coarse grid, for all low-frequency values
_SEAM_SPREAD = 8.0  # cells (a quarter of the crop): sigma of the Gaussian that spreads the seam's colours inwards
_SEAM_OUTLIER = 16.0  # levels of 255 from the median: a larger difference is motion, not a colour cast; it is clipped
_SAME, _CHANGED = 4.0, 12.0  # levels of 255: a cell's mean change at which it keeps all, or none, of the detail


@dataclass(frozen=True)
class PasteOptions:
    """How the crop is blended with the picture around it.

    Raises InputError if `feather` is not in 0 to 0.5.
    """

    feather: float = 0.1  # width of the blending ramp inside the crop's border, in units of the crop's side: 0 to 0.5
    match_colour: bool = True  # shift the crop's low-frequency colours to match the original's at the seam

    def __post_init__(self) -> None:
        if not 0 <= self.feather <= 0.5:  # noqa: PLR2004 - two ramps of half the side fill it
            raise InputError(f"feather is a part of the crop's side from 0 to 0.5, got {self.feather:g}: try 0.1")


@dataclass(frozen=True, eq=False)
class PasteBack:
    """Pastes the pictures of one clip into one original; holds all constant values. Call it with each picture.

    When the crop is larger than the picture, the resized picture lacks detail of the original. Adding only the change
    to the original keeps that detail, but leaves a ghost of the old contours where the head has moved. So the resized
    picture is pasted, and the lost detail is added from the original. It is added per cell of a coarse grid, only where
    the cell and its neighbours have not changed. A static background stays sharp; a moved face comes from the picture.
    """

    original: Picture  # [H, W, 3]
    rows: slice  # the h rows and w columns of the original that are wholly inside the crop
    columns: slice
    span: Span  # the same rectangle, relative to the crop
    mask: Floats  # [h, w, 1] weight of the pasted crop, see `paste_mask`
    reference: Picture  # [S, S, 3] the original's crop, resized
    detail: Floats  # [h, w, 3] the original minus the resized `reference`
    ring: Floats | None  # [S, S] weight of each pixel for the seam's colours; None: colours are not matched

    def __call__(self, picture: Picture) -> Picture:
        """Returns a copy of the original [H, W, 3] with `picture` [S, S, 3] in place of the crop.

        Raises InputError for a picture of another shape or dtype.
        """
        check_picture(picture)
        if picture.shape != self.reference.shape:
            raise InputError(
                f"expected a picture of {list(self.reference.shape)} to paste back, got {list(picture.shape)}: "
                "paste the picture at the size it was made"
            )
        if self.ring is not None:
            offset = _seam_offset(self.reference.astype(np.float32) - picture, self.ring)
            picture = _levels(picture + offset)
        result = self.original.copy()
        region = result[self.rows, self.columns]
        change = _fit(picture, self.span, self.mask) - region.astype(np.float32)
        change += self._unchanged(picture) * self.detail
        region[...] = _levels(region + self.mask * change)
        return result

    def _unchanged(self, picture: Picture) -> Floats:
        """[h, w, 1]: 1 where a cell and its neighbours equal the reference, falling to 0 where they differ."""
        difference = np.abs(picture.astype(np.float32) - self.reference).max(axis=2)
        cells = F.max_pool2d(_cells(difference), 3, stride=1, padding=1)[0].numpy()
        kept = 1 - _smooth_step((cells - _SAME) / (_CHANGED - _SAME))
        return _fit(kept, self.span, self.mask)[:, :, None]


def prepare_paste(original: Picture, crop: Crop, size: int, options: PasteOptions) -> PasteBack:
    """A PasteBack for pictures [size, size, 3] that show `crop` of `original` [H, W, 3].

    Raises InputError if the crop contains no whole pixel of the original, or `original` is no uint8 RGB picture.
    """
    reference = crop_image(original, crop, size)
    frame_size = original.shape[:2]
    rows, columns = _inside(crop, frame_size)
    span = (
        (columns.start - crop.left) / crop.size,
        (rows.start - crop.top) / crop.size,
        (columns.stop - crop.left) / crop.size,
        (rows.stop - crop.top) / crop.size,
    )
    mask = paste_mask(crop, frame_size, options.feather)[rows, columns, None]
    detail = original[rows, columns].astype(np.float32) - _fit(reference, span, mask)
    ring = _ring(crop, frame_size, size, options.feather) if options.match_colour else None
    return PasteBack(original, rows, columns, span, mask, reference, detail, ring)


def paste_back(original: Picture, picture: Picture, crop: Crop, options: PasteOptions) -> Picture:
    """Returns a copy of `original` [H, W, 3] with `picture` [S, S, 3] in place of the crop.

    For many pictures use `prepare_paste`. Raises InputError as `prepare_paste` does.
    """
    check_picture(picture)
    return prepare_paste(original, crop, picture.shape[0], options)(picture)


def paste_mask(crop: Crop, frame_size: FrameSize, feather: float) -> Floats:
    """Weight [H, W] of the pasted crop: 0 at and outside its border, 1 from `feather` of its side inwards.

    A crop side at or beyond the frame's edge has no seam, so the mask does not fall towards it. Raises InputError if
    the crop contains no whole pixel of the frame.
    """
    rows, columns = _inside(crop, frame_size)
    vertical, horizontal = _seams(crop, frame_size)
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + (0.5 - crop.top)) / crop.size
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + (0.5 - crop.left)) / crop.size
    mask = np.zeros(frame_size, np.float32)
    mask[rows, columns] = np.outer(_ramp(y, vertical, feather), _ramp(x, horizontal, feather))
    return mask


def _inside(crop: Crop, frame_size: FrameSize) -> tuple[slice, slice]:
    """Rows and columns of the frame that are wholly inside the crop; raises InputError if there are none."""
    height, width = frame_size
    rows = slice(max(0, math.ceil(crop.top)), min(height, math.floor(crop.top + crop.size)))
    columns = slice(max(0, math.ceil(crop.left)), min(width, math.floor(crop.left + crop.size)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise InputError(f"{crop} holds no whole pixel of the {width}x{height} frame: choose a box inside it")
    return rows, columns


def _seams(crop: Crop, frame_size: FrameSize) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    """Which sides of the crop are inside the frame and so have a seam: (top, bottom), (left, right)."""
    height, width = frame_size
    return (crop.top > 0, crop.top + crop.size < height), (crop.left > 0, crop.left + crop.size < width)


def _ramp(position: Floats, seams: tuple[bool, bool], feather: float) -> Floats:
    """The mask along one axis, for positions in [0, 1] of the crop's side; it falls only towards a seam."""
    low = position if seams[0] else np.ones_like(position)
    high = 1 - position if seams[1] else np.ones_like(position)
    return _smooth_step(np.minimum(low, high) / max(feather, 1e-9))


def _smooth_step(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def _ring(crop: Crop, frame_size: FrameSize, size: int, feather: float) -> Floats | None:
    """Weights [size, size], largest in the middle of the ramp; None if all are 0, as for a crop without a seam."""
    position = (np.arange(size, dtype=np.float32) + 0.5) / size
    vertical, horizontal = (_ramp(position, seams, feather) for seams in _seams(crop, frame_size))
    mask = np.outer(vertical, horizontal)
    ring = mask * (1 - mask)
    return ring if ring.any() else None


def _seam_offset(difference: Floats, ring: Floats) -> Floats:
    """Colour offset [S, S, 3] to add: the `difference` [S, S, 3] inside the `ring`, spread smoothly over the crop.

    Normalised convolution (Knutsson and Westin, CVPR 1993) on a coarse grid. Exactly 0 if the ring has no difference.
    """
    weight = _cells(ring)[0].numpy()
    cells = _cells(difference * ring[:, :, None]).numpy() / np.maximum(weight, 1e-12)
    middle = np.median(cells[:, weight > weight.max() / 2], axis=1)[:, None, None]
    cells = cells.clip(middle - _SEAM_OUTLIER, middle + _SEAM_OUTLIER)
    steps = np.arange(_GRID, dtype=np.float32)
    spread = np.exp(-((steps[:, None] - steps) ** 2) / (2 * _SEAM_SPREAD**2))
    smooth = torch.from_numpy((spread @ (weight * cells) @ spread) / (spread @ weight @ spread))
    offset = F.interpolate(smooth[None], ring.shape, mode="bilinear", align_corners=False)[0]
    return np.asarray(offset.permute(1, 2, 0).numpy(), np.float32)


def _cells(values: Floats) -> torch.Tensor:
    """Mean of [S, S] or [S, S, C] over each cell of the coarse grid: [1 or C, _GRID, _GRID]."""
    planes = torch.from_numpy(np.atleast_3d(values)).permute(2, 0, 1)
    return F.adaptive_avg_pool2d(planes, _GRID)


def _fit(values: npt.NDArray[np.generic], span: Span, like: Floats) -> Floats:
    """Cuts `span` out of the square `values` and resizes it, antialiased, to the height and width of `like`."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) * len(values) for edge in span)
    size = (like.shape[1], like.shape[0])
    method = Image.Resampling.BICUBIC if values.dtype == np.uint8 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(values).resize(size, method, (left, top, right, bottom)), np.float32)


def _levels(values: Floats) -> Picture:
    return values.round().clip(0, 255).astype(np.uint8)
