"""Messages of the live connection: a 4-byte length, a JSON header, then bytes (a picture or sound).

The page sends `hello` first and is answered with `welcome`. Then, each way, kind and fields (times in seconds):

    page -> server
    hello      version, token
    frame      number, time; a JPEG. Number rises, time is the page's clock. At most `credits.up` of them without `got`
    sound      time of the first sample on the same clock (the server's, see `pong`, where the source is not the page),
               rate, channels; int16 little-endian, interleaved
    shown      window, number, delay (display minus capture of the newest frame, None if not known), frames (displayed
               since the last `shown`), dropped (arrived, but never displayed, since then)
    set        any of rotation, translation, scale, expression, mode, smoothing, face, mark
    calibrate
    reference  a JPEG, PNG or WebP
    pause      why: hidden, which counts only where the source is the page, or user                  resume
    record     on, what: result or camera, sound          snapshot
    ping       time
    stop

    server -> page
    welcome    version, size, window, source (page, camera or film), settings, credits {up, down}, limits {frame,
               reference, sound} in bytes, model, device, can {record, virtual_camera}, recording (result, camera or
               None: what is recorded already), portrait as this message's JPEG
    got        number, rate: the frame arrived; frames a second wanted from now on
    frame      number, time (None for a result of an earlier page, until this one has told a time), window, index (in
               its window), count (frames of its window), spacing (seconds between them), valid, keyframe, novelty; a
               JPEG. At most `credits.down` windows without `shown`
    driving    number, time; a JPEG: what the server's own camera or film shows
    figures    see figures.Figures
    keyframe   number; a JPEG
    said       word, text, values: the state of the session for people; the page translates `word`
    settings   as in `set`: they are in effect
    saved      what, name: a file in the output folder           failed    what, text
    pong       time (as sent), clock: the clock of `time` in `frame`, for a source that is not the page
    bye        why: stopped, taken, refused, ended, failed, and of `personalive serve` time, lost, past; text
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError

VERSION = 1
_LENGTH = struct.Struct(">I")
MOST_HEADER = 4096  # bytes of a header
MOST_FRAME = 4 << 20  # bytes of a driving frame
MOST_REFERENCE = 32 << 20  # bytes of a reference picture
MOST_SOUND = 1 << 20  # bytes of a piece of sound
MOST_MESSAGE = _LENGTH.size + MOST_HEADER + MOST_REFERENCE


@dataclass(frozen=True)
class Message:
    """One message: its kind, its fields, and the bytes behind the header."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


def pack(message: Message) -> bytes:
    """The message as bytes. Raises ValueError for a header that is too long or not JSON."""
    header = json.dumps({"kind": message.kind, **message.fields}, allow_nan=False, separators=(",", ":")).encode()
    if len(header) > MOST_HEADER:
        raise ValueError(f"a header has at most {MOST_HEADER} bytes, not {len(header)}")
    return _LENGTH.pack(len(header)) + header + message.payload


def unpack(data: bytes) -> Message:
    """The inverse of `pack`. Raises InputError for anything else; its text names no content."""
    if len(data) < _LENGTH.size:
        raise InputError("a live message has a length of 4 bytes, this one is shorter: send it whole")
    length = _LENGTH.unpack_from(data)[0]
    if length > min(MOST_HEADER, len(data) - _LENGTH.size):
        raise InputError(f"a live header says it has {length} bytes: send the message whole, {MOST_HEADER} at most")
    try:
        header = json.loads(data[_LENGTH.size : _LENGTH.size + length].decode())
        kind = header.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError("a live message's header is no JSON object with a kind: send one") from error
    if not isinstance(kind, str):
        raise InputError("a live message's kind is no text: send one")
    return Message(kind, header, data[_LENGTH.size + length :])
