"""Times live sessions: a generated camera in, encoded result frames out."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from dataclasses import dataclass, field

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.reference import encode_reference
from ..device import peak_memory, reset_peak_memory
from ..live.figures import ranked
from ..live.performer import PersonaLivePerformer
from ..live.pictures import encode_jpeg
from ..live.session import LiveSession
from ..live.types import Captured, Made, Settings
from .figures import LiveCost
from .loop import drawn_frames, drawn_portrait

GENERATED_RATE = 25.0  # frames a second
SETTLED_AFTER = 5  # windows after which a session is in its steady state: its stream is full, its networks are ready
FEWEST_WINDOWS = 3  # that are measured, however long they take
_PATIENCE = 600.0  # seconds after which a session is measured as it is


@dataclass
class Encoded:
    """Encodes result frames in a thread of its own, as the connection does, and notes when each was ready."""

    delays: list[tuple[float, float]] = field(default_factory=list)  # (when, seconds since its capture)
    windows: int = 0
    _waiting: queue.Queue[tuple[Made, ...] | None] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="bench-encoder", daemon=True)
        self._thread.start()

    def put(self, frames: tuple[Made, ...]) -> None:
        """Takes the frames of a window; for `LiveSession.subscribe`."""
        self._waiting.put(frames)

    def close(self) -> None:
        """Encodes what waits, and ends."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (frames := self._waiting.get()) is not None:
            for made in frames:
                encode_jpeg(made.picture)
                now = time.monotonic()
                self.delays.append((now, now - made.time))
            self.windows += bool(frames)


def measure_live(model: PersonaLive, speed: str, mode: str, size: int, seconds: float) -> LiveCost:
    """A session in `mode`, one of MODES, with a camera of 25 frames a second, for `seconds` of its steady state.

    Its pictures are of the result's size, and have no face to find: the centred square is the portrait. Delays are from
    capture to the encoded result frame; transport and display come on top.
    """
    reset_peak_memory(model.device)
    portrait = drawn_portrait(size)
    performer = PersonaLivePerformer(model, encode_reference(model, portrait, size), portrait)
    session, encoded = LiveSession(performer, Settings(mode=mode)), Encoded()
    leave = session.subscribe(on_frames=encoded.put)
    session.start()
    try:
        begun, ended = _play(session, encoded, size, seconds)
        figures = session.figures()
    finally:
        leave()
        session.stop()
        encoded.close()
    delays = [delay for when, delay in encoded.delays if begun <= when <= ended]
    decoder = "full" if model.tiny_vae is None else "tiny"
    shown = len(delays) / (ended - begun)
    steps = figures.step_p50, figures.step_p95
    return LiveCost(
        speed, decoder, mode, shown, *steps, ranked(delays, 0.5), ranked(delays, 0.95), peak_memory(model.device)
    )


def _play(session: LiveSession, encoded: Encoded, size: int, seconds: float) -> tuple[float, float]:
    """Offers the camera's frames until the session was in its steady state for `seconds`: from when to when."""
    pictures, give_up = drawn_frames(size, 1.0), time.monotonic() + _PATIENCE
    begun: float | None = None
    due = time.monotonic()
    for number in itertools.count():
        now = time.monotonic()
        if begun is None and (encoded.windows >= SETTLED_AFTER or now > give_up):
            begun = now
        enough = encoded.windows >= SETTLED_AFTER + FEWEST_WINDOWS or now > give_up
        if begun is not None and now >= begun + seconds and enough:
            return begun, now
        session.offer(Captured(pictures[number % len(pictures)], number, now))
        # as the page does, no more frames than the session asks for
        due = max(due + 1 / min(GENERATED_RATE, session.figures().rate), now)
        time.sleep(max(due - time.monotonic(), 0))
    raise AssertionError("numbers do not end")
