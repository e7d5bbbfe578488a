"""The command `personalive live`: a camera or film drives a portrait while it happens, on a page of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..backends.personalive.files import SHIPPED
from ..backends.personalive.motion import Strengths
from ..backends.registry import LIVE_SYSTEMS
from ..device import device_name
from ..errors import InputError
from ..live.app import Fed, on_loopback, serve
from ..live.figures import Figures
from ..live.liveportrait import LIVE_STRENGTHS
from ..live.record import FilmRecorder, Recorded, RecordOptions
from ..live.server import LiveHub, Rules
from ..live.session import LiveSession
from ..live.sources import CameraSource, FilmSource
from ..live.takes import show_window
from ..live.types import MODES, QUALITY, Made, Settings
from ..live.virtual_camera import VirtualCamera, open_virtual_camera
from ..media.files import check_written
from .live_performers import engine_for, performer_of, settle_live
from .liveportrait_options import add_transfer
from .options import (
    DEFAULT_WEIGHTS,
    add_decoder,
    add_detector,
    add_device,
    add_loras,
    add_precision,
    add_reporting,
    add_speed,
    add_system,
)
from .readers import face_choice, number, picture_size, whole
from .result import Result

PORT = 8190
FILMS = (".mp4", ".mov", ".mkv", ".webm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive live`."""
    parser.add_argument("--reference", type=Path, help="portrait, a picture (default: the bundled drawn one)")
    driving = parser.add_mutually_exclusive_group()
    driving.add_argument("--camera", type=whole(0), metavar="N", help="a camera of this machine, 0 is the first")
    driving.add_argument("--driving", type=Path, help="film that drives instead of a camera, again and again")
    parser.add_argument("--mode", choices=MODES, default=QUALITY, help="quick: about half the delay (default: quality)")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help=f"weights (default: PersonaLive's small model; for LivePortrait ./{DEFAULT_WEIGHTS})",
    )
    parser.add_argument("--size", type=picture_size, default=0, help="pixels a side (default: the model's own)")
    for add in (add_device, add_precision, add_decoder, add_speed, add_loras, add_reporting):
        add(parser)
    add_live_motion(parser)
    out = parser.add_argument_group("result")
    out.add_argument("--virtual-camera", action="store_true", help="also as a virtual camera (needs pyvirtualcam)")
    out.add_argument("--mjpeg", action="store_true", help="print the address for OBS's browser source")
    out.add_argument("--record", type=Path, help="record the whole session: .mp4, .mov, .mkv or .webm")
    out.add_argument(
        "--output", type=Path, default=Path("output"), help="folder of the page's recordings and snapshots"
    )
    out.add_argument("--mark", action="store_true", help="add a small visible mark that says the result is generated")
    page = parser.add_argument_group("page")
    page.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    page.add_argument("--port", type=whole(0, 65535), default=PORT, help="default: %(default)s; 0 takes a free one")
    page.add_argument("--no-browser", action="store_true", help="do not open the page")
    add_system(parser, LIVE_SYSTEMS)
    add_transfer(parser.add_argument_group("with --system liveportrait alone"))


