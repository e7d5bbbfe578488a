"""Error messages for ComfyUI's page: the remedy comes first, because only the first line is visible."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ParamSpec, TypeVar

import torch

from ...personalive_core.backends.placement import out_of_memory
from ...personalive_core.backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE
from ...personalive_core.errors import PersonaLiveError, remedy_first

P = ParamSpec("P")
R = TypeVar("R")

# What to do with a full GPU, besides: in the widgets of each system.
LESS_MEMORY: Mapping[str, str] = {
    PERSONALIVE: "Choose a smaller size in Prepare Reference, precision fp8 or the tiny decoder in Load PersonaLive",
    LIVEPORTRAIT: "Choose precision fp16 in Load LivePortrait",
    HUNYUAN: "Choose precision fp8 in Load HunyuanPortrait or a smaller size in its sampler",
}
OUT_OF_MEMORY = "ComfyUI with --lowvram: the GPU ran out of memory"


class NodeError(Exception):
    """A message for the user: first what to do, then the cause."""


class OutOfMemory(torch.cuda.OutOfMemoryError):
    """Like `NodeError`, for a full GPU. ComfyUI knows the base class and unloads all models before the next run."""


def in_words(text: str, words: Mapping[str, str]) -> str:
    """`text` with each phrase of `words`, which names an option of the command line, as the node's user knows it."""
    for phrase, known in words.items():
        text = text.replace(phrase, known)
    return text


@contextlib.contextmanager
def told_in(words: Mapping[str, str]) -> Iterator[None]:
    """A PersonaLiveError inside the block is told `in_words`."""
    try:
        yield
    except PersonaLiveError as error:
        raise type(error)(in_words(str(error), words)) from error


def memory_sentence(values: Iterable[object]) -> str:
    """What to do with a full GPU, by the `system` of a node or of one of its inputs."""
    own = next(filter(None, (LESS_MEMORY.get(str(getattr(value, "system", ""))) for value in values)), None)
    return f"{own}, or start {OUT_OF_MEMORY}" if own else f"Start {OUT_OF_MEMORY}"


def readable(execute: Callable[P, R]) -> Callable[P, R]:
    """Decorates a node's `execute` so that its errors say what to do.

    PersonaLiveError becomes NodeError, an out-of-memory error becomes OutOfMemory; all others pass unchanged.
    """

    @functools.wraps(execute)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return execute(*args, **kwargs)
        except PersonaLiveError as error:
            raise NodeError(remedy_first(str(error))) from error
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise OutOfMemory(f"{memory_sentence((*args, *kwargs.values()))}.\n{error}") from error

    return run
