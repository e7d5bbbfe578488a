"""The front of several live servers: gives each visitor a seat, and passes the page's connection on to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from ..errors import InputError, PersonaLiveError
from .access import is_token, why_refused
from .app import add_page
from .desk import Desk
from .greeting import refuse
from .protocol import MOST_MESSAGE, unpack
from .relay import pass_film, pass_on
from .server import MJPEG_PATH, SAFE_HEADERS, SOCKET_PATH
from .waiting import waiting

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

ROOM = "/live"  # the page's path, behind the front door
TEND, HELLO = 2.0, 5.0  # seconds between looks at the seats, for a hello
BEGIN, ENDING = 90.0, 60.0  # seconds for a machine to begin a session, and to end one: a step is finished before
GOODBYE = 3.0  # seconds for the last words to a page
MACHINE_LOST = "the machine of this session was lost: open the first page again to begin another"
SESSION_PAST = "this session has ended: open the first page again to begin another"
_HEARTBEAT = 15.0
_log = logging.getLogger(__name__)


class Replicas(Protocol):
    """Machines with a live server each. Each method raises an exception if the machine is lost."""

    async def start(self) -> str:
        """Asks for one more; returns its name."""

    async def ready(self, name: str) -> None:
        """Returns when it can begin a session."""

    async def begin(self, name: str, token: str) -> str:
        """Begins a session; returns its server's address, such as http://10.0.0.2:40001."""

    async def ended(self, name: str) -> None:
        """Returns when its session has ended."""

    async def end(self, name: str) -> None:
        """Ends its session."""

    async def stop(self, name: str) -> None:
        """Gives it back."""


class Front:
    """Connects pages with sessions. Use it within one event loop; `tend` runs all the time."""

    def __init__(self, desk: Desk, replicas: Replicas, loopback: bool) -> None:
        self.desk, self._replicas, self._loopback = desk, replicas, loopback
        self._addresses: dict[str, str] = {}  # token -> the session's server
        self._tasks: set[asyncio.Task[None]] = set()
        self._pages: set[web.WebSocketResponse] = set()

    def app(self, http: ClientSession) -> web.Application:
        """The addresses: door, page and scripts, connection, Motion JPEG. `http` goes to the sessions' servers."""
        from aiohttp import web

        async def socket(request: web.Request) -> web.StreamResponse:
            return await self._socket(request, http)

        async def mjpeg(request: web.Request) -> web.StreamResponse:
            return await self._mjpeg(request, http)

        app = web.Application()
        app.router.add_get("/", self._door)
        add_page(app, ROOM)
        app.router.add_get(SOCKET_PATH, socket)
        app.router.add_get(MJPEG_PATH, mjpeg)
        return app

    async def tend(self) -> None:
        """Starts seats that are wanted and gives back idle ones, until it is cancelled."""
        while True:
            for _ in range(self.desk.wanted()):
                name = await self._replicas.start()
                self.desk.ask(name, time.monotonic())
                self._spawn(name, "")
            for name in self.desk.surplus(time.monotonic()):
                self.desk.gone(name)
                with contextlib.suppress(Exception):  # it was lost meanwhile
                    await self._replicas.stop(name)
            await asyncio.sleep(TEND)

    async def close(self) -> None:
        """Stops watching sessions, and says goodbye to their pages: an open one would keep the server from ending."""
        for task in self._tasks:
            task.cancel()
        goodbyes = (asyncio.wait_for(refuse(page, "stopped", ""), GOODBYE) for page in self._pages)
        await asyncio.gather(*self._tasks, *goodbyes, return_exceptions=True)

    async def _door(self, request: web.Request) -> web.StreamResponse:
        """A seat for the visitor: to the page with its token. 503 where all are taken, with how long to wait."""
        from aiohttp import web

        self._check(request)
        token = secrets.token_urlsafe(24)
        while (name := self.desk.take(token, time.monotonic())) is not None:
            try:
                self._addresses[token] = await asyncio.wait_for(self._replicas.begin(name, token), BEGIN)
            except Exception as error:
                await self._lose(name, error)
                continue
            self._spawn(name, token)
            raise web.HTTPSeeOther(f"{ROOM}#token={quote(token)}", headers=SAFE_HEADERS)
        return waiting(request, self.desk.wait(time.monotonic()))

    def _spawn(self, name: str, token: str) -> None:
        task = asyncio.get_running_loop().create_task(self._watch(name, token) if token else self._greet(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _greet(self, name: str) -> None:
        try:
            await self._replicas.ready(name)
        except Exception as error:
            await self._lose(name, error)
        else:
            self.desk.came(name, time.monotonic())

    async def _watch(self, name: str, token: str) -> None:
        """Follows a session to its end, and ends it after its time."""
        limit = 60 * self.desk.rules.minutes or None
        try:
            ended = asyncio.ensure_future(self._replicas.ended(name))
            done, _ = await asyncio.wait({ended}, timeout=limit)
            if not done:
                await asyncio.wait_for(self._replicas.end(name), ENDING)
            await asyncio.wait_for(ended, ENDING)
            self.desk.left(name, time.monotonic())
        except Exception as error:
            await self._lose(name, error)
        finally:
            self._addresses.pop(token, None)

    async def _lose(self, name: str, error: Exception) -> None:
        said = error if isinstance(error, PersonaLiveError) else type(error).__name__
        _log.warning("live machine %s was lost (%s)", name, said)
        self.desk.gone(name)
        with contextlib.suppress(Exception):
            await self._replicas.stop(name)

    def _check(self, request: web.Request) -> None:
        from aiohttp import web

        why = why_refused(request.headers, self._loopback)
        if why is not None:
            raise web.HTTPForbidden(text=f"{why}\n", headers=SAFE_HEADERS)

    async def _socket(self, request: web.Request, http: ClientSession) -> web.StreamResponse:
        """The page's connection, passed on in both directions; its first message says which session is meant."""
        from aiohttp import ClientError, WSMsgType, web

        self._check(request)
        page = web.WebSocketResponse(max_msg_size=MOST_MESSAGE, heartbeat=_HEARTBEAT, compress=False)
        await page.prepare(request)
        self._pages.add(page)
        try:
            with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
                first = await asyncio.wait_for(page.receive(), HELLO)
                address = self._address(first.data if first.type is WSMsgType.BINARY else b"")
                if address is None:
                    await refuse(page, "past", SESSION_PAST)
                    return page
                try:
                    await pass_on(page, first.data, http, address)
                except (ConnectionError, ClientError):
                    await refuse(page, "lost", MACHINE_LOST)
            await page.close()
        finally:
            self._pages.discard(page)
        return page

    def _address(self, hello: bytes) -> str | None:
        try:
            given = unpack(hello).fields.get("token")
        except InputError:
            return None
        return next((at for token, at in self._addresses.items() if is_token(given, token)), None)

    async def _mjpeg(self, request: web.Request, http: ClientSession) -> web.StreamResponse:
        from aiohttp import web

        self._check(request)
        given = request.query.get("token")
        address = next((at for token, at in self._addresses.items() if is_token(given, token)), None)
        if address is None:
            raise web.HTTPForbidden(text="the token is wrong, or its session has ended\n", headers=SAFE_HEADERS)
        return await pass_film(request, str(given), http, address)
