"""The page's numbers and times on the session's clock, and back: a page that is loaded again begins anew."""

from __future__ import annotations

from dataclasses import dataclass

_ASTRAY = 10.0  # seconds: a page's clock that is further off has been set anew
_LEAST = 1e-3  # seconds between two frames


@dataclass(frozen=True)
class Instant:
    """Number and time of a frame."""

    number: int
    time: float  # seconds


class PageClock:
    """For one connection. The session's clock is the server's own, so that times go on from page to page."""

    def __init__(self, newest: Instant) -> None:
        """`newest`: of the frames that the session has been given, by this page or another one."""
        self.newest = newest
        self._number: int | None = None  # what is added to the page's
        self._time: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the page has told a time yet; before, none of the session's is one of the page's."""
        return self._time is not None

    def time_up(self, time: float, now: float) -> float:
        """A time of the page's clock on the session's; the first one told is taken for `now`."""
        if self._time is None or abs(time + self._time - now) > _ASTRAY:
            self._time = max(now, self.newest.time + _LEAST) - time
        return time + self._time

    def up(self, page: Instant, now: float) -> Instant | None:
        """The session's number and time; None for a frame that is not later than the one before."""
        if self._number is None:
            self._number = self.newest.number + 1 - page.number
        own = Instant(page.number + self._number, self.time_up(page.time, now))
        if own.number <= self.newest.number or own.time <= self.newest.time:
            return None
        self.newest = own
        return own

    def down(self, own: Instant) -> Instant:
        """The page's number and time; of frames before its first one they are what they would have been."""
        return Instant(own.number - (self._number or 0), own.time - (self._time or 0.0))
