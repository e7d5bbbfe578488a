"""Writes live_messages.json, messages as the live server packs them: python -m tests.web.write_live_messages."""

import json
from pathlib import Path

from personalive_core.live.protocol import Message, pack

PATH = Path(__file__).with_name("live_messages.json")
# Numbers that Python and JavaScript write alike: integers, and fractions that are no integer.
MESSAGES = (
    Message("hello", {"version": 1, "token": "a-b_c"}),
    Message("frame", {"number": 7, "time": 12.5}, b"\xff\xd8\x00\xff\xd9"),
    Message("shown", {"window": 3, "number": 12, "delay": None, "frames": 4, "dropped": 0}),
    Message("set", {"rotation": 0.25, "smoothing": 2.5, "mark": True, "face": "largest"}),
    Message("sound", {"time": 0.001, "rate": 48000, "channels": 1}, bytes(range(8))),
    Message("said", {"word": "failed", "text": 'größer – 顔 😀 "x" \\ \n\x7f', "values": {"a": [1, {"b": None}]}}),
    Message("stop"),
)


def recorded():
    """The messages as JSON values, bytes as hex."""
    return [
        {"kind": m.kind, "fields": dict(m.fields), "payload": m.payload.hex(), "bytes": pack(m).hex()} for m in MESSAGES
    ]


if __name__ == "__main__":
    PATH.write_text(json.dumps(recorded(), indent=1, ensure_ascii=False) + "\n", "utf-8", newline="\n")
