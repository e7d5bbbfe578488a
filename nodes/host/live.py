"""The pack's live service: at most one session, the routes that lead to it, the gate that puts prompts first."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import folder_paths
from aiohttp import web
from server import PromptServer

from ...personalive_core.backends.personalive.model import PersonaLive
from ...personalive_core.live.performer import LiveState, PersonaLivePerformer
from ...personalive_core.live.server import MJPEG_PATH, SOCKET_PATH, LiveHub, Rules
from ...personalive_core.live.session import LiveSession
from ...personalive_core.live.types import Captured, Performed, Settings
from ...personalive_core.media.picture import Picture
from .memory import settled

COMING = 2.0  # seconds in which a prompt that was sent is in the queue
ENDING = 0.5  # seconds that a prompt waits at most for the step that is being taken
RECORDINGS = "video"  # folder of the results, in ComfyUI's output folder

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Residence:
    """Brings the networks of a stream onto the device, and again after something else was there."""

    def __init__(self, model: PersonaLive, room: int) -> None:
        """`room`: bytes to be kept free for a step."""
        self._model, self._room = model, room
        self._there: PersonaLive | None = None

    def __call__(self) -> PersonaLive:
        """The model, with its networks on the device."""
        if self._there is None:
            self._there = settled(self._model, self._room)
        return self._there

    def left(self) -> None:
        """Something else may be on the device now."""
        self._there = None


@dataclass(frozen=True, eq=False)
class HostedPerformer:
    """A performer whose networks are under ComfyUI's memory management."""

    inner: PersonaLivePerformer
    residence: Residence

    @property
    def window(self) -> int:
        """Frames of a step."""
        return self.inner.window

    @property
    def size(self) -> int:
        """Pixels a side of the result."""
        return self.inner.size

    @property
    def portrait(self) -> Picture:
        """What the reference shows, [S, S, 3]."""
        return self.inner.portrait

    def begin(self) -> LiveState:
        """The state before the first step."""
        return self.inner.begin()

    def calibrated(self, state: LiveState) -> LiveState:
        """The state from which the next face's pose is the neutral one."""
        return self.inner.calibrated(state)

    def with_reference(self, picture: Picture) -> HostedPerformer:
        """The same with another reference. Reading it may push networks of the stream off the device."""
        try:
            return replace(self, inner=self.inner.with_reference(picture))
        finally:
            self.residence.left()

    def perform(self, state: LiveState, frames: Sequence[Captured], settings: Settings) -> Performed:
        """One step. Cancel, which is meant for a prompt, ends none: the step is taken again."""
        inner = replace(self.inner, model=self.residence())
        try:
            return inner.perform(state, frames, settings)
        except mm.InterruptProcessingException:
            return inner.perform(state, frames, settings)


class PromptGate:
    """Whether the device is free for live: not from the moment a prompt is sent until the queue is empty again."""

    def __init__(self, server: Any, left: Callable[[], None], busy: Callable[[], bool]) -> None:
        """`left` is called while prompts run; `busy` says whether a step is being taken."""
        self._server, self._left, self._busy = server, left, busy
        self._coming = 0.0  # until then a prompt may be on its way into the queue

    def __call__(self) -> bool:
        """Whether a step may be taken."""
        queue = getattr(self._server, "prompt_queue", None)
        free = time.monotonic() >= self._coming and (queue is None or queue.get_tasks_remaining() == 0)
        if not free:
            self._left()
        return free

    def close(self) -> None:
        """A prompt comes: no step begins, and one that is being taken is waited for, half a second at most."""
        self._coming = time.monotonic() + COMING
        end = time.monotonic() + ENDING
        while self._busy() and time.monotonic() < end:
            time.sleep(0.01)


@dataclass(frozen=True, eq=False)
class Running:
    """A session that is on."""

    hub: LiveHub
    gate: PromptGate
    token: str
    made_of: tuple[object, ...]  # the node's inputs that a performer is made of, compared by identity


class LiveService:
    """Holds the one session while it is on, and nothing otherwise."""

    def __init__(self) -> None:
        self._running: Running | None = None

    @property
    def hub(self) -> LiveHub | None:
        """That of the session that is on."""
        return self._running.hub if self._running else None

    def begin(
        self,
        make: Callable[[], PersonaLivePerformer],
        made_of: tuple[object, ...],
        settings: Settings,
        names: tuple[str, str],
        room: int,
    ) -> str:
        """Begins a session, or changes the one that is on; returns its token.

        `make` is called where a performer is needed, that is where `made_of` is not what it was; `names` are of the
        model and the device, for people.
        """
        running = self._running
        if running is not None and running.hub.session.alive:
            if not same(running.made_of, made_of):
                running.hub.session.replace(hosted(make(), room))
                self._running = replace(running, made_of=made_of)
            running.hub.session.change(settings)
            return running.token
        gate = PromptGate(PromptServer.instance, lambda: left(session), lambda: session.busy)
        session = LiveSession(hosted(make(), room), settings, gate, *names)
        token = secrets.token_urlsafe(24)
        output = Path(folder_paths.get_output_directory()) / RECORDINGS
        films = Path(folder_paths.get_input_directory())
        # ComfyUI decides which hosts it answers to
        hub = LiveHub(session, token, output, loopback=False, rules=Rules(camera=films))
        begun = self._running = Running(hub, gate, token, made_of)
        session.subscribe(on_said=lambda word, _text, _values: self._ended(begun) if word == "ended" else None)
        session.start()
        return token

    def prompted(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """For ComfyUI, which calls it with every prompt that is sent."""
        if self._running is not None:
            self._running.gate.close()
        return prompt

    def _ended(self, running: Running) -> None:
        if self._running is running:
            self._running = None


def hosted(performer: PersonaLivePerformer, room: int) -> HostedPerformer:
    """The performer for ComfyUI; `room` bytes are kept free for a step."""
    return HostedPerformer(performer, Residence(performer.model, room))


def left(session: LiveSession) -> None:
    """Tells the session's performer, whichever it has by now, that its networks may be off the device."""
    session.performer.residence.left()


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether both hold the same objects; numbers and texts are compared by value."""
    plain = (int, float, str, type(None))
    return len(one) == len(other) and all(
        a is b or (isinstance(a, plain) and isinstance(b, plain) and a == b) for a, b in zip(one, other, strict=True)
    )


SERVICE = LiveService()


def while_on(handle: Callable[[LiveHub], Handler]) -> Handler:
    """A route that does not exist unless a session is on: until then it answers as any unknown path does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        hub = SERVICE.hub
        if hub is None:
            raise web.HTTPNotFound
        return await handle(hub)(request)

    return answer


def add_live_routes() -> None:
    """Adds the two routes, and puts prompts first. aiohttp takes no route once the server runs."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:  # else ComfyUI's modules are loaded without its server, as in a test
        server.routes.get(SOCKET_PATH)(while_on(lambda hub: hub.socket))
        server.routes.get(MJPEG_PATH)(while_on(lambda hub: hub.mjpeg))
        server.add_on_prompt_handler(SERVICE.prompted)
