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
from .server import MJPEG_PATH, SAFE_HEADERS, SOCKET_PATH

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientWebSocketResponse, web

ROOM = "/live"  # the page's path, behind the front door
TEND, HELLO = 2.0, 5.0  # seconds between looks at the seats, for a hello
ENDED = "this session has ended, or its machine was lost: open the first page again to begin another"
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
                self.desk.coming.add(name)
                self._spawn(name, "")
            for name in self.desk.surplus(time.monotonic()):
                self.desk.gone(name)
                await self._replicas.stop(name)
            await asyncio.sleep(TEND)

    async def close(self) -> None:
        """Stops watching sessions."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _door(self, request: web.Request) -> web.StreamResponse:
        """A seat for the visitor: to the page with its token. 503 where all are taken, with how long to wait."""
        from aiohttp import web

        self._check(request)
        token = secrets.token_urlsafe(24)
        while (name := self.desk.take(token, time.monotonic())) is not None:
            try:
                self._addresses[token] = await self._replicas.begin(name, token)
            except Exception as error:
                await self._lose(name, error)
                continue
            self._spawn(name, token)
            raise web.HTTPSeeOther(f"{ROOM}#token={quote(token)}", headers=SAFE_HEADERS)
        seconds = round(self.desk.wait(time.monotonic()))
        minutes, rest = divmod(seconds, 60)
        when = f"{minutes + (rest > 0)} min" if minutes else f"{seconds} s"
        text = f"All live sessions are taken. The next is free in about {when}: this page looks again by itself.\n"
        headers = {**SAFE_HEADERS, "Retry-After": str(seconds), "Refresh": str(min(seconds, 30))}
        return web.Response(status=503, text=text, headers=headers)

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
                await self._replicas.end(name)
            await ended
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
        with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
            first = await asyncio.wait_for(page.receive(), HELLO)
            address = self._address(first.data if first.type is WSMsgType.BINARY else b"")
            try:
                if address is None:
                    raise ConnectionError
                async with http.ws_connect(address + SOCKET_PATH, max_msg_size=MOST_MESSAGE, compress=0) as server:
                    await server.send_bytes(first.data)
                    parted = await both_ways(page, server)
                if not parted and not await self._there(http, address):
                    raise ConnectionError
            except (ConnectionError, ClientError):
                await refuse(page, "failed", ENDED)
        await page.close()
        return page

    async def _there(self, http: ClientSession, address: str) -> bool:
        """Whether the session's server still answers: then a lost connection may be opened again."""
        from aiohttp import ClientError

        try:
            async with http.get(address + MJPEG_PATH):
                return True
        except (ClientError, ConnectionError):
            return False

    def _address(self, hello: bytes) -> str | None:
        try:
            given = unpack(hello).fields.get("token")
        except InputError:
            return None
        return next((at for token, at in self._addresses.items() if is_token(given, token)), None)

    async def _mjpeg(self, request: web.Request, http: ClientSession) -> web.StreamResponse:
        from aiohttp import ClientError, web

        self._check(request)
        given = request.query.get("token")
        address = next((at for token, at in self._addresses.items() if is_token(given, token)), None)
        if address is None:
            raise web.HTTPForbidden(text="the token is wrong, or its session has ended\n", headers=SAFE_HEADERS)
        try:
            async with http.get(address + MJPEG_PATH, params={"token": str(given)}) as answer:
                headers = {**SAFE_HEADERS, "Content-Type": answer.headers["Content-Type"]}
                passed = web.StreamResponse(status=answer.status, headers=headers)
                await passed.prepare(request)
                async for piece in answer.content.iter_any():
                    await passed.write(piece)
                return passed
        except ClientError as error:
            raise web.HTTPBadGateway(text="the session's machine was lost\n", headers=SAFE_HEADERS) from error


async def both_ways(page: web.WebSocketResponse, server: ClientWebSocketResponse) -> bool:
    """Passes messages on until one end closes; whether the server said goodbye, or the page left."""
    from aiohttp import WSMsgType

    async def down() -> bool:
        parted = False
        async for message in server:
            if message.type is WSMsgType.BINARY:
                parted = _kind(message.data) == "bye"
                await page.send_bytes(message.data)
        return parted

    async def up() -> bool:
        async for message in page:
            if message.type is WSMsgType.BINARY:
                await server.send_bytes(message.data)
        return True

    tasks = [asyncio.ensure_future(down()), asyncio.ensure_future(up())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return True in ended


def _kind(data: bytes) -> str:
    with contextlib.suppress(InputError):
        return unpack(data).kind
    return ""
