"""Converts decoded video frames to upright RGB: colour matrix, range, primaries, alpha, display matrix."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..text import warn_once
from .picture import over_black
from .profile import GAMUTS, to_srgb

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

_HD_WIDTH, _HD_HEIGHT = 1280, 576  # players treat untagged video at least this wide, or above this height, as BT.709
# Colour matrices, primaries, transfers and range: code points of ITU-T H.273.
_BT709, _BT601, _FULL_RANGE = 1, 5, 2
_MATRICES = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}  # the tags for which swscale has coefficients
_UNREADABLE = {
    0: "identity (RGB)",
    8: "YCgCo",
    11: "Y'D'zD'x",
    12: "chromaticity-derived",
    13: "chromaticity-derived, constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_HDR_TRANSFERS = (16, 18)  # PQ and HLG
SCALER = 0x4 | 0x2000 | 0x40000  # swscale flags: bicubic, full chroma, exact rounding; older PyAV cannot combine them

_log = logging.getLogger(__name__)

Turn = tuple[int, bool]  # counterclockwise quarter turns (0 to 3), then whether left and right are exchanged


def upright(frame: VideoFrame) -> Turn:
    """How to bring the frame upright: its display matrix, one of the eight that keep it a rectangle.

    A matrix of another angle counts as the nearest quarter turn.
    """
    from av.sidedata.sidedata import Type

    side: Any = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]  # its stub knows names only
    if side is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side))
    # A point (x, y) is shown at (a x + c y, b x + d y), with y downwards.
    mirrored = a * d - b * c < 0
    if mirrored:  # without the exchange of left and right, which comes last
        a, c = -a, -c
    return round(np.degrees(np.arctan2(-b, a)) / 90) % 4, mirrored


def display_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """(width, height) as displayed: upright and with square pixels."""
    width = max(1, round(frame.width * (stream.sample_aspect_ratio or 1)))
    return (frame.height, width) if upright(frame)[0] % 2 else (width, frame.height)


def check_colours(frame: VideoFrame, path: Path) -> None:
    """Raises InputError if the frame's colour matrix is one that cannot be converted."""
    if not frame.format.is_rgb and frame.colorspace in _UNREADABLE:
        raise InputError(
            f"{path} stores its colours with the matrix {_UNREADABLE[frame.colorspace]}, which cannot be converted "
            "here: export it again as BT.709"
        )


def converter(frame: VideoFrame, stream: VideoStream, path: Path) -> ToRgb:
    """The conversion of all frames of `stream`, of which `frame` is the first.

    Warns once about HDR if this PyAV cannot map it.

    Raises:
        InputError: the frames' colour matrix is one that cannot be converted.
    """
    from av.video.reformatter import VideoReformatter

    check_colours(frame, path)
    context = stream.codec_context
    hdr = context.color_trc in _HDR_TRANSFERS
    if hdr and not hasattr(frame, "color_trc"):
        warn_once(_log, f"{path} is HDR, which PyAV maps from version 18 on: its colours will be pale.")
    wide = context.color_primaries if context.color_primaries in GAMUTS and not hdr else None
    return ToRgb(display_size(frame, stream), hdr and hasattr(frame, "color_trc"), wide, VideoReformatter())


@dataclass(frozen=True, eq=False)
class ToRgb:
    """Converts the frames of one video to RGB [H, W, 3], upright, with alpha composed over black.

    Each frame's own colour matrix and range are used.
    """

    size: tuple[int, int]  # width, height as displayed
    hdr: bool  # PQ and HLG are mapped to BT.709
    gamut: int | None  # wide primaries, which are mapped to sRGB's; one of GAMUTS
    scaler: VideoReformatter  # one for the whole video: preparing it takes longer than converting a frame

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        turns, mirrored = upright(frame)
        width, height = self.size[::-1] if turns % 2 else self.size
        has_alpha = any(component.is_alpha for component in frame.format.components)
        hd = frame.width >= _HD_WIDTH or frame.height > _HD_HEIGHT
        converted = self.scaler.reformat(
            frame,
            width,
            height,
            "rgba" if has_alpha else "rgb24",
            src_colorspace=_MATRICES.get(frame.colorspace, _BT709 if hd else _BT601),
            src_color_range=frame.color_range,
            dst_colorspace=_BT601,  # meaningless for RGB, but PyAV before 17 ignores src_colorspace unless they differ
            dst_color_range=_FULL_RANGE,
            interpolation=SCALER,
            **({"dst_color_trc": _BT709, "dst_color_primaries": _BT709} if self.hdr else {}),
        )
        array = np.asarray(converted.to_ndarray(), np.uint8)
        array = over_black(array) if has_alpha else array
        if self.gamut is not None:
            array = to_srgb(self.gamut)(np.ascontiguousarray(array))
        turned = np.rot90(array, turns)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)
