"""Downloads weights for a node: one bar over all bytes, a line with file and speed, and Cancel at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import comfy.model_management as mm
import comfy.utils

from ...personalive_core.backends.personalive.files import about_bytes
from ...personalive_core.errors import PersonaLiveError, WeightsError
from ...personalive_core.weights.download import download
from ...personalive_core.weights.index import WeightFile
from .folders import SMALL
from .memory import check_interrupt
from .notice import notify

LOOK = 0.2  # seconds between two looks at the Cancel button
GB, MB = 1e9, 1e6  # as shops and the hub count them
SMALL_FILES = 10 * MB  # bytes up to which a failed download needs no other model


class Cancelled(BaseException):
    """Ends a download through libraries that treat every Exception as a network error: hence a BaseException."""


@dataclass(eq=False)
class DownloadState:
    """How far the download of some files is; the thread that downloads writes it, the node's thread reads it."""

    files: tuple[WeightFile, ...]
    about: Callable[[WeightFile], int] = about_bytes  # a file's bytes, until the hub has told them
    sizes: dict[str, int] = field(default_factory=dict)  # place -> bytes in total, as the hub says
    done: dict[str, int] = field(default_factory=dict)  # place -> bytes received, those of an earlier run counted
    current: str = ""  # place
    error: BaseException | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    news: threading.Event = field(default_factory=threading.Event)
    first: tuple[float, int] | None = None  # time of the first report, and the bytes that were there then

    def report(self, file: WeightFile, done: int, total: int) -> None:
        """Notes the progress of `file`. Raises Cancelled after the user pressed Cancel."""
        if self.stopped.is_set():
            raise Cancelled
        self.current, self.sizes[file.place], self.done[file.place] = file.place, total, done
        self.first = self.first or (time.monotonic(), done)
        self.news.set()

    def run(self, folder: Path) -> None:
        """Downloads the files into `folder`, in the thread of its own."""
        try:
            download(folder, self.files, progress=self.report)
        except BaseException as error:
            self.error = error
        self.news.set()

    def bytes(self) -> tuple[int, int]:
        """Bytes received and in total; what the hub has not told yet is taken from the table."""
        known = {file.place: self.about(file) for file in self.files} | self.sizes
        return sum(self.done.values()), max(sum(known.values()), 1)

    def line(self) -> str:
        """File, n of m, gigabytes and speed."""
        done, total = self.bytes()
        places = list(dict.fromkeys([*self.done, self.current]))
        began, there = self.first or (time.monotonic(), 0)
        speed = (done - there) / max(time.monotonic() - began, LOOK)
        size = f"{done / GB:.2f} of {total / GB:.2f} GB" if total > SMALL_FILES else f"{done / MB:.1f} MB"
        name = Path(self.current).name
        return f"Downloading {name} ({len(places)} of {len(self.files)}): {size}, {speed / MB:.1f} MB/s"


def gigabytes(files: Iterable[WeightFile], about: Callable[[WeightFile], int] = about_bytes) -> str:
    """About how large the files are together, such as "12.1 GB"."""
    return f"{sum(map(about, files)) / GB:.1f} GB"


def fetch(
    folder: Path, files: tuple[WeightFile, ...], node: str = "", about: Callable[[WeightFile], int] = about_bytes
) -> None:
    """Downloads `files` with a progress bar and a line of text on `node`. A later call continues a cancelled one.

    Raises WeightsError as `download` does, and ComfyUI's InterruptProcessingException within a second after the user
    pressed Cancel, however slow the network is.
    """
    state, bar = DownloadState(files, about), comfy.utils.ProgressBar(1, node_id=node or None)
    thread = threading.Thread(target=state.run, args=(folder,), name="personalive-download", daemon=True)
    notify(node, f"Asking the hub for {len(files)} files, about {gigabytes(files, about)}")
    thread.start()
    try:
        while thread.is_alive():
            state.news.wait(LOOK)
            state.news.clear()
            check_interrupt()
            if state.current:
                bar.update_absolute(*state.bytes())
                notify(node, state.line())
            thread.join(LOOK)
    except mm.InterruptProcessingException:
        state.stopped.set()  # the thread ends with its next bytes
        notify(node, "Download cancelled: the next run continues it")
        raise
    if state.error is not None:
        notify(node, "")
        raise with_way_out(state.error, folder, files)
    notify(node, f"Downloaded {state.bytes()[0] / GB:.2f} GB into {folder}" if state.current else "")


def with_way_out(error: BaseException, folder: Path, files: tuple[WeightFile, ...]) -> BaseException:
    """A failed download's error for the page: first what works now; other errors and small files stay as they are."""
    if not isinstance(error, PersonaLiveError) or sum(map(about_bytes, files)) <= SMALL_FILES:
        return error
    problem = f"{gigabytes(files)} were to come into {folder}"
    told = WeightsError(
        f"the weights could not be downloaded, {problem}: choose {SMALL!r}, which works now, or try again\n{error}\n"
        "Behind a firewall set the environment variable HF_ENDPOINT to a mirror of huggingface.co, or put the files "
        "into that folder by hand."
    )
    told.__cause__ = error
    return told
