"""Performers without networks: each gives the driving frames back, at once, later, after a while, or fails."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from personalive_core.errors import FaceError
from personalive_core.live.types import Captured, Made, Performed

BLANK = np.zeros((8, 8, 3), np.uint8)


def captured(number, picture=BLANK, rate=25.0):
    """The frame of this number of a camera of `rate` frames a second."""
    return Captured(picture, number, number / rate)


@dataclass(frozen=True, eq=False)
class EchoState:
    """What an `Echo` knows between two steps."""

    steps: int = 0
    windows: int = 0
    flight: tuple = ()  # windows that come out later
    calibrated: int = 0


@dataclass(frozen=True, eq=False)
class Echo:
    """Gives each driving frame back as its result, `behind` windows later."""

    window: int = 4
    size: int = 8
    portrait: np.ndarray = field(default_factory=lambda: BLANK)
    behind: int = 0  # 3: as PersonaLive
    before: object = None  # called with the number of the step: waits, stalls or raises
    faces: object = None  # called with the newest frame: gives (faces, found)

    def begin(self):
        return EchoState()

    def perform(self, state, frames, _settings):
        if self.before is not None:
            self.before(state.steps)
        flight = (*state.flight, tuple(frames))
        done, flight = (flight[0], flight[1:]) if len(flight) > self.behind else ((), flight)
        made = tuple(Made(shrunk(one.picture, self.size), one.number, one.time, state.windows) for one in done)
        after = replace(state, steps=state.steps + 1, windows=state.windows + bool(done), flight=flight)
        faces, found = self.faces(frames[-1]) if self.faces else (1, True)
        return Performed(after, made, faces, found)

    def calibrated(self, state):
        return replace(state, calibrated=state.calibrated + 1)

    def with_reference(self, picture):
        """A black picture shows no face."""
        if not picture.any():
            raise FaceError("no face in the reference portrait: use a picture with one clear face, or give its box")
        return replace(self, portrait=shrunk(picture, self.size))


def shrunk(picture, size):
    if picture.shape[:2] == (size, size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size)))


def sleeping(seconds):
    """Each step takes this long."""
    return lambda _step: time.sleep(seconds)


def stalling(at, seconds, usual=0.0):
    """The step of this number takes this long."""
    return lambda step: time.sleep(seconds if step == at else usual)


def raising(error, *at):
    """The steps of these numbers fail, each once."""
    left = set(at)

    def before(step):
        if step in left:
            left.discard(step)
            raise error

    return before


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += seconds


class Heard:
    """A listener that notes everything."""

    def __init__(self, session):
        self.windows, self.said, self.keyframes, self.settings = [], [], [], []
        self.remove = session.subscribe(
            on_frames=self.windows.append,
            on_said=lambda word, text, values: self.said.append((word, text, values)),
            on_keyframe=lambda number, _picture: self.keyframes.append(number),
            on_settings=self.settings.append,
        )

    @property
    def words(self):
        return [word for word, _, _ in self.said]

    @property
    def numbers(self):
        return [[frame.number for frame in window] for window in self.windows]
