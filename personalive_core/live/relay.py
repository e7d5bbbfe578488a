"""Passes a page's connection, and the result as Motion JPEG, on to the session's own server, which may be lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ..errors import InputError
from .protocol import MOST_MESSAGE, unpack
from .server import MJPEG_PATH, SAFE_HEADERS, SOCKET_PATH

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientTimeout, ClientWebSocketResponse, web

REPLY = 10.0  # seconds for a session's server to answer
SILENT = 15.0  # seconds without a sign of life, after which a session's server is lost; it gives one every second


async def pass_on(page: web.WebSocketResponse, hello: bytes, http: ClientSession, address: str) -> bool:
    """Passes messages between page and server until one end closes, `hello` first; whether they parted in peace.

    Raises ConnectionError or aiohttp's ClientError if the server is lost.
    """
    from aiohttp import ClientWSTimeout

    opening = http.ws_connect(
        address + SOCKET_PATH,
        max_msg_size=MOST_MESSAGE,
        compress=0,
        heartbeat=SILENT,
        timeout=ClientWSTimeout(ws_close=REPLY),
    )
    try:
        server = await asyncio.wait_for(opening, REPLY)  # a socket has no `total`
    except asyncio.TimeoutError as error:
        raise ConnectionError("the session's server does not answer") from error
    try:
        await server.send_bytes(hello)
        parted = await both_ways(page, server)
    finally:
        await server.close()
    if not parted and not await is_there(http, address):
        raise ConnectionError("the session's server is gone")
    return parted


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


async def is_there(http: ClientSession, address: str) -> bool:
    """Whether the session's server still answers: then a lost connection may be opened again."""
    from aiohttp import ClientError

    async def ask() -> None:
        async with http.get(address + MJPEG_PATH):
            pass

    try:
        await asyncio.wait_for(ask(), REPLY)
    except (ClientError, ConnectionError, asyncio.TimeoutError):
        return False
    return True


async def pass_film(request: web.Request, token: str, http: ClientSession, address: str) -> web.StreamResponse:
    """The session's Motion JPEG, for as long as it goes on. 502 if its server is lost before it begins."""
    from aiohttp import ClientError, web

    passed: web.StreamResponse | None = None
    try:
        async with http.get(address + MJPEG_PATH, params={"token": token}, timeout=_endless()) as answer:
            headers = {**SAFE_HEADERS, "Content-Type": answer.headers["Content-Type"]}
            passed = web.StreamResponse(status=answer.status, headers=headers)
            await passed.prepare(request)
            async for piece in answer.content.iter_any():
                await passed.write(piece)
    except (ClientError, ConnectionError, asyncio.TimeoutError) as error:
        if passed is None:
            raise web.HTTPBadGateway(text="the session's machine was lost\n", headers=SAFE_HEADERS) from error
    return passed


def _endless() -> ClientTimeout:
    """A film has no end that is known: it may not be silent, that is all."""
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, sock_connect=REPLY, sock_read=SILENT)


def _kind(data: bytes) -> str:
    with contextlib.suppress(InputError):
        return unpack(data).kind
    return ""
