"""Who sits where, if several machines give live sessions: seats, how long to wait for one, how many are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

UNKNOWN_WAIT = 60.0  # seconds, if sessions have no limit
STARTING = 30.0  # seconds that a seat takes to come


@dataclass(frozen=True)
class DeskRules:
    """How many seats there are, and for how long."""

    least: int = 1  # seats that are always there
    most: int = 1
    minutes: float = 20.0  # of a session; 0: no limit
    idle: float = 300.0  # seconds after which a free seat above `least` is given back


@dataclass(frozen=True)
class Seat:
    """A machine that can give one session at a time."""

    since: float  # when it was taken, or became free
    token: str | None = None  # of the session; None: it is free


@dataclass(eq=False)
class Desk:
    """The seats by name. Times are in seconds, of any clock."""

    rules: DeskRules
    seats: dict[str, Seat] = field(default_factory=dict)
    coming: dict[str, float] = field(default_factory=dict)  # asked for, not there yet -> when it was

    def ask(self, name: str, now: float) -> None:
        """The seat was asked for."""
        self.coming[name] = now

    def came(self, name: str, now: float) -> None:
        """The seat is there, and free."""
        self.coming.pop(name, None)
        self.seats[name] = Seat(now)

    def gone(self, name: str) -> None:
        """The seat is not there any more."""
        self.coming.pop(name, None)
        self.seats.pop(name, None)

    def take(self, token: str, now: float) -> str | None:
        """Gives the session `token` a free seat; None: there is none."""
        free = [name for name, seat in self.seats.items() if seat.token is None]
        if not free:
            return None
        self.seats[free[0]] = Seat(now, token)
        return free[0]

    def left(self, name: str, now: float) -> None:
        """The seat's session has ended."""
        if name in self.seats:
            self.seats[name] = Seat(now)

    def wait(self, now: float) -> float:
        """Seconds until a seat is free at the latest, as far as that is known; at least 1.

        One that should have come by now may be waiting for a machine: it counts for nothing.
        """
        times = [since + STARTING for since in self.coming.values() if now < since + STARTING]
        if self.rules.minutes:
            taken = (seat.since for seat in self.seats.values() if seat.token is not None)
            times += [since + 60 * self.rules.minutes for since in taken]
        return max(min(times) - now, 1.0) if times else UNKNOWN_WAIT

    def wanted(self) -> int:
        """How many more seats to ask for: one is kept free, up to `most`."""
        there = len(self.seats) + len(self.coming)
        taken = sum(seat.token is not None for seat in self.seats.values())
        return max(min(max(self.rules.least, taken + 1), self.rules.most) - there, 0)

    def surplus(self, now: float) -> list[str]:
        """Free seats to give back: above `least`, and one, and idle for long enough."""
        free = [name for name, seat in self.seats.items() if seat.token is None]
        idle = [name for name in free if now - self.seats[name].since > self.rules.idle]
        return idle[: max(min(len(self.seats) - self.rules.least, len(free) - 1), 0)]
