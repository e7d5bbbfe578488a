"""What to do where memory is short, in the options of each system."""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE

REMEDIES: Mapping[str, str] = {
    PERSONALIVE: "--decoder tiny, --precision fp16 or a smaller --size",
    LIVEPORTRAIT: "--precision fp16 or --speed plain",
    HUNYUAN: "--speed fp8, --precision fp16 or a smaller --size",
}


def out_of_memory_message(error: BaseException, system: str) -> str:
    """The message for an `error` by which `system` says that memory is short."""
    first_line = next(iter(str(error).splitlines()), "no message")
    return f"out of memory: try {REMEDIES[system]} ({first_line})"
