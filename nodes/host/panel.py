"""Sends a sampler's progress to the page: progress bar, live previews, panel with novelty curve and keyframes."""

from __future__ import annotations

import base64
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import comfy.utils
from PIL import Image
from server import PromptServer

from ...personalive_core.backends.personalive.stream import Emitted
from ...personalive_core.media.picture import Picture
from ...personalive_core.media.write import VideoWriter
from .folders import temp_file, viewable
from .sockets import Footage

EVENT = "personalive.progress"
PAUSE = 0.25  # minimum seconds between two events
STRIP_SIDE = 96  # pixels of the longer side of a keyframe in the strip
PREVIEW = 512  # pixels, the largest side of a live preview
PICKER_SIDE = 1024  # pixels of the longer side of the picture in the face picker


class SamplerPanel:
    """The panel of one sampler run.

    Each event holds only what is new. The whole run is kept as well, so that a cached run shows the same at the end.
    """

    def __init__(self, node: str, total: int, preview_every: int, threshold: float) -> None:
        self._node, self._total, self._every, self._threshold = node, total, preview_every, threshold
        self._bar = comfy.utils.ProgressBar(total, node_id=node)
        self._novelty: list[tuple[int, float]] = []
        self._keyframes: list[dict[str, Any]] = []
        self._frame, self._began, self._sent_at = 0, time.monotonic(), 0.0
        self._sent = (0, 0)  # counts of novelty points and keyframes sent so far
        self._previewed = 0

    def keyframe(self, number: int | None, picture: Picture) -> None:
        """Adds a keyframe to the strip; `number` is its driving frame, None for the reference and fixed keyframes."""
        self._keyframes.append({"frame": number, "image": data_url(picture)})

    def begin(self) -> None:
        """Starts the clock and clears the panel of an earlier run."""
        self._began = time.monotonic()
        self._send(first=True)

    def show(self, emitted: Emitted) -> None:
        """Shows one more step. Raises ComfyUI's InterruptProcessingException if the user pressed Cancel."""
        pictures = emitted.pictures
        if len(pictures):
            self._frame = emitted.first + len(pictures)
            self._novelty.append((emitted.first, round(emitted.novelty, 3)))
        if emitted.keyframe is not None:
            self.keyframe(emitted.first, emitted.keyframe)
        preview = None
        if len(pictures) and self._every and self._frame - self._previewed >= self._every:
            preview, self._previewed = ("JPEG", Image.fromarray(pictures[-1]), PREVIEW), self._frame
        self._bar.update_absolute(self._frame, self._total, preview)
        if time.monotonic() - self._sent_at >= PAUSE:
            self._send()

    def stop(self, path: Path | None, frames: int, footage: Footage | None) -> None:
        """Sends the last event of a run that ended early: its first `frames` frames are in `path`, None if in no file.

        The player then shows that film.
        """
        self._frame = frames
        kept = path if path and path.is_file() else None
        self._send(last=True, stopped=True, compare=players(kept, footage) if kept else None)

    def end(self) -> dict[str, Any]:
        """Sends the last event; returns the complete run for ComfyUI's "executed" message."""
        self._send(last=True)
        return {**self._facts(), "first": True, "last": True, "novelty": self._novelty, "keyframes": self._keyframes}

    def _facts(self) -> dict[str, Any]:
        seconds = time.monotonic() - self._began
        fps = self._frame / seconds if seconds else 0.0
        return {
            "node": self._node,
            "frame": self._frame,
            "total": self._total,
            "fps": round(fps, 3),
            "seconds_left": round((self._total - self._frame) / fps, 1) if fps else None,
            "threshold": self._threshold,
        }

    def _send(self, **more: Any) -> None:
        points, strip = self._sent
        server = PromptServer.instance
        new = {"novelty": self._novelty[points:], "keyframes": self._keyframes[strip:], **more}
        facts = {**self._facts(), "prompt_id": getattr(server, "last_prompt_id", None)}
        if server.client_id is not None:  # None would send it, with pictures of faces, to every page
            server.send_sync(EVENT, {**facts, **new}, server.client_id)
        self._sent, self._sent_at = (len(self._novelty), len(self._keyframes)), time.monotonic()


def data_url(picture: Picture, side: int = STRIP_SIDE) -> str:
    """The picture as a JPEG in a data URL, shrunk to at most `side` pixels."""
    small, buffer = Image.fromarray(picture), BytesIO()
    small.thumbnail((side, side))
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture_for_page(whole: Picture) -> dict[str, Any]:
    """A picture for the face picker: a smaller copy as a temporary file, and the full size in pixels."""
    picture, buffer = Image.fromarray(whole), BytesIO()
    picture.thumbnail((PICKER_SIDE, PICKER_SIDE))
    picture.save(buffer, "JPEG", quality=90)
    height, width = whole.shape[:2]
    return {"width": width, "height": height, "image": viewable(temp_file(buffer.getvalue(), ".jpg"))}


def compare_ui(writer: VideoWriter, footage: Footage | None) -> dict[str, list[Any]]:
    """UI output of a written video: "video" for API clients and the gallery, "personalive_compare" for the page.

    The compare player compares the result with the driving video, which is None if there is none with pictures.
    """
    return {"video": [viewable(writer.path)], **for_page("personalive_compare", players(writer.path, footage))}


def players(path: Path, footage: Footage | None) -> dict[str, Any]:
    """The films of the compare player, as the page requests them: the result at `path`, and its driving or None."""
    seen = viewable(footage.path) if footage and footage.pictures else None
    driving = {**seen, "start": float(footage.start)} if seen and footage else None
    return {"driving": driving, "result": viewable(path)}


def for_page(name: str, value: dict[str, Any]) -> dict[str, list[Any]]:
    """UI output that only our panels read: JSON in the key, before an empty list.

    ComfyUI's queue counts every item of every list as one more medium that the run has made.
    """
    return {f"{name} {json.dumps(value)}": []}
