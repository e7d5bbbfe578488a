"""What a visitor is told while all live sessions are taken: a page that looks again, or a sentence for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .app import file_headers, scripts
from .server import SAFE_HEADERS

if TYPE_CHECKING:
    from aiohttp import web

WAITING_PAGE = "live/waiting.html"
_LOOK = 30  # seconds at most between two looks
_MINUTE = 60


def waiting(request: web.Request, seconds: float) -> web.Response:
    """The answer 503 with `Retry-After`; `seconds` is how long until a session is free, as far as that is known."""
    from aiohttp import web

    whole = max(math.ceil(seconds), 1)
    when = f"{math.ceil(whole / _MINUTE)} min" if whole >= _MINUTE else f"{whole} s"
    text = f"All live sessions are taken. The next is free in about {when}: this page looks again by itself."
    again = {"Retry-After": str(whole), "Refresh": str(min(whole, _LOOK))}
    if "text/html" not in request.headers.get("Accept", ""):
        return web.Response(status=503, text=f"{text}\n", headers={**SAFE_HEADERS, **again})
    page = scripts()[WAITING_PAGE].read_text("utf-8").replace("{seconds}", str(whole)).replace("{text}", text)
    headers = {**file_headers(request.host), **again}
    return web.Response(status=503, text=page, content_type="text/html", headers=headers)
