"""One worker of `personalive batch`: keeps networks and references in memory, reads motion, makes results."""

from __future__ import annotations

import argparse
import errno
import os
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..animation.reading import animate_job, read_job_motion
from ..animation.sharing import KEPT_NETWORKS, KEPT_REFERENCE, FilmMotion
from ..backends.registry import PERSONALIVE
from ..batch.board import BAD, FACES_HELD, MADE, OUTPUT, READ, SHORT_OF_MEMORY, TROUBLE, TaskEnd
from ..device import peak_memory, pick_device
from ..errors import InputError, OutputError, PersonaLiveError, lacks_memory
from ..media.files import partial_path
from .animate import job_of
from .batch_options import ENGINE_OPTIONS, FACE_OPTIONS, row_arguments
from .memory import out_of_memory_message

NETWORKS_HELD = 2  # sets of networks, for batches that mix two systems
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_T = TypeVar("_T")


class RowWorker:
    """Works on one task at a time. Its methods return an TaskEnd for whatever happens in them."""

    def __init__(self, base: Mapping[str, Any], output: str, threads: int = 0) -> None:
        """`base` are the arguments of the command line, `output` is the folder of the results."""
        self._base, self._output = dict(base), Path(output)
        self._held: dict[str, OrderedDict[Any, Any]] = {}
        self._counts: dict[str, int] = {}
        if threads:
            torch.set_num_threads(threads)

    def hello(self, number: int) -> str:
        """The worker's name. Raises InputError if this machine does not have the folders of results and weights."""
        node = platform.node() or "unnamed"
        for folder in (self._output, Path(self._base["weights"])):
            if not folder.is_dir():
                raise InputError(f"{node} has no folder {folder}: mount the same folders on every machine")
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return f"{node} {f'GPU {gpus}' if gpus else 'CPU'} ({number})"

    def read(self, call: Mapping[str, Any]) -> tuple[TaskEnd, FilmMotion | None]:
        """Reads the motion of a row's driving, for all rows with it."""
        began = time.perf_counter()
        try:
            a = self._arguments(call, self._output / "unused.mp4")
            job = job_of(a)
            keep = _Keep(self, a)
            film = read_job_motion(job, keep)
        except Exception as error:
            return self._failure(error, call), None
        return TaskEnd(READ, frames=len(film), seconds=time.perf_counter() - began, **self._figures(a)), film

    def make(self, call: Mapping[str, Any], place: str, film: FilmMotion | None, lean: bool = False) -> TaskEnd:
        """Makes a row's result in the file `place`; `lean`: drops what it keeps first."""
        began = time.perf_counter()
        if lean:
            self._drop()
        try:
            a = self._arguments(call, Path(place))
            made = animate_job(job_of(a), _Keep(self, a), film)
        except Exception as error:
            partial_path(Path(place)).unlink(missing_ok=True)
            return self._failure(error, call)
        seconds = time.perf_counter() - began
        return TaskEnd(MADE, frames=made.frames, seconds=seconds, place=place, **self._figures(a))

    def kept(self, kind: str, key: object, make: Callable[[], _T]) -> _T:
        """What was made for `key` before, or `make()`; the oldest of its kind is dropped for it."""
        held = self._held.setdefault(kind, OrderedDict())
        if key not in held:
            while len(held) >= (NETWORKS_HELD if kind == KEPT_NETWORKS else FACES_HELD):
                held.popitem(last=False)
            held[key] = make()
            self._counts[kind] = self._counts.get(kind, 0) + 1
        held.move_to_end(key)
        value: _T = held[key]
        return value

    def _arguments(self, call: Mapping[str, Any], output: Path) -> argparse.Namespace:
        files = str(call["reference"]), str(call["driving"]), str(output)
        return row_arguments(self._base, call["options"], files)

    def _figures(self, a: argparse.Namespace) -> dict[str, Any]:
        counts = {"loads": self._counts.get(KEPT_NETWORKS, 0), "faces": self._counts.get(KEPT_REFERENCE, 0)}
        return {"peak_memory": peak_memory(pick_device(a.device)), **counts}

    def _failure(self, error: Exception, call: Mapping[str, Any]) -> TaskEnd:
        outcome = outcome_of(error, {**self._base, **dict(call["options"])}.get("system", PERSONALIVE))
        if outcome.kind == SHORT_OF_MEMORY:
            self._drop()
        return outcome

    def _drop(self) -> None:
        self._held.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Keep:
    """What a worker keeps, for the row with these arguments."""

    def __init__(self, worker: RowWorker, a: argparse.Namespace) -> None:
        self._worker, self._a = worker, a

    def __call__(self, kind: str, make: Callable[[], _T]) -> _T:
        names = ENGINE_OPTIONS if kind == KEPT_NETWORKS else FACE_OPTIONS
        return self._worker.kept(kind, tuple(repr(getattr(self._a, name)) for name in sorted(names)), make)


def outcome_of(error: Exception, system: str = PERSONALIVE) -> TaskEnd:
    """How a task of this system ended that raised `error`."""
    words = next(iter(str(error).splitlines()), "no message")
    if lacks_memory(error):
        return TaskEnd(SHORT_OF_MEMORY, out_of_memory_message(error, system), 7)
    if isinstance(error, OutputError):
        return TaskEnd(OUTPUT, words, OutputError.exit_code)
    if isinstance(error, PersonaLiveError):
        return TaskEnd(BAD, str(error), error.exit_code)
    if isinstance(error, OSError):
        said = f"{error.filename or 'a file'} cannot be read or written ({error.strerror or words}): check the path"
        return TaskEnd(OUTPUT if error.errno in _FULL else TROUBLE, said, OutputError.exit_code)
    return TaskEnd(BAD, f"this is a bug ({type(error).__name__}: {words}): run the row with `animate --debug`")
