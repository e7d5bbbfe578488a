"""How a live connection begins: the page's hello is checked, and answered with all that it must know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .access import is_token
from .exchange import settings_fields
from .pictures import encode_jpeg
from .protocol import MOST_FRAME, MOST_REFERENCE, MOST_SOUND, VERSION, Message, pack, unpack

if TYPE_CHECKING:
    from aiohttp import web

UP, DOWN = 2, 2  # credits: frames without `got`, windows without `shown`
_PATIENCE = 5.0  # seconds for the hello


async def heard_hello(socket: web.WebSocketResponse, token: str) -> str | None:
    """Waits for the hello; returns why the page is refused, None if it is not."""
    from aiohttp import WSMsgType

    try:
        received = await asyncio.wait_for(socket.receive(), _PATIENCE)
    except asyncio.TimeoutError:
        return "the page did not say hello: load it again"
    if received.type is not WSMsgType.BINARY:
        return "a live message is binary: send no text"
    try:
        hello = unpack(received.data)
    except InputError as error:
        return str(error)
    if hello.kind != "hello" or not is_token(hello.fields.get("token"), token):
        return "the token is wrong: open the page at the address that the program prints"
    if hello.fields.get("version") != VERSION:
        return f"the page speaks another version than {VERSION}: load it again"
    return None


def welcome(
    session: Any,  # noqa: ANN401
    source: str,
    can: dict[str, bool],
    settings: Any,  # noqa: ANN401
    recording: str | None,
) -> bytes:
    """The answer to hello, packed; the reference picture is its payload."""
    performer = session.performer
    fields = {
        "version": VERSION,
        "size": performer.size,
        "window": performer.window,
        "source": source,
        "settings": settings_fields(settings),
        "credits": {"up": UP, "down": DOWN},
        "limits": {"frame": MOST_FRAME, "reference": MOST_REFERENCE, "sound": MOST_SOUND},
        "model": session.model,
        "device": session.device,
        "can": can,
        "recording": recording,
    }
    return pack(Message("welcome", fields, encode_jpeg(performer.portrait)))


async def refuse(socket: web.WebSocketResponse, why: str, text: str) -> None:
    """Says goodbye to a page that is not let in."""
    await socket.send_bytes(pack(Message("bye", {"why": why, "text": text})))
    await socket.close()
