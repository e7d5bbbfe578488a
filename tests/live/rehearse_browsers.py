"""Two real replicas and three real browsers: who is live, who has to wait, what a lost page does, who is next.

    PERSONALIVE_BROWSER=/usr/bin/chromium python -m tests.live.rehearse_browsers

Needs ray, playwright, two cores and about five minutes. `--save FOLDER` keeps pictures of the pages.
"""

import argparse
import contextlib
import io
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil
from PIL import Image

from personalive_core.drawn.sample import write_sample
from personalive_core.media.video import read_frames
from tests.live.rehearse_serve import COMMAND, OPTIONS, say
from tests.live.test_browser import ARGUMENTS, Panel

PATIENCE = 180  # seconds for anything to come
LOOKS, LAPSE = 20, 500  # looks at the result, ms apart
WAITING = "document.getElementById('personalive-waiting')?.textContent ?? ''"
STATE = "document.querySelector('.personalive-live-state')?.textContent ?? ''"
PICTURE = "document.querySelector('.personalive-live-result canvas').toDataURL()"
FIGURE = "(name) => document.querySelector(`[data-figure=${name}]`).textContent"


class Visitor(Panel):
    """A browser's page at the front door."""

    def __init__(self, name, context, url):
        super().__init__(context.new_page())
        self.name, self.context, self.began = name, context, time.monotonic()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.goto(url)

    def reads(self, script):
        """What the page says; nothing while it is between two pages."""
        with contextlib.suppress(Exception):
            return self.page.evaluate(script)
        return ""

    def until(self, pattern, script=STATE, patience=PATIENCE):
        """Waits until the page says this; returns its words and the seconds that it took."""
        began = time.monotonic()
        while not re.search(pattern, said := self.reads(script)):
            if time.monotonic() - began > patience:
                raise TimeoutError(f"{self.name}: not {pattern!r} but {said!r} {self.reads(WAITING)!r}")
            self.page.wait_for_timeout(100)
        return said, time.monotonic() - began

    def goes_live(self):
        """Presses Start, and tells what comes."""
        self.until("Ready")
        self.press("Start")
        self.is_live()

    def is_live(self):
        """Tells how the result moves, and the figures."""
        _, seconds = self.until("Live")
        pictures = set()
        for _ in range(LOOKS):
            self.page.wait_for_timeout(LAPSE)
            pictures.add(self.page.evaluate(PICTURE))
        fps, delay = (self.page.evaluate(FIGURE, name) for name in ("fps", "delay"))
        say(
            f"{self.name}: live {seconds:.1f} s later, {len(pictures)} of {LOOKS} looks at the result differ,",
            f"{fps} frames/s, delay {delay}",
        )
        assert len(pictures) > LOOKS // 3, "the result moves"
        assert all(re.search(r"\d", figure) for figure in (fps, delay))


def write_camera(path):
    """The drawn person as the camera's film."""
    with tempfile.TemporaryDirectory() as folder, path.open("wb") as clip:
        _, film = write_sample(Path(folder), seconds=4, size=256)
        for frame in read_frames(film):
            piece = io.BytesIO()
            Image.fromarray(frame.image).save(piece, "JPEG", quality=90)
            clip.write(piece.getvalue())


def kill_a_replica(process):
    """Kills one of the live machines."""
    children = psutil.Process(process.pid).children(recursive=True)
    victim = next(child for child in children if "LiveReplica" in " ".join(child.cmdline()))
    os.kill(victim.pid, signal.SIGKILL)


def first_of(visitors, script, pattern):
    """The first visitor whose page says this, and the seconds until it did."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        for one in visitors:
            if re.search(pattern, one.reads(script)):
                return one, time.monotonic() - began
            one.page.wait_for_timeout(50)
    raise TimeoutError(f"no page says {pattern!r}: {[one.reads(STATE) for one in visitors]}")


def scene(visit, process, shoot):
    one, two = visit("one"), visit("two")
    for each in (one, two):
        each.goes_live()
    shoot(one, "live")
    three = visit("three")
    say("three is told:", three.until("taken", WAITING)[0])
    shoot(three, "waiting")
    kill_a_replica(process)
    killed = time.monotonic()
    lost, seconds = first_of([one, two], STATE, "machine of this session was lost")
    stays = two if lost is one else one
    say(f"a replica is killed: {lost.name} is told in {seconds:.1f} s: {lost.reads(STATE)}")
    shoot(lost, "lost")
    say(f"{lost.name} leaves for the door: {lost.until('taken', WAITING)[0]}")
    say(f"{stays.name} meanwhile: {stays.reads(STATE)}")
    back, _ = first_of([lost, three], STATE, "Ready|Live|Waiting|first step|Opening")
    say(f"{back.name} is let in {time.monotonic() - killed:.1f} s after the kill: {back.reads(STATE)}")
    (left,) = {lost, three} - {back}
    back.goes_live() if back is three else back.is_live()
    say(f"{left.name} still waits: {left.reads(WAITING)}")
    stays.context.close()
    began = time.monotonic()
    say(f"{stays.name} closes its page")
    left.until("Ready|Live|Waiting|first step|Opening")
    say(f"{left.name} is let in {time.monotonic() - began:.1f} s after that: {left.reads(STATE)}")
    left.goes_live() if "Ready" in left.reads(STATE) else left.is_live()
    shoot(left, "next")
    for each in (back, left):
        assert not each.errors, each.errors


def main():
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser()
    parser.add_argument("--save", type=Path, help="folder for pictures of the pages")
    a = parser.parse_args()
    process = subprocess.Popen([*COMMAND, *OPTIONS], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            say(line.strip())
            if found := re.match(r"serve: (\S+)/ ", line):
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            clip = Path(folder) / "camera.mjpeg"
            write_camera(clip)
            chromium = playwright.chromium.launch(
                executable_path=os.environ["PERSONALIVE_BROWSER"],
                args=[*ARGUMENTS, f"--use-file-for-fake-video-capture={clip}"],
            )

            def visit(name):
                context = chromium.new_context(viewport={"width": 1000, "height": 900}, locale="en")
                context.grant_permissions(["camera", "microphone"])
                return Visitor(name, context, found[1] + "/")

            def shoot(visitor, what):
                if a.save:
                    visitor.page.screenshot(path=a.save / f"{what}.png")

            scene(visit, process, shoot)
            ending = time.monotonic()
            process.send_signal(signal.SIGINT)  # while pages are open
            process.wait(60)
            say(f"Ctrl-C with pages open: ended with {process.returncode} in {time.monotonic() - ending:.1f} s")
            chromium.close()
    finally:
        if process.poll() is None:
            process.kill()


if __name__ == "__main__":
    main()
