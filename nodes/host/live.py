"""The pack's live service: at most one session, and the routes that lead to it while it is on."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web
from server import PromptServer

from ...personalive_core.live.server import MJPEG_PATH, SOCKET_PATH, LiveHub, Rules
from ...personalive_core.live.session import LiveSession
from ...personalive_core.live.types import Settings
from .live_device import Managed, PromptGate, hosted

RECORDINGS = "video"  # folder of the results, in ComfyUI's output folder

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What the node asks for."""

    make: Callable[[], Managed]  # is called where a performer is needed
    made_of: tuple[object, ...]  # what the performer is made of: objects are compared by identity
    settings: Settings
    names: tuple[str, str]  # of the model and the device, for people
    room: int  # bytes to be kept free for a step


@dataclass(frozen=True, eq=False)
class Running:
    """A session that is on."""

    hub: LiveHub
    gate: PromptGate
    token: str
    made_of: tuple[object, ...]
    settings: Settings  # that the node asked for last; a person may have changed them since

    def changed(self, wanted: Wanted) -> Running:
        """Changes in the session what the node asks for now and did not before."""
        session = self.hub.session
        if not same(self.made_of, wanted.made_of):
            session.replace(hosted(wanted.make(), wanted.room, self.gate), wanted.names)
        if self.settings != wanted.settings:
            session.change(wanted.settings)
        return replace(self, made_of=wanted.made_of, settings=wanted.settings)


class LiveService:
    """Holds the one session while it is on, and nothing otherwise."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._lock = threading.Lock()

    @property
    def hub(self) -> LiveHub | None:
        """That of the session that is on."""
        running = self._running
        return running.hub if running else None

    def begin(self, wanted: Wanted) -> str:
        """Begins a session, or changes the one that is on; returns its token."""
        running = self._running
        if running is not None and running.hub.keep():
            changed = running.changed(wanted)
            with self._lock:
                if self._running is running and running.hub.keep():  # else it has ended meanwhile
                    self._running = changed
                    return changed.token
        running = begun(wanted, self._ended)
        with self._lock:
            self._running = running
        running.hub.session.start()
        return running.token

    def prompted(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """For ComfyUI, which calls it with every prompt that is sent."""
        running = self._running
        if running is not None:
            running.gate.close()
        return prompt

    def _ended(self, gate: PromptGate) -> None:
        with self._lock:
            if self._running is not None and self._running.gate is gate:
                self._running = None


def begun(wanted: Wanted, ended: Callable[[PromptGate], None]) -> Running:
    """A session that has yet to be started; `ended` is called with its gate when it has ended."""
    gate = PromptGate(PromptServer.instance)
    session = LiveSession(hosted(wanted.make(), wanted.room, gate), wanted.settings, gate, *wanted.names)
    token = secrets.token_urlsafe(24)
    output = Path(folder_paths.get_output_directory()) / RECORDINGS
    rules = Rules(camera=Path(folder_paths.get_input_directory()))
    hub = LiveHub(session, token, output, loopback=False, rules=rules)  # ComfyUI decides which hosts it answers to
    session.subscribe(on_said=lambda word, _text, _values: ended(gate) if word == "ended" else None)
    return Running(hub, gate, token, wanted.made_of, wanted.settings)


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether both hold the same objects; numbers and texts are compared by value."""
    plain = (int, float, str, type(None))
    return len(one) == len(other) and all(
        a is b or (isinstance(a, plain) and isinstance(b, plain) and a == b) for a, b in zip(one, other, strict=True)
    )


SERVICE = LiveService()


class WhileOn(web.PlainResource):
    """A path that does not exist unless a session is on: until then it answers as any unknown path does."""

    async def resolve(self, request: web.Request) -> Any:
        """What handles the request, and the methods that are allowed; nothing without a session."""
        return (None, set()) if SERVICE.hub is None else await super().resolve(request)


def handled(handle: Callable[[LiveHub], Handler]) -> Handler:
    """The handler that `handle` takes from the hub of the session that is on."""

    async def answer(request: web.Request) -> web.StreamResponse:
        hub = SERVICE.hub
        if hub is None:  # it has ended just now
            raise web.HTTPNotFound
        return await handle(hub)(request)

    return answer


def add_live_routes() -> None:
    """Adds the two paths, and puts prompts first. aiohttp takes no path once the server runs."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # ComfyUI's modules are loaded without its server, as in a test
        return
    for path, handle in ((SOCKET_PATH, lambda hub: hub.socket), (MJPEG_PATH, lambda hub: hub.mjpeg)):
        for place in (path, f"/api{path}"):  # as ComfyUI has each path of its own
            resource = WhileOn(place)
            resource.add_route("GET", handled(handle))
            server.app.router.register_resource(resource)
    server.add_on_prompt_handler(SERVICE.prompted)
