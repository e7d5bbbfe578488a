"""The live page on a server of its own: panel, scripts and connection are those that ComfyUI has."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import InputError
from .access import is_loopback
from .figures import Figures
from .server import MJPEG_PATH, SAFE_HEADERS, SOCKET_PATH, LiveHub
from .types import Captured

if TYPE_CHECKING:
    from aiohttp import web

LIVE_PAGE = "live/page.html"
LAST_WORDS = 2.0  # seconds after the end for connections to end: one that reads nothing is cut then, not a minute later
_DISTRIBUTION = "personalive-comfyui"
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'{sockets}; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {**SAFE_HEADERS, "X-Frame-Options": "DENY"}
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
_KINDS = {".js": "text/javascript", ".html": "text/html"}


class Fed:
    """The hub as a source of driving frames sees it."""

    def __init__(self, hub: LiveHub) -> None:
        self._hub = hub

    def offer(self, frame: Captured) -> None:
        """Takes a driving frame."""
        self._hub.offer(frame)

    def source(self, word: str) -> None:
        """Says that no frames come, or again do."""
        self._hub.session.source(word)

    def figures(self) -> Figures:
        """The session's figures."""
        figures: Figures = self._hub.session.figures()
        return figures


def scripts() -> dict[str, Path]:
    """The page's files by their place below web/js, such as live/page.js.

    Raises InputError where they are not installed.
    """
    folder = Path(__file__).resolve().parents[2] / "web" / "js"
    found = [path for path in folder.rglob("*") if path.suffix in _KINDS]
    files = {path.relative_to(folder).as_posix(): path for path in found} or _installed()
    if LIVE_PAGE not in files:
        raise InputError("the page of live is not installed: install PersonaLive again, or run it from its folder")
    return files


def _installed() -> dict[str, Path]:
    """The same of an installed package: its list of files knows where they are."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        places = importlib.metadata.files(_DISTRIBUTION) or ()
        ours = {place.as_posix().partition("personalive/js/"): place for place in places if place.suffix in _KINDS}
        return {key[2]: Path(str(place.locate())) for key, place in ours.items() if key[2]}
    return {}


def make_app(hub: LiveHub) -> web.Application:
    """The server's addresses: the page, its scripts, the connection, Motion JPEG."""
    from aiohttp import web

    app = web.Application()
    add_page(app, "/")
    app.router.add_get(SOCKET_PATH, hub.socket)
    app.router.add_get(MJPEG_PATH, hub.mjpeg)
    return app


def add_page(app: web.Application, at: str) -> None:
    """Adds the page at the path `at`, and its scripts. Raises InputError where they are not installed."""
    from aiohttp import web

    files = scripts()

    def read(request: web.Request, name: str) -> web.Response:
        path = files.get(name)
        if path is None:
            raise web.HTTPNotFound
        kind, headers = _KINDS[path.suffix], file_headers(request.host)
        return web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8", headers=headers)

    async def page(request: web.Request) -> web.Response:
        return read(request, LIVE_PAGE)

    async def script(request: web.Request) -> web.Response:
        return read(request, request.match_info["name"])

    app.router.add_get(at, page)
    app.router.add_get("/js/{name:.+}", script)


def file_headers(host: str) -> dict[str, str]:
    """The headers of every file of the page at `host`."""
    return {**_HEADERS, "Content-Security-Policy": policy(host)}


def policy(host: str) -> str:
    """What the page at `host` may load and do: nothing that is not this server's. Safari wants sockets named."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _POLICY.format(sockets=sockets)


async def serve(hub: LiveHub, token: str, at: tuple[str, int], ready: Callable[[str, str], None]) -> None:
    """Serves until the session has ended. `ready` gets the page's address and that of the Motion JPEG.

    `at` is host and port; 0 takes a free one. Raises InputError if nothing can listen there.
    """
    from aiohttp import web

    host, port = at
    runner = web.AppRunner(make_app(hub), access_log=None, shutdown_timeout=LAST_WORDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise InputError(f"{host}:{port} cannot be used ({error}): choose another --port") from error
        base = f"http://{shown_host(host)}:{runner.addresses[0][1]}"
        ready(f"{base}/#token={quote(token)}", f"{base}{MJPEG_PATH}?token={quote(token)}")
        await hub.closed.wait()
    finally:
        hub.close()
        await hub.closed.wait()
        await runner.cleanup()


def shown_host(host: str) -> str:
    """The name under which a browser on this machine reaches a server that listens at `host`."""
    name = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
    return f"[{name}]" if ":" in name else name


def on_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens at `host`."""
    return is_loopback(host)
