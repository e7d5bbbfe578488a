"""Work beside the consumer: items taken ahead in a thread, calls made behind in a thread, results asked for late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Event
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")

ENCODED_BEHIND = 8  # frames that may wait to be encoded: two windows
_END = object()


def ahead(items: Iterable[_T], most: int) -> Generator[_T, None, None]:
    """Yields the same items, taken by a thread that is at most `most` of them ahead of the consumer.

    An error of `items` comes where it would come without the thread, after the items before it. When this iterator
    ends, is closed or collected, the thread has ended too; it waits for the item that is being made.
    """
    source, context = iter(items), copy_context()  # a host program may keep in the context who is running
    pool, taken = _one_thread("personalive-ahead"), deque[Future[_T]]()

    def take() -> Future[_T]:
        return pool.submit(context.run, next, source, _END)  # type: ignore[arg-type]

    try:
        taken.append(take())
        while (item := taken.popleft().result()) is not _END:
            taken.extend(take() for _ in range(most - len(taken)))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Behind(Generic[_P]):
    """Makes calls in a thread, in order, while the caller goes on: a context manager.

    The error of a call is raised at a later call or at the end of the block, and no call after it is made. When the
    block ends, by an error too, all calls asked for have been made.
    """

    def __init__(self, call: Callable[_P, object], most: int) -> None:
        """`most` is how many calls may wait; one more waits for the oldest."""
        self._call, self._most = call, most
        self._pool, self._context = _one_thread("personalive-behind"), copy_context()
        self._asked: deque[Future[None]] = deque()
        self._failed = Event()

    def __enter__(self) -> Behind[_P]:
        return self

    def __call__(self, *values: _P.args, **named: _P.kwargs) -> None:
        """Asks for one call with these arguments, which must not be changed any more."""
        while self._asked and (len(self._asked) >= self._most or self._asked[0].done()):
            self._asked.popleft().result()
        self._asked.append(self._pool.submit(self._context.run, partial(self._make, *values, **named)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._pool.shutdown(wait=True)
        except BaseException:  # a second Ctrl-C: only the call that is being made is waited for
            self._failed.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            raise
        if kind is None:
            for asked in self._asked:
                asked.result()

    def _make(self, *values: _P.args, **named: _P.kwargs) -> None:
        if self._failed.is_set():
            return
        try:
            self._call(*values, **named)
        except BaseException:
            self._failed.set()
            raise


def in_turn(results: Iterable[Callable[[], _T]], behind: int) -> Iterator[_T]:
    """Asks for each of `results` when `behind` more of them have been begun; yields them in order, all at the end.

    If `results` itself fails, those begun before are yielded first, as they would be without the delay.
    """
    source = iter(results)
    begun: deque[Callable[[], _T]] = deque()
    failure: BaseException | None = None
    while failure is None:
        try:
            begun.append(next(source))
        except StopIteration:
            break
        except BaseException as error:  # an interruption too: what was finished before it is not lost
            failure = error
        if failure is None and len(begun) > behind:
            yield begun.popleft()()
    while begun:
        yield begun.popleft()()
    if failure is not None:
        raise failure


def _one_thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, name)  # unlike a daemon, its thread ends before the interpreter does
