"""Provokes every fault of a batch with the small model on real actors, and prints what was lost, as rows of a table.

python -m tests.batch.faults FOLDER: needs ray, two cores and about ten minutes; FOLDER is emptied.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.batch.journal import CLUSTER_JOURNAL, read_journal
from personalive_core.drawn.sample import write_sample
from personalive_core.media.video import read_frames

ENDED = re.compile(r"\[(\d+)/\d+\] (\S+) on .*: done, ")


def make_files(folder, references, films):
    """Drawn portraits and films, all alike: their names differ."""
    portrait, _ = write_sample(folder / "sample", seconds=0.4, size=64)
    (folder / "refs").mkdir()
    (folder / "drvs").mkdir()
    for number in range(references):
        shutil.copy(portrait, folder / "refs" / f"r{number:02}{portrait.suffix}")
    for name, seconds in films.items():
        shutil.copy(write_sample(folder / name, seconds, 64)[1], folder / "drvs" / f"{name}.mp4")


class Run:
    """One command, its lines with their times, and its result."""

    def __init__(self, folder, *options, workers=2, out="out", when=None):
        self.output, self.lines, self.times = folder / out, [], []
        command = [sys.executable, "-m", "personalive_core", "batch", "--references", folder / "refs"]
        command += ["--drivings", folder / "drvs", "--output", self.output, "--weights", SHIPPED["small"]]
        command += ["--size", 64, "--device", "cpu", "--workers", workers, "--cpus-per-worker", 1, "--local-cpus", 2]
        command += ["--object-store", 100, "--json", *options]
        words = [str(word) for word in command]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            self.lines.append(line)
            if ENDED.search(line):
                self.times.append(time.monotonic())
            if when:
                when(self, line)
        out = self.process.stdout.read()
        self.code = self.process.wait()
        self.result = json.loads(out) if out.strip() else {}

    @property
    def made(self):
        """Names of the rows that this run made."""
        return [found[2] for line in self.lines if (found := ENDED.search(line))]

    @property
    def per_minute(self):
        """Rows a minute, from the first row's end to the last's."""
        return 60 * (len(self.times) - 1) / (self.times[-1] - self.times[0])

    def after(self, rows):
        return len(self.times) >= rows


def whole(output):
    """Names of the results that can be read to their end."""
    return {path.stem for path in output.glob("*.mp4") if list(read_frames(path))}


def actors(run):
    """The processes of the run's actors."""
    children = psutil.Process(run.process.pid).children(recursive=True)
    return [child for child in children if "RowWorker" in " ".join(child.cmdline())]


def once(action, rows):
    """Does `action(run)` a single time, when so many rows are made."""
    done = []

    def when(run, _):
        if run.after(rows) and not done:
            done.append(1)
            action(run)

    return when


def kill_actor(run):
    os.kill(actors(run)[0].pid, signal.SIGKILL)


def say(*cells):
    sys.stdout.write("| " + " | ".join(map(str, cells)) + " |\n")
    sys.stdout.flush()


def twice(folder, name, action, code):
    """A run that is ended in the middle, and the same command again: what was made twice, and what is missing."""
    first = Run(folder, out=name, when=once(action, 3))
    kept = {path.name: path.stat().st_mtime_ns for path in first.output.glob("*.mp4")}
    second = Run(folder, out=name)
    again = [each for each in second.made if f"{each}.mp4" in kept]
    same = all((first.output / each).stat().st_mtime_ns == when for each, when in kept.items())
    missing = {row["row"] for row in second.result["rows"]} - whole(first.output)
    left = [path.name for path in first.output.iterdir() if path.suffix != ".mp4" and path.name != CLUSTER_JOURNAL]
    say(
        name,
        f"exit {first.code} (expected {code})",
        f"{len(kept)} kept, same: {same}",
        f"again: {again}",
        f"missing: {sorted(missing)}, left: {left}",
    )


def main(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_files(folder, 6, {"nod": 0.4, "talk": 0.4})
    one, two = Run(folder, workers=1, out="one"), Run(folder, workers=2, out="two")
    reads = [sum(w["motions"] for w in run.result["workers"].values()) for run in (one, two)]
    say(
        "one actor, two actors",
        f"{one.per_minute:.1f} and {two.per_minute:.1f} rows a minute",
        f"ratio {two.per_minute / one.per_minute:.2f}",
        f"motions read {reads}",
        "",
    )
    killed = Run(folder, out="killed", when=once(kill_actor, 3))
    lost = sum("was lost" in line for line in killed.lines)
    repeated = len(killed.made) - len(set(killed.made))
    say(
        "an actor killed",
        f"exit {killed.code}",
        f"{len(whole(killed.output))} of 12 whole",
        f"lost {lost}, made twice {repeated}",
        "",
    )
    twice(folder, "interrupted", lambda run: run.process.send_signal(signal.SIGINT), 130)
    twice(folder, "driver killed", lambda run: run.process.kill(), -9)
    (folder / "refs" / "r00.png").write_bytes(b"no picture")
    (folder / "drvs" / "nod.mp4").write_bytes(b"no film")
    poisoned = Run(folder, out="poisoned")
    reasons = {row["reason"][:60] for row in poisoned.result["rows"] if row["reason"]}
    say(
        "poisoned files",
        f"exit {poisoned.code}",
        f"{len(whole(poisoned.output))} of 12 whole",
        f"{poisoned.result['failed']} failed",
        reasons,
    )
    records = read_journal(poisoned.output, CLUSTER_JOURNAL)
    say("journal", f"{len(records)} records", "", "", "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