def add_live_motion(parser: argparse.ArgumentParser) -> None:
    """Adds strengths, smoothing, face, seed and detector."""
    group = parser.add_argument_group("motion")
    for name, default in vars(Strengths()).items():
        ours = vars(LIVE_STRENGTHS)[name]
        group.add_argument(f"--{name}", type=number(0, 3), help=f"0 to 3 (default: {default}; LivePortrait: {ours})")
    group.add_argument("--smooth", type=number(0.01, 1000), metavar="HZ", help="smooth the pose with this cutoff")
    group.add_argument("--face", type=face_choice, default="largest", help="the face to follow (default: largest)")
    group.add_argument("--seed", type=whole(0), default=0, help="of the noise (default: %(default)s)")
    add_detector(group)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive live` until its page ends it, is closed, or Ctrl-C."""
    settle_live(a)
    if a.record:
        read = {"--reference": a.reference, "--driving": a.driving}
        check_written(a.record, FILMS, {name: path for name, path in read.items() if path})
    engine = engine_for(a)
    engine.require()
    camera = open_virtual_camera(a.size) if a.virtual_camera else None
    performer = performer_of(a, engine)
    settings = Settings(Strengths(a.rotation, a.translation, a.scale, a.expression), a.mode, a.smooth, a.face, a.mark)
    names = (
        next((key for key, place in SHIPPED.items() if place == a.weights), a.weights.name),
        device_name(engine.device),
    )
    session = LiveSession(performer, settings, model=names[0], device=names[1])
    source, token = source_of(a), secrets.token_urlsafe(24)
    # without a page of its own a camera or film goes on alone
    rules = Rules(first=None, grace=None if source != "page" else Rules.grace, virtual_camera=camera is not None)
    hub = LiveHub(session, token, a.output, source, on_loopback(a.host), rules)
    tally = Tally()
    leave = session.subscribe(on_frames=tally.add)
    with ExitStack() as stack:
        stack.callback(leave)
        if camera is not None:
            stack.callback(VirtualCamera(hub.outlet, camera, first=performer.portrait).close)
        if a.record:
            stack.enter_context(recording(a.record, hub, tally))
        if source != "page":
            stack.enter_context(playing(a, hub))
        session.start()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(hub, token, (a.host, a.port), partial(announce, a)))
        tally.end(session.figures())
    return tally.result()


def source_of(a: argparse.Namespace) -> str:
    """Where driving frames come from: page, camera or film."""
    return "page" if a.camera is None and a.driving is None else "film" if a.driving else "camera"


@contextmanager
def playing(a: argparse.Namespace, hub: LiveHub) -> Iterator[None]:
    """The camera or film gives frames inside the block."""
    taker = Fed(hub)
    source = FilmSource(taker, a.driving) if a.driving else CameraSource(taker, a.camera)
    source.start()
    try:
        yield
    finally:
        source.stop()


@contextmanager
def recording(path: Path, hub: LiveHub, tally: Tally) -> Iterator[None]:
    """Every result inside the block goes into the film at `path`."""
    recorder = FilmRecorder(path, RecordOptions(), tally.recorded)
    leave = hub.outlet.listen(partial(show_window, recorder))
    try:
        yield
    finally:
        leave()
        recorder.finish()


def announce(a: argparse.Namespace, page: str, mjpeg: str) -> None:
    """Says where the page is, and opens it."""
    sys.stderr.write(f"live: {page}\n")
    if a.mjpeg:
        sys.stderr.write(f"Motion JPEG, for OBS's browser source: {mjpeg}\n")
    sys.stderr.write("Ctrl-C ends it.\n")
    if not a.no_browser:
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()


@dataclass
class Tally:
    """What a session made, for the summary."""

    frames: int = 0
    figures: Figures | None = None
    film: Recorded | None = None
    _begun: tuple[float, int] | None = None
    fps: float = 0.0  # of the time with results: the last figures are of when nothing came any more

    def add(self, frames: tuple[Made, ...]) -> None:
        """Counts result frames."""
        now = time.monotonic()
        self._begun = self._begun or (now, len(frames))
        self.frames += len(frames)
        if now > self._begun[0]:
            self.fps = (self.frames - self._begun[1]) / (now - self._begun[0])

    def recorded(self, film: Recorded) -> None:
        """Notes how the recording ended."""
        self.film = film

    def end(self, figures: Figures) -> None:
        """Notes the last figures."""
        self.figures = figures

    def result(self) -> Result:
        """The summary. Raises the error of a recording that was asked for and could not be finished."""
        if self.film is not None and self.film.error is not None:
            raise self.film.error
        if self.figures is None:
            raise InputError("the session ended before it began: run it again")
        now = self.figures
        delays = [now.delay_p50, now.delay_p95]
        shown = "" if None in delays else f", delay {1000 * (delays[0] or 0):.0f} / {1000 * (delays[1] or 0):.0f} ms"
        film = f"\n{self.film.path}: {self.film.frames} frames" if self.film else ""
        text = (
            f"live: {self.frames} frames, {self.fps:.1f} a second{shown}, {now.replaced} driving frames replaced{film}"
        )
        values = {"frames": self.frames, "fps": self.fps, "delay_p50": delays[0], "delay_p95": delays[1]}
        recorded = {"record": str(self.film.path) if self.film else None}
        return Result(text, {**values, "replaced": now.replaced, "step_p50": now.step_p50, **recorded})
