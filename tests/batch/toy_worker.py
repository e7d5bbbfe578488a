"""A worker for real actors without networks: it sleeps, writes small files, and fails as the row's options say."""

import contextlib
import os
import platform
import signal
import time
from pathlib import Path

from personalive_core.batch.board import BAD, MADE, OUTPUT, READ, SHORT_OF_MEMORY, TaskEnd


class ToyWorker:
    """Options of a row: seconds, kill (once, always), fail (a kind of failure), and once (a file that says it was)."""

    def __init__(self, folder, bulk=0):
        self.folder, self.bulk, self.held = Path(folder), bulk, set()

    def hello(self, number):
        return f"{platform.node()} ({number})"

    def read(self, call):
        self._note("read", call)
        return TaskEnd(READ, frames=1), b"m" * max(self.bulk, 1)

    def make(self, call, place, motion, lean=False):
        options = dict(call["options"])
        self._note("make", call, motion is not None)
        self.held.add(call["reference"])
        time.sleep(float(options.get("seconds", 0)))
        once = self.folder / f"once-{Path(call['reference']).stem}"
        if options.get("kill") == "always" or (options.get("kill") == "once" and not once.exists()):
            once.touch()
            Path(place).with_suffix(".partial.mp4").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        kind = options.get("fail")
        if kind in (BAD, OUTPUT) or (kind == SHORT_OF_MEMORY and not lean):
            return TaskEnd(kind, f"{kind} as asked")
        Path(place).write_text("whole")
        return TaskEnd(MADE, frames=1, seconds=0.01, place=place, faces=len(self.held), peak_memory=_resident())

    def _note(self, what, call, shared=False):
        line = f"{what} {Path(call['reference']).stem} {Path(call['driving']).stem} {os.getpid()} {shared}\n"
        with (self.folder / "log.txt").open("a") as file:
            file.write(line)


def _resident():
    """Bytes that the process has for itself now: what it has looked at in the object store is shared."""
    with contextlib.suppress(OSError):
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    return None
