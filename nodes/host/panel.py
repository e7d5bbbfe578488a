"""What a sampler shows while it runs: progress, live previews, and the panel with the motion plot and keyframes."""

from __future__ import annotations

import base64
import time
from io import BytesIO
from typing import Any

import comfy.utils
from PIL import Image
from server import PromptServer

from ...personalive_core.backends.personalive.stream import Emitted
from ...personalive_core.media.picture import Picture
from ...personalive_core.media.write import VideoWriter
from .folders import viewable
from .sockets import Footage

EVENT = "personalive.progress"
PAUSE = 0.25  # seconds between two events
STRIP_SIDE = 96  # pixels
PREVIEW = 512  # pixels


class SamplerPanel:
    """One run's. Collects what the panel shows, sends what is new, and forgets nothing: a cached run shows the same."""

    def __init__(self, node: str, total: int, preview_every: int, threshold: float) -> None:
        self._node, self._total, self._every, self._threshold = node, total, preview_every, threshold
        self._bar = comfy.utils.ProgressBar(total, node_id=node)
        self._novelty: list[tuple[int, float]] = []
        self._keyframes: list[dict[str, Any]] = []
        self._frame, self._began, self._sent_at = 0, time.monotonic(), 0.0
        self._sent = (0, 0)  # points and keyframes
        self._previewed = 0

    def keyframe(self, number: int | None, picture: Picture) -> None:
        """Another picture for the strip; no number for the reference and what the user brought."""
        self._keyframes.append({"frame": number, "image": data_url(picture)})

    def begin(self) -> None:
        """Clears what the page shows of an earlier run."""
        self._began = time.monotonic()
        self._send(first=True)

    def show(self, emitted: Emitted) -> None:
        """One more step. Raises ComfyUI's interruption if the user pressed Cancel."""
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

    def end(self) -> dict[str, Any]:
        """The last event, and all of it for `executed`."""
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

    def _send(self, first: bool = False, last: bool = False) -> None:
        points, strip = self._sent
        server = PromptServer.instance
        new = {"novelty": self._novelty[points:], "keyframes": self._keyframes[strip:], "first": first, "last": last}
        facts = {**self._facts(), "prompt_id": getattr(server, "last_prompt_id", None)}
        if server.client_id is not None:  # nobody's prompt would go to every open page, pictures of faces included
            server.send_sync(EVENT, {**facts, **new}, server.client_id)
        self._sent, self._sent_at = (len(self._novelty), len(self._keyframes)), time.monotonic()


def data_url(picture: Picture) -> str:
    """A small JPEG as a data URL."""
    small, buffer = Image.fromarray(picture), BytesIO()
    small.thumbnail((STRIP_SIDE, STRIP_SIDE))
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def compare_ui(writer: VideoWriter, footage: Footage | None) -> dict[str, list[Any]]:
    """The result for API clients and the page's gallery, and beside the driving for the compare player."""
    result = viewable(writer.path)
    seen = viewable(footage.path) if footage and footage.pictures else None
    driving = {**seen, "start": float(footage.start)} if seen and footage else None
    return {"video": [result], "personalive_compare": [{"driving": driving, "result": result}]}
