"""Reads the clips and portraits of the next training steps in threads, while a step is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from ..backends.personalive.reference import clip_pixels
from .data import Dataset, Pick

STEPS_AHEAD = 6  # training steps that are read ahead
MOST = 4096  # portraits kept that nobody has asked for yet


def portrait(data: Dataset, place: tuple[int, int]) -> Tensor:
    """The image encoder's input [1, 3, 224, 224] of a frame; reads its clip."""
    clip, frame = place
    return clip_pixels(Image.fromarray(data.clip(clip).pictures[frame].numpy()))


@dataclass(frozen=True)
class Ahead:
    """Threads that read ahead; they change when something is read, never what."""

    pool: ThreadPoolExecutor
    steps: int = STEPS_AHEAD
    asked: dict[tuple[int, int], Future[Tensor]] = field(default_factory=dict, repr=False)

    def expect(self, data: Dataset, picks: Iterable[Pick]) -> None:
        """Asks for what `picks` need."""
        for item in picks:
            place = item.clip, item.reference
            if place not in self.asked:
                self.asked[place] = self.pool.submit(portrait, data, place)
        while len(self.asked) > MOST:  # stages without a reference never take any
            self.asked.pop(next(iter(self.asked))).cancel()

    def take(self, data: Dataset, place: tuple[int, int]) -> Tensor:
        """As `portrait`, at once where it was asked for."""
        future = self.asked.pop(place, None)
        return portrait(data, place) if future is None else future.result()


@contextmanager
def reading_ahead(threads: int) -> Iterator[Ahead | None]:
    """`threads` threads that read ahead, ended when they are left; None for 0: everything is read when it is needed."""
    if not threads:
        yield None
        return
    pool = ThreadPoolExecutor(threads, "personalive-training")
    try:
        yield Ahead(pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
