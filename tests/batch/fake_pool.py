"""A pool of workers in this process: tasks take made-up seconds of a made-up clock, and fail as a script says."""

from collections import Counter
from pathlib import Path

from personalive_core.batch.board import LOST, MADE, READ, Row, TaskEnd
from personalive_core.batch.drive import Event


def row(face="anna", film="nod", frames=100, name=None, **options):
    """A row of one reference and one driving."""
    name = name or f"{face}__{film}"
    return Row(name, f"key-{name}", Path(f"{face}.png"), Path(f"{film}.mp4"), (*options.items(),), frames, face, film)


class FakePool:
    """`script(worker, task, number)` gives an outcome, or None where the task succeeds; `number` counts all tasks.

    `back`: seconds after which a lost worker is there again; None: never.
    """

    def __init__(self, workers, script=lambda *_: None, back=5.0, write=True):
        self.there, self.script, self.back, self.write = list(workers), script, back, write
        self.running, self.returning, self.now, self.number = {}, {}, 0.0, 0
        self.log = []  # (worker, "read" or "make", row's name)
        self.encoded = Counter()  # (worker, face) -> times, where a worker keeps eight
        self.faces = {}

    def free(self):
        return [worker for worker in self.there if worker not in self.running]

    def alive(self):
        return list(self.there)

    def start(self, worker, task, place):
        assert worker in self.free()
        self.number += 1
        self.log.append((worker, "read" if task.reads else "make", task.row.name))
        if not task.reads:
            held = self.faces.setdefault(worker, [])
            self.encoded[worker, task.row.face] += task.row.face not in held
            self.faces[worker] = [*[face for face in held if face != task.row.face], task.row.face][-8:]
        outcome = self.script(worker, task, self.number) or self._well(task, place)
        self.running[worker] = self.now + max(outcome.seconds, 0.001), task, outcome

    def _well(self, task, place):
        if task.reads:
            return TaskEnd(READ, frames=task.row.cost, seconds=task.row.cost / 100, motion=object())
        if self.write:
            place.write_text(task.row.name)
        return TaskEnd(MADE, frames=task.row.cost, seconds=task.row.cost / 10, place=str(place))

    def wait(self, seconds):
        times = [end for end, _, _ in self.running.values()] + [*self.returning.values()]
        if not times or min(times) > self.now + seconds:
            self.now += seconds
            return []
        self.now = min(times)
        events = [self._end(w) for w, (end, _, _) in [*self.running.items()] if end <= self.now]
        for worker in [w for w, when in self.returning.items() if when <= self.now]:
            del self.returning[worker]
            self.there.append(worker)
            events.append(Event(worker))
        return events

    def _end(self, worker):
        _, _, outcome = self.running.pop(worker)
        if outcome.kind == LOST:
            self.there.remove(worker)
            self.faces.pop(worker, None)
            if self.back is not None:
                self.returning[worker] = self.now + self.back
        return Event(worker, outcome)

    @property
    def clock(self):
        return lambda: self.now

    def made(self):
        return [name for _, kind, name in self.log if kind == "make"]

    def reads(self):
        return [name for _, kind, name in self.log if kind == "read"]


class Silent:
    """A BatchWatch that keeps what it was told."""

    def __init__(self):
        self.given_up = {}

    def began(self, worker, task):
        pass

    def ended(self, worker, task, outcome, record):
        pass

    def failed(self, record):
        self.given_up[record.name] = record.reason
