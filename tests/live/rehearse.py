"""Rehearses live for minutes in a headless Chromium whose camera tells frame numbers, and prints a Markdown row a run.

    PERSONALIVE_BROWSER=/usr/bin/chromium python -m tests.live.rehearse --minutes 10 identity 60 600 stall small

A run is a model: `identity` gives the camera's picture back at once, a number takes as many milliseconds a step,
`stall` takes 250 ms and once 5 s, `small` is the shipped model, on whose results the number of their driving frame is
stamped. `behind` after a number, such as 600behind, gives each window back three steps later, as PersonaLive does.
"""

import argparse
import contextlib
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.live.barcode import HEIGHT, MEASURE, barcode, number_in, write_clip
from tests.live.doubles import sleeping
from tests.live.test_browser import ARGUMENTS, PORTRAIT, Middle, Panel, Server

HEAD = (
    "| model | shown a second | p50 ms | p95 | max | first half → second half: p50 / p95 | panel against barcode "
    "| replaced | step ms | server MB | browser MB |"
)
FRAMES = 3000  # of the clip: at 30 a second, longer than any delay
STALLED_AT = 60  # the step
LAPSE = 5.0  # seconds between two looks at the page
# A number that the reader missed in this round of the clip still has its time of the round before.
TAKE = "seen.shown.splice(0).filter(({ delay }) => delay < 60000).map(({ at, delay }) => [at, delay])"
DRAWN = "document.querySelector('.personalive-live-result canvas').width > 64"
PANEL = "document.querySelector('[data-figure=delay]').textContent"


@dataclass(frozen=True, eq=False)
class Stamped:
    """A performer whose results show the number of their driving frame."""

    inner: object
    numbers: dict = field(default_factory=dict)  # of the page's frames: what their barcode says

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def perform(self, state, frames, settings):
        self.numbers.update({one.number: number_in(one.picture) for one in frames})
        done = self.inner.perform(state, frames, settings)
        return replace(done, frames=tuple(self._stamped(one) for one in done.frames))

    def _stamped(self, made):
        number = self.numbers.get(made.number)
        side = made.picture.shape[0]
        code = Image.fromarray(barcode(number or 0)).resize((side * 4 // 3, side))
        left = (code.width - side) // 2
        return replace(made, picture=np.asarray(code)[:, left : left + side])


def performer_of(name):
    """The performer of a run."""
    if name == "small":
        import torch

        from personalive_core.backends.personalive.files import SHIPPED
        from personalive_core.backends.personalive.loader import load_model
        from personalive_core.backends.personalive.reference import encode_reference
        from personalive_core.drawn.canvas import FaceMotion
        from personalive_core.drawn.person import draw_portrait
        from personalive_core.drawn.sample import SITTER
        from personalive_core.live.performer import PersonaLivePerformer

        model = load_model(SHIPPED["small"], torch.device("cpu"), torch.float32)
        portrait = draw_portrait(SITTER, FaceMotion(), 128)
        return Stamped(PersonaLivePerformer(model, encode_reference(model, portrait, 128), portrait))
    behind = 3 if name.endswith("behind") else 0
    name = name.removesuffix("behind")
    usual = 0.0 if name == "identity" else 0.25 if name == "stall" else int(name) / 1000
    before = sleeping(usual)
    if name == "stall":
        before = lambda step: time.sleep(5 if step == STALLED_AT else usual)  # noqa: E731
    return Middle(size=HEIGHT, portrait=PORTRAIT, before=before, behind=behind)


def resident():
    """MB of memory: of this process, and of the browser's."""
    own, browser = 0, 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            name = (entry / "comm").read_text().strip()
            pages = int((entry / "statm").read_text().split()[1])
            own += pages if int(entry.name) == os.getpid() else 0
            browser += pages if "chrom" in name else 0
    size = os.sysconf("SC_PAGE_SIZE") / 2**20
    return own * size, browser * size


def rehearse(panel, minutes):
    """Delays [(seconds since the start, delay in ms)], the panel's own figures beside them, memory at times."""
    page, began = panel.page, time.monotonic()
    panel.says("Ready")
    panel.press("Start")
    panel.says("Live|being taken|slow")
    panel.page.wait_for_function(
        "document.querySelector('.personalive-live-result canvas').width > 64", timeout=120_000
    )
    page.evaluate(MEASURE)
    first, shown, memory, beside = None, [], [], []
    while time.monotonic() - began < 60 * minutes:
        page.wait_for_timeout(1000 * LAPSE)
        told, now = page.evaluate(PANEL), page.evaluate("performance.now()")
        shown += page.evaluate(TAKE)
        first = first if first is not None else now
        recent = [delay for at, delay in shown if at > now - 10_000]
        own = [int(part) for part in re.findall(r"\d+", told)]
        if now - first > 15_000 and recent and len(own) == 2:
            beside.append([*own, *np.percentile(recent, [50, 95])])
        memory.append((time.monotonic() - began, *resident()))
    return shown, np.array(beside), memory


def row(name, shown, beside, memory, server):
    """The run as a row of the table."""
    at, delay = np.array(shown).T
    half = at < (at[0] + at[-1]) / 2
    p = lambda values, part: f"{np.percentile(values, part):.0f}"  # noqa: E731
    apart = np.abs(beside[:, :2] - beside[:, 2:])
    figures = server.session.figures()
    settled = [one for one in memory if one[0] > min(60, memory[-1][0] / 2)]
    frames = f"{(len(delay) - 1) / (at[-1] - at[0]) * 1000:.1f}"
    trend = f"{p(delay[half], 50)} / {p(delay[half], 95)} → {p(delay[~half], 50)} / {p(delay[~half], 95)}"
    panel = f"{np.median(apart[:, 0]):.0f} / {np.median(apart[:, 1]):.0f}"
    places = [f"{settled[0][place]:.0f} → {settled[-1][place]:.0f}" for place in (1, 2)]
    step = f"{figures.step_p50 * 1000:.0f}"
    cells = [name, frames, p(delay, 50), p(delay, 95), f"{delay.max():.0f}", trend, panel, figures.replaced, step]
    return f"| {' | '.join(map(str, [*cells, *places]))} |"


def say(line):
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--mode", default="quality")
    parser.add_argument("--save", type=Path, help="folder for the delays of each run")
    a = parser.parse_args()
    say(HEAD)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        clip = Path(folder) / "clip.mjpeg"
        write_clip(clip, FRAMES)
        for name in a.runs:
            chromium = playwright.chromium.launch(
                executable_path=os.environ["PERSONALIVE_BROWSER"],
                args=[*ARGUMENTS, f"--use-file-for-fake-video-capture={clip}"],
            )
            context = chromium.new_context(viewport={"width": 1000, "height": 900}, locale="en")
            context.grant_permissions(["camera", "microphone"])
            server = Server(Path(folder), performer=performer_of(name))
            server.session.change(replace(server.session.settings, mode=a.mode))
            panel = Panel(context.new_page())
            panel.page.set_default_timeout(20_000)
            panel.page.goto(server.url)
            shown, beside, memory = rehearse(panel, a.minutes)
            if a.save:
                np.savez(a.save / f"{name}-{a.mode}.npz", shown=shown, beside=beside, memory=memory)
            say(row(f"{name} {a.mode}", shown, beside, memory, server))
            server.close()
            chromium.close()


if __name__ == "__main__":
    main()
