"""A live server on a free port of loopback, and a page without a browser, for tests."""

import asyncio
import io
import itertools
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
from aiohttp import web
from PIL import Image

from personalive_core.live.protocol import VERSION, Message, pack, unpack
from personalive_core.live.server import MJPEG_PATH, SOCKET_PATH, LiveHub, Rules
from personalive_core.live.session import LiveSession
from tests.live.doubles import Echo

TOKEN = "a-token-of-the-test"
PATIENCE = 20  # seconds: far more than anything takes
SIZE = 64


def grey(level, size=SIZE):
    return np.full((size, size, 3), level, np.uint8)


def encoded(picture, form="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def echo(**changes):
    return Echo(size=SIZE, portrait=grey(200), **changes)


class Page:
    """The page's end of the connection."""

    def __init__(self, socket):
        self.socket, self.numbers, self.heard = socket, itertools.count(), []

    async def send(self, kind, fields=None, payload=b""):
        await self.socket.send_bytes(pack(Message(kind, fields or {}, payload)))

    async def frame(self, level, time, number=None):
        number = next(self.numbers) if number is None else number
        await self.send("frame", {"number": number, "time": time}, encoded(grey(level)))
        return number

    async def next(self, *kinds):
        """The next message of one of these kinds (all: of any); what comes before it is kept in `heard`.

        None if the connection is closed. Figures come for ever: what does not come is waited for no longer than they.
        """
        return await asyncio.wait_for(self._next(kinds), PATIENCE)

    async def _next(self, kinds):
        while True:
            received = await self.socket.receive()
            if received.type is not aiohttp.WSMsgType.BINARY:
                return None
            message = unpack(received.data)
            self.heard.append(message)
            if not kinds or message.kind in kinds:
                return message

    async def word(self, word):
        """What is said once it is this word."""
        while (said := await self.next("said")).fields["word"] != word:
            pass
        return said.fields

    async def window(self, levels, start, step=0.04):
        """Sends the frames of one window, each once there is credit; returns their numbers."""
        numbers = []
        for index, level in enumerate(levels):
            numbers.append(await self.frame(level, start + index * step))
            await self.next("got")
        return numbers


class Server:
    """What is served, and the ways to it."""

    def __init__(self, hub, port, http):
        self.hub, self.session, self.port, self.http = hub, hub.session, port, http
        self.url = f"http://127.0.0.1:{port}"

    async def connect(self, headers=None):
        return await self.http.ws_connect(self.url + SOCKET_PATH, headers=headers, max_msg_size=0)

    async def page(self, token=TOKEN, version=VERSION, **options):
        """A page that has said hello; its welcome is `heard[0]`."""
        page = Page(await self.connect(**options))
        await page.send("hello", {"version": version, "token": token})
        page.welcome = await page.next("welcome", "bye")
        return page

    def mjpeg(self, token=TOKEN, **options):
        return self.http.get(f"{self.url}{MJPEG_PATH}?token={token}", **options)


@asynccontextmanager
async def serving(output=None, rules=Rules(), performer=None, **options):  # noqa: B008
    """A server with an identity session."""
    session = LiveSession(performer or echo())
    session.start()
    hub = LiveHub(session, TOKEN, output, rules=rules, **options)
    app = web.Application()
    app.router.add_get(SOCKET_PATH, hub.socket)
    app.router.add_get(MJPEG_PATH, hub.mjpeg)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as http:
        try:
            yield Server(hub, port, http)
        finally:
            await http.close()
            hub.close()
            await asyncio.wait_for(hub.closed.wait(), PATIENCE)
            await runner.cleanup()
