"""The machines behind `personalive serve`: Ray actors that each give one live session at a time."""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..backends.personalive.motion import Strengths
from ..batch.ray_pool import Cluster, load_ray
from ..device import device_name
from ..live.app import serve
from ..live.server import LiveHub, Rules
from ..live.session import LiveSession
from ..live.types import Performer, Settings
from .live_performers import engine_for, performer_of

START_LIMIT = 60.0  # seconds for a server to listen


class LiveReplica:
    """Keeps its networks loaded; each session begins with the same reference and settings."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """`arguments` are those of the command line, with the defaults of the chosen system filled in."""
        self._a = argparse.Namespace(**arguments)
        self._performer: Performer | None = None
        self._device = ""
        self._hub: LiveHub | None = None
        self._thread: threading.Thread | None = None

    def ready(self) -> None:
        """Loads the networks. Raises as `performer_of` does."""
        engine = engine_for(self._a)
        engine.require()
        self._performer, self._device = performer_of(self._a, engine), device_name(engine.device)

    def begin(self, token: str) -> str:
        """Begins a session for the page that has `token`; returns the address of its server, on this node."""
        host = str(load_ray().util.get_node_ip_address())
        a, performer = self._a, self._performer
        if performer is None:
            raise RuntimeError("ready comes first")
        strengths = Strengths(a.rotation, a.translation, a.scale, a.expression)
        settings = Settings(strengths, a.mode, a.smooth, a.face, a.mark)
        session = LiveSession(performer, settings, model=a.weights.name, device=self._device)
        hub = LiveHub(session, token, Path(a.output) / token[:8], loopback=False, rules=Rules())
        session.start()
        self._hub = hub
        page = Future[str]()
        self._thread = threading.Thread(target=_serve, args=(hub, token, host, page), daemon=True)
        self._thread.start()
        return "http://" + urlsplit(page.result(START_LIMIT)).netloc

    def ended(self) -> None:
        """Returns when the session has ended."""
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        """Ends the session."""
        if self._hub is not None:
            self._hub.finish("time", "its time is over: open the first page again to begin another")


def _serve(hub: LiveHub, token: str, host: str, page: Future[str]) -> None:
    """Serves until the session has ended; `page` gets the page's address, or why there is none."""
    try:
        asyncio.run(serve(hub, token, (host, 0), lambda address, _: page.set_result(address)))
    except Exception as error:
        if page.done():
            raise
        page.set_exception(error)


@dataclass(eq=False)
class RayReplicas:
    """Ray actors as the front's machines."""

    cluster: Cluster
    arguments: Mapping[str, Any]
    cpus: float
    kind: type = LiveReplica
    actors: dict[str, Any] = field(default_factory=dict)
    _count: int = 0

    async def start(self) -> str:
        made = self.cluster.ray.remote(self.kind).options(
            num_cpus=self.cpus, num_gpus=self.cluster.gpus, max_concurrency=4
        )
        self._count += 1
        name = f"replica {self._count}"
        self.actors[name] = made.remote(self.arguments)
        return name

    async def ready(self, name: str) -> None:
        await self.actors[name].ready.remote()

    async def begin(self, name: str, token: str) -> str:
        return str(await self.actors[name].begin.remote(token))

    async def ended(self, name: str) -> None:
        await self.actors[name].ended.remote()

    async def end(self, name: str) -> None:
        await self.actors[name].end.remote()

    async def stop(self, name: str) -> None:
        actor = self.actors.pop(name, None)
        if actor is not None:
            self.cluster.ray.kill(actor)
