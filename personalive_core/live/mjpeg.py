"""The result as Motion JPEG over GET: for OBS's browser source, VLC, or an <img>."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from ..errors import PersonaLiveError
from .outlet import Still
from .pacing import Paced
from .pictures import encode_jpeg
from .wiring import HubParts

if TYPE_CHECKING:
    from aiohttp import web

MOST_READERS = 4
_BOUNDARY = "personalive"
_STILL = 1.0  # seconds without a new frame after which the last one is sent again: readers see that it lives


class Stream:
    """All readers of one session; each gets the newest frame that it has time for."""

    def __init__(self, hub: HubParts) -> None:
        self._hub = hub
        self.readers = 0

    async def serve(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        """Sends frames until the reader leaves or the session ends."""
        from aiohttp import web

        if self.readers >= MOST_READERS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_READERS} readers at most\n")
        self.readers += 1
        try:
            form = {"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"}
            response = web.StreamResponse(headers={**headers, **form})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, PersonaLiveError):  # it left, or the session did
                await response.write(f"--{_BOUNDARY}\r\n".encode())
                await self._send(response)
        finally:
            self.readers -= 1
        return response

    async def _send(self, response: web.StreamResponse) -> None:
        paced, wake, loop = Paced(), asyncio.Event(), asyncio.get_running_loop()

        def arrived(window: tuple[Still, ...]) -> None:
            paced.put(window, time.monotonic())
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(wake.set)

        leave = self._hub.outlet.listen(arrived)
        try:
            jpeg = await self._hub.in_thread(self._first)
            await response.write(_part(jpeg))
            while not self._hub.closed.is_set():
                still = await _next(paced, wake)
                jpeg = jpeg if still is None else await self._hub.in_thread(_jpeg, still)
                await response.write(_part(jpeg))
        finally:
            leave()

    def _first(self) -> bytes:
        latest = self._hub.outlet.latest
        return encode_jpeg(self._hub.session.performer.portrait) if latest is None else latest.jpeg


async def _next(paced: Paced, wake: asyncio.Event) -> Still | None:
    """The next frame at its time; None after a while without one."""
    end = time.monotonic() + _STILL
    while (still := paced.take(time.monotonic())) is None:
        wake.clear()
        due = paced.due()
        left = (end if due is None else min(due, end)) - time.monotonic()
        if left <= 0 and due is None:
            return None
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(wake.wait(), max(left, 0))
    return still


def _jpeg(still: Still) -> bytes:
    return still.jpeg


def _part(jpeg: bytes) -> bytes:
    """The boundary follows at once: readers show a picture when they see it."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
    return head + jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()
