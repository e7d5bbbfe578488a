"""The live connection's two addresses, for any aiohttp server: the page's WebSocket, and the result as Motion JPEG."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..media.picture import Picture
from .access import is_token, why_refused, without_paths
from .client import Client
from .clock import Instant, PageClock
from .ending import Deadline, Ending
from .exchange import changed_settings, settings_fields
from .figures import MOST_DRIVING
from .greeting import heard_hello, refuse, welcome
from .mjpeg import Stream
from .outlet import Outlet
from .protocol import MOST_MESSAGE
from .record import CAMERA
from .takes import Takes
from .types import Captured, Settings

if TYPE_CHECKING:
    from aiohttp import web

SOCKET_PATH, MJPEG_PATH = "/personalive/live", "/personalive/live/mjpeg"
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_MOST_GUESTS = 8  # connections that have not said hello, each of which may hold a message
_HEARTBEAT = 15.0  # seconds after which a dead connection is noticed
_SILENT, _STEP = 4.0, 0.1  # seconds: a page that said nothing for so long makes room for another
_PARTING = 3.0  # seconds for the last words to the page
_T = TypeVar("_T")


@dataclass(frozen=True)
class Rules:
    """When a session ends by itself, and what the page may ask for."""

    first: float | None = 60.0  # seconds until a page must have connected; None: none need
    grace: float | None = 10.0  # seconds without a page after one has left
    virtual_camera: bool = False  # one is on
    camera: Path | None = None  # folder for recordings of the camera; None: that of the others


class LiveHub:
    """Connects one LiveSession to its page and other readers; `closed` is set when the session has ended.

    `source` says where driving frames come from: page, camera or film; the last two are given with `offer`. On
    `loopback` only names of this machine are answered.
    """

    def __init__(
        self,
        session: Any,  # noqa: ANN401 - a LiveSession, or what has its methods
        token: str,
        output: Path | None = None,
        source: str = "page",
        loopback: bool = True,
        rules: Rules = Rules(),
    ) -> None:
        self.session, self.source, self.rules = session, source, rules
        self.closed, self.outlet = Ending(), Outlet(session)
        self._token, self._output, self._loopback = token, output, loopback
        self._takes = Takes((output, rules.camera or output), self.outlet, self._took)
        self._pool = ThreadPoolExecutor(2, "live-picture")
        self._stream = Stream(self)
        self._client: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guests = 0
        self._newest = Instant(-1, 0.0)  # of the frames that pages gave
        self._wanted: Settings = session.settings
        self._pending: Settings | None = None  # asked for, and not yet in effect
        self._lock, self._finishing = threading.Lock(), False
        self._alone = Deadline(lambda: self.finish("ended", "the page was closed"))
        self._alone.set(rules.first)
        self._leave = [
            self.outlet.listen(lambda window: self._tell(lambda client: client.show(window))),
            session.subscribe(on_said=self._say, on_keyframe=self._keyframe, on_settings=self._changed),
        ]

    # requests

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The page's connection. 404 when the session has ended, 403 for other origins, 503 for a crowd."""
        from aiohttp import web

        self._admit(request)
        if self._guests >= _MOST_GUESTS:
            raise web.HTTPServiceUnavailable(text="too many connections wait: try again\n")
        socket = web.WebSocketResponse(max_msg_size=MOST_MESSAGE, heartbeat=_HEARTBEAT, compress=False)
        client: Client | None = None
        self._guests += 1
        try:
            await socket.prepare(request)
            with contextlib.suppress(ConnectionError):
                client = await self._let_in(socket)
        finally:
            self._guests -= 1
        if client is not None:
            try:
                await client.run()
            finally:
                self._left(client)
        return socket

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """The result as Motion JPEG. 404 when the session has ended, 403 for other origins or without the token."""
        from aiohttp import web

        self._admit(request)
        if not is_token(request.query.get("token"), self._token):
            raise web.HTTPForbidden(text="the token is wrong\n", headers=SAFE_HEADERS)
        return await self._stream.serve(request, SAFE_HEADERS)

    def _admit(self, request: web.Request) -> None:
        from aiohttp import web

        if self._finishing:
            raise web.HTTPNotFound
        why = why_refused(request.headers, self._loopback)
        if why is not None:
            raise web.HTTPForbidden(text=f"{why}\n", headers=SAFE_HEADERS)
        self._loop = asyncio.get_running_loop()

    async def _let_in(self, socket: web.WebSocketResponse) -> Client | None:
        why = await heard_hello(socket, self._token)
        if why is not None:
            await refuse(socket, "refused", why)
            return None
        if not await self._has_room():
            await refuse(socket, "taken", "another page uses this session: close it, or stop the session there")
            return None
        with self._lock:
            client = self._client = Client(self, socket, PageClock(self._newest))
            self._alone.set(None)
        can = {"record": self._output is not None, "virtual_camera": self.rules.virtual_camera}
        for why in ("hidden", "user"):  # of the page before
            self.session.resume(why)
        try:
            known = self.session, self.source, can, self._wanted, self._takes.recording
            await socket.send_bytes(await self.in_thread(welcome, *known))
        except BaseException:
            self._left(client)
            raise
        now = self.session.word
        self._say_to(client, now.word, now.text, now.values)
        return client

    async def _has_room(self) -> bool:
        """Whether the page may come in: a moment is given to the one before to leave; one that is silent is gone."""
        end = time.monotonic() + 10 * _STEP
        while self._client is not None:
            if time.monotonic() - self._client.heard > _SILENT:
                self._client.part("taken", "another page has taken this session over: load this one again")
                self._left(self._client)
            elif time.monotonic() > end:
                return False
            else:
                await asyncio.sleep(_STEP)
        return True

    def _left(self, client: Client) -> None:
        self._newest = max(self._newest, client.newest, key=lambda moment: moment.number)
        with self._lock:
            if self._client is client:
                self._client = None
                if not self._finishing:
                    self._alone.set(self.rules.grace)

    # what the client uses

    async def in_thread(self, function: Callable[..., _T], *arguments: Any) -> _T:  # noqa: ANN401
        """Runs a function beside the event loop. Raises ConnectionResetError after the end."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        except RuntimeError as error:
            if self.closed.is_set():
                raise ConnectionResetError("the session has ended") from error
            raise

    def plain(self, error: BaseException | str) -> str:
        """An error's sentence for the page, which names no folder of this machine."""
        return without_paths(
            str(error), [*([self._output.absolute()] if self._output else []), Path.cwd(), Path.home()]
        )

    def change(self, fields: Mapping[str, Any]) -> None:
        """Changes the settings that a `set` names. Raises InputError for a value that cannot be."""
        self._wanted = self._pending = changed_settings(self._wanted, fields)
        self.session.change(self._wanted)

    def record(self, what: str | None, sound: bool) -> None:
        """Records `what`, one of record.RECORDED; None ends it, and `saved` is told once its film is there."""
        if what is None:
            self._takes.stop()
        else:
            self._takes.start(what, sound)

    def rate(self) -> float:
        """Driving frames a second that the page is to send: all while the camera is recorded, however slow live is."""
        recorded = self._takes.recording == CAMERA
        return MOST_DRIVING if recorded else float(self.session.figures().rate)

    def snapshot(self) -> None:
        """Saves the newest result frame."""
        self._takes.snapshot()

    # any thread

    def offer(self, captured: Captured) -> None:
        """A driving frame: of the page, or of the server's own camera or film, which the page is shown then."""
        self._takes.drive(captured)
        self.session.offer(captured)
        if self.source != "page":
            self._tell(lambda client: client.drive(captured))

    def hear(self, time: float, samples: NDArray[np.float32], rate: int) -> None:
        """Sound [C, n] of the microphone, on the clock of the driving frames."""
        self._takes.hear(time, samples, rate)

    def keep(self) -> bool:
        """Gives a page that is still to come its whole time again. False: the session is ending, begin another."""
        with self._lock:
            if not self._finishing and self._client is None:
                self._alone.set(self.rules.first)
            return not self._finishing

    def close(self) -> None:
        """Ends the session; returns at once, `closed` is set when it has ended."""
        self.finish("stopped")

    def finish(self, why: str, text: str = "") -> None:
        """Ends the session, and tells the page why."""
        with self._lock:
            if self._finishing:
                return
            self._finishing = True
        self._alone.set(None)
        threading.Thread(target=self._end, args=(why, text), name="live-end", daemon=True).start()

    def _end(self, why: str, text: str) -> None:
        try:
            self._takes.close()
            for leave in self._leave:
                leave()
            self.outlet.close()
            self.session.stop()
            self._tell(lambda client: client.part(why, text))
            end = time.monotonic() + _PARTING
            while self._client is not None and time.monotonic() < end:
                time.sleep(_STEP / 2)
        finally:  # whatever went wrong: others wait for the end
            self.closed.set()
            self._pool.shutdown(wait=False)

    def _tell(self, what: Callable[[Client], None]) -> None:
        """Has the page's client do something in its loop, if there is one."""
        client, loop = self._client, self._loop
        if client is not None and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(what, client)

    def _took(self, kind: str, fields: Mapping[str, Any]) -> None:
        plain = {key: self.plain(value) if key == "text" else value for key, value in fields.items()}
        self._tell(lambda client: client.say(kind, plain))

    def _say(self, word: str, text: str, values: Mapping[str, Any]) -> None:
        self._tell(lambda client: self._say_to(client, word, text, values))
        if word == "ended":
            self.finish("ended", text)

    def _say_to(self, client: Client, word: str, text: str, values: Mapping[str, Any]) -> None:
        plain = {key: self.plain(value) if isinstance(value, str) else value for key, value in values.items()}
        client.say("said", {"word": word, "text": self.plain(text), "values": plain})

    def _keyframe(self, number: int, picture: Picture) -> None:
        self._tell(lambda client: client.keyframe(number, picture))

    def _changed(self, settings: Settings) -> None:
        if self._pending is None or self._pending is settings:  # else what is asked for by now is not yet in effect
            self._wanted, self._pending = settings, None
        self._tell(lambda client: client.say("settings", settings_fields(settings)))
