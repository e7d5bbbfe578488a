"""Interlaced film to whole pictures with FFmpeg's bwdif, one for each frame; progressive frames pass unchanged."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..text import warn_once
from .decode import load_av

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# One picture for each frame, the field order as the frame says, and only for frames that say they are interlaced.
_BWDIF = "mode=send_frame:parity=auto:deint=interlaced"

_log = logging.getLogger(__name__)

_Shape = tuple[int, int, str]  # width, height, pixel format: a graph takes frames of one shape


class _Told(NamedTuple):
    """What a frame says beside its picture, in the stream's ticks and ITU-T H.273's code points."""

    pts: int | None
    duration: int
    colorspace: int
    color_range: int


def progressive(frames: Iterator[VideoFrame], stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Yields as many frames, with the same times and durations; says once that `path` is interlaced.

    The filter sees the frame before and after each one. It starts with the first interlaced frame.
    """
    graph: Graph | None = None
    shape: _Shape | None = None
    sent: deque[_Told] = deque()  # of the frames in the filter
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        own = frame.width, frame.height, frame.format.name
        if shape is None:
            warn_once(_log, f"{path} is interlaced: its frames are deinterlaced with bwdif.")
        if graph is None or own != shape:
            yield from _drained(graph, sent)
            graph, shape = _new_graph(frame, stream), own
        sent.append(_Told(frame.pts, frame.duration, frame.colorspace, frame.color_range))
        graph.push(frame)
        yield from _ready(graph, sent)
    yield from _drained(graph, sent)


def _new_graph(frame: VideoFrame, stream: VideoStream) -> Graph:
    graph: Graph = load_av().filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base)
    graph.link_nodes(source, graph.add("bwdif", _BWDIF), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph, sent: deque[_Told]) -> Iterator[VideoFrame]:
    """Yields the frames that the filter has finished, each with the time of the frame that it was made from."""
    av = load_av()
    while True:
        try:
            made = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        made.pts, made.duration, made.colorspace, made.color_range = sent.popleft()
        yield made


def _drained(graph: Graph | None, sent: deque[_Told]) -> Iterator[VideoFrame]:
    if graph is not None:
        graph.push(None)
        yield from _ready(graph, sent)
