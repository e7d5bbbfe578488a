"""One connected page: what it sends is checked and handed on, what the session makes is sent while it keeps up."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ..errors import InputError, PersonaLiveError
from ..media.picture import Picture
from .clock import Instant, PageClock
from .exchange import choice_of, flag_of, number_of, samples_of, settings_fields, whole_of
from .greeting import DOWN
from .outbox import Outbox, Pictured, Window
from .outlet import Still
from .pictures import decode_frame, decode_reference, encode_jpeg, small
from .protocol import MOST_FRAME, MOST_REFERENCE, MOST_SOUND, Message, pack, unpack
from .record import RECORDED
from .types import Captured
from .wiring import HubParts

if TYPE_CHECKING:
    from aiohttp import web

_FIGURES = 0.5  # seconds between two messages of figures
_LONGEST_DELAY = 3600.0  # seconds that still count for the figures
_PAUSES = ("hidden", "user")
_PARTING = 2.0  # seconds in which the last words must have been sent

_log = logging.getLogger(__name__)


class RefusedError(InputError):
    """The page broke the rules of the connection, which ends."""


class Client:
    """Used by the event loop alone."""

    def __init__(self, hub: HubParts, socket: web.WebSocketResponse, clock: PageClock) -> None:
        self.outbox = Outbox(DOWN)
        self.heard = time.monotonic()  # when it last sent anything
        self._hub, self._socket, self._clock = hub, socket, clock
        self._session = hub.session
        self._own = hub.source == "page"
        self._parting: Message | None = None
        self._handlers: Mapping[str, Callable[[Message], Any]] = {
            "frame": self._frame,
            "sound": self._sound,
            "shown": self._shown,
            "set": self._set,
            "calibrate": lambda _: self._session.calibrate(),
            "reference": self._reference,
            "pause": self._pause,
            "resume": self._resume,
            "record": self._record,
            "snapshot": lambda _: hub.in_thread(hub.snapshot),
            "ping": self._ping,
            "stop": lambda _: hub.finish("stopped"),
        }

    @property
    def newest(self) -> Instant:
        """The newest frame that the session was given, on its own clock."""
        return self._clock.newest

    async def run(self) -> None:
        """Serves the page until it leaves, breaks the rules, or is told goodbye."""
        sender = asyncio.create_task(self._send())
        figures = asyncio.create_task(self._tell_figures())
        receiver = asyncio.create_task(self._receive())
        try:
            done, _ = await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
            if receiver in done and self._parting is not None:
                await asyncio.wait({sender}, timeout=_PARTING)
            for task in done:
                _log_bug(task)
        finally:
            tasks = (sender, figures, receiver)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._socket.close(), _PARTING)

    def say(self, kind: str, fields: Mapping[str, Any], payload: bytes = b"") -> None:
        """Sends a message after those before it."""
        self.outbox.say(Message(kind, fields, payload))

    def part(self, why: str, text: str = "") -> None:
        """Says goodbye; the connection ends once that is sent."""
        if self._parting is None:
            self._parting = Message("bye", {"why": why, "text": text})
            self.outbox.say(self._parting)

    def keyframe(self, number: int, picture: Picture) -> None:
        """Sends a result frame that became a keyframe, small."""
        page = self._clock.down(Instant(number, 0.0)).number if self._own else number
        self.outbox.say(Pictured(Message("keyframe", {"number": page}), picture))

    def drive(self, captured: Captured) -> None:
        """Sends what the server's own camera shows, small, if the page keeps up."""
        fields = {"number": captured.number, "time": captured.time}
        self.outbox.drive(Pictured(Message("driving", fields), captured.picture))

    def show(self, window: Window) -> None:
        """Sends a window's frames, if the page keeps up."""
        replaced = self.outbox.show(window)
        if replaced:
            self._session.seen(None, 0, replaced)

    async def _receive(self) -> None:
        from aiohttp import WSMsgType

        async for received in self._socket:
            self.heard = time.monotonic()
            await self.outbox.room()
            try:
                if received.type is not WSMsgType.BINARY:
                    raise RefusedError("a live message is binary: send no text")
                await self._handle(unpack(received.data))
            except InputError as error:
                self.part("refused", self._hub.plain(error))
                return
            except Exception:
                _log.exception("A live message could not be handled")
                self.part("failed", "the server could not handle a message: see its log")
                return

    async def _handle(self, message: Message) -> None:
        handler = self._handlers.get(message.kind)
        if handler is None:
            raise RefusedError("a live message of an unknown kind: load the page again")
        answer = handler(message)
        if inspect.isawaitable(answer):
            await answer

    async def _frame(self, message: Message) -> None:
        number, seconds = whole_of(message.fields, "number"), number_of(message.fields, "time")
        _check_length(message, MOST_FRAME)
        if not self._own:
            raise RefusedError("this session has a camera or film of its own: send no frames")
        moment = self._clock.up(Instant(number, seconds), time.monotonic())
        try:
            picture = await self._hub.in_thread(decode_frame, message.payload)
        except InputError as error:
            self.say("failed", {"what": "frame", "text": self._hub.plain(error)})
        else:
            if moment is not None:
                self._hub.offer(Captured(picture, moment.number, moment.time))
        self.say("got", {"number": number, "rate": self._hub.rate()})

    def _sound(self, message: Message) -> None:
        _check_length(message, MOST_SOUND)
        seconds = number_of(message.fields, "time")
        rate, samples = samples_of(message.fields, message.payload)
        if self._own:
            seconds = self._clock.time_up(seconds, time.monotonic())
        self._hub.hear(seconds, samples, rate)

    def _shown(self, message: Message) -> None:
        fields = message.fields
        window = whole_of(fields, "window")
        frames, dropped = (min(whole_of(fields, key), 1000) for key in ("frames", "dropped"))
        told = fields.get("delay")
        delay = None if told is None else number_of(fields, "delay")
        if delay is not None and abs(delay) > _LONGEST_DELAY:  # what was in flight before a long pause tells nothing
            delay = None
        self.outbox.shown(window)
        self._session.seen(delay, frames, dropped)

    def _set(self, message: Message) -> None:
        try:
            self._hub.change(message.fields)
        except InputError as error:
            self.say("failed", {"what": "set", "text": self._hub.plain(error)})
            self.say("settings", settings_fields(self._session.settings))

    async def _reference(self, message: Message) -> None:
        _check_length(message, MOST_REFERENCE)
        try:
            picture = await self._hub.in_thread(decode_reference, message.payload)
            self._session.swap(picture)
        except PersonaLiveError as error:
            self.say("failed", {"what": "reference", "text": self._hub.plain(error)})

    def _pause(self, message: Message) -> None:
        why = choice_of(message.fields, "why", _PAUSES)
        if why == "user" or self._own:  # the server's own camera or film goes on for others who show the result
            self._session.pause(why)

    def _resume(self, message: Message) -> None:
        self._session.resume(choice_of(message.fields, "why", _PAUSES))

    async def _record(self, message: Message) -> None:
        fields = message.fields
        what, sound = choice_of(fields, "what", RECORDED), flag_of(fields, "sound")
        await self._hub.in_thread(self._hub.record, what if flag_of(fields, "on") else None, sound)

    def _ping(self, message: Message) -> None:
        self.say("pong", {"time": number_of(message.fields, "time"), "clock": time.monotonic()})

    async def _tell_figures(self) -> None:
        while True:
            self.say("figures", asdict(self._session.figures()))
            await asyncio.sleep(_FIGURES)

    async def _send(self) -> None:
        """Ends with the goodbye, or when the page is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                item = await self.outbox.next()
                if isinstance(item, Message):
                    await self._socket.send_bytes(pack(item))
                    if item is self._parting:
                        return
                elif isinstance(item, Pictured):
                    jpeg = await self._hub.in_thread(_small_jpeg, item.picture)
                    await self._socket.send_bytes(pack(replace(item.message, payload=jpeg)))
                else:
                    await self._send_window(item)

    async def _send_window(self, window: Window) -> None:
        for still in window:
            made = still.made
            moment = Instant(made.number, made.time)
            page = self._clock.down(moment) if self._own else moment
            told = page.time if self._clock.is_known or not self._own else None
            fields = {"number": page.number, "time": told, "window": made.window}
            place = {"index": still.index, "count": still.count, "spacing": still.spacing}
            about = {"valid": made.valid, "keyframe": made.keyframe, "novelty": float(made.novelty)}
            jpeg = await self._hub.in_thread(_jpeg_of, still)
            await self._socket.send_bytes(pack(Message("frame", {**fields, **place, **about}, jpeg)))


def _small_jpeg(picture: Picture) -> bytes:
    return encode_jpeg(small(picture))


def _jpeg_of(still: Still) -> bytes:
    return still.jpeg


def _check_length(message: Message, most: int) -> None:
    if len(message.payload) > most:
        raise RefusedError(f"a message of this kind has at most {most} bytes behind its header: send less")


def _log_bug(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("The live connection broke off", exc_info=error)
