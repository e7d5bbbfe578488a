"""The page's own server: what it serves, with which headers, and how it ends."""

import asyncio
import re
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest

from personalive_core.errors import InputError
from personalive_core.live import app, mjpeg
from personalive_core.live.app import on_loopback, policy, scripts, serve, shown_host
from personalive_core.live.server import LiveHub
from personalive_core.live.session import LiveSession
from tests.live.serving import PATIENCE, TOKEN, Server, echo


def run(test):
    asyncio.run(asyncio.wait_for(test, PATIENCE))


@asynccontextmanager
async def page_server():
    """(server, the page's address, the Motion JPEG's)."""
    session = LiveSession(echo())
    session.start()
    hub, addresses = LiveHub(session, TOKEN), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(hub, TOKEN, ("127.0.0.1", 0), lambda *found: addresses.set_result(found)))
    page, mjpeg = await addresses
    async with aiohttp.ClientSession() as http:
        yield Server(hub, int(re.search(r":(\d+)/", page)[1]), http), page, mjpeg
    hub.close()
    await serving
    assert not session.alive


def test_the_page_and_all_that_it_loads():
    """Every script that the page names, and every one that these import."""

    async def test():
        async with page_server() as (server, address, _):
            assert address == f"{server.url}/#token={TOKEN}"
            async with server.http.get(address) as response:
                text, seen = await response.text(), set()
                assert response.content_type == "text/html"
            waiting = set(re.findall(r'src="(/js/[^"]+)"', text))
            assert waiting
            while waiting:
                path = waiting.pop()
                seen.add(path)
                async with server.http.get(server.url + path) as response:
                    assert (response.status, response.content_type) == (200, "text/javascript"), path
                    source = await response.text()
                base = server.http._build_url(server.url + path)
                found = {base.join(type(base)(name)).path for name in re.findall(r'from "(\.[^"]+)"', source)}
                waiting |= found - seen
            assert len(seen) > 10

    run(test())


def test_headers_forbid_frames_sniffing_and_telling_the_token():
    async def test():
        async with page_server() as (server, _, mjpeg):
            for address in (server.url + "/", server.url + "/js/live/page.js"):
                async with server.http.get(address) as response:
                    rules = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
                    assert rules["default-src"] == "'self'"
                    assert rules["frame-ancestors"] == "'none'"
                    host = f"127.0.0.1:{server.port}"
                    assert rules["connect-src"] == f"'self' ws://{host} wss://{host}"
                    assert "unsafe-eval" not in str(rules)
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
                    assert response.headers["Referrer-Policy"] == "no-referrer"
                    assert response.headers["X-Frame-Options"] == "DENY"
            async with server.http.get(mjpeg) as response:
                assert response.status == 200
                assert response.headers["Referrer-Policy"] == "no-referrer"

    run(test())


@pytest.mark.parametrize(
    "path",
    ["/js/../../pyproject.toml", "/js/%2e%2e/%2e%2e/run.py", "/js//etc/passwd", "/js/", "/js/live", "/x", "/js/a%00"],
)
def test_nothing_else_is_served(path):
    async def test():
        async with page_server() as (server, _, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n".encode())
            assert re.match(rb"HTTP/1.1 (404|400)", await reader.read())
            writer.close()

    run(test())


def test_a_host_that_is_none_gets_no_place_in_the_policy():
    assert "evil" not in policy("evil; script-src *")
    assert "ws://[::1]:8190 " in policy("[::1]:8190")


def test_it_ends_with_its_session():
    async def test():
        async with page_server() as (server, _, _):
            page = await server.page()
            await page.send("stop")
            assert (await page.next("bye")).fields["why"] == "stopped"
            assert await page.next() is None
            await server.hub.closed.wait()

    run(test())


def test_the_end_waits_for_no_reader_that_reads_nothing(monkeypatch):
    """As a player of the Motion JPEG that is paused: all buffers are full, and what is written goes nowhere."""
    monkeypatch.setattr(app, "LAST_WORDS", 0.1)
    monkeypatch.setattr(mjpeg, "_STILL", 0.001)
    sent, part = [], mjpeg._part
    monkeypatch.setattr(mjpeg, "_part", lambda jpeg: sent.append(time.monotonic()) or part(jpeg + bytes(2**20)))

    async def test():
        async with page_server() as (server, _, address):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {address.partition(str(server.port))[2]} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert b"200" in await reader.readline()
            writer.transport.pause_reading()
            while not sent or time.monotonic() < sent[-1] + 0.3:
                await asyncio.sleep(0.05)
        writer.close()

    run(test())


def test_a_port_that_is_used_is_told():
    async def test():
        async with page_server() as (server, _, _):
            session = LiveSession(echo())
            session.start()
            with pytest.raises(InputError, match=r"cannot be used .*: choose another --port"):
                await serve(LiveHub(session, TOKEN), TOKEN, ("127.0.0.1", server.port), lambda *_: None)
            assert not session.alive

    run(test())


def test_a_page_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(app, "__file__", "/nowhere/a/b/c.py")
    monkeypatch.setattr(app, "_installed", dict)
    with pytest.raises(InputError, match="not installed: install PersonaLive again, or run it from its folder"):
        scripts()


@pytest.mark.parametrize(
    ("host", "shown", "loopback"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", True),
        ("::1", "[::1]", True),
        ("0.0.0.0", "127.0.0.1", False),
        ("192.168.1.7", "192.168.1.7", False),
    ],
)
def test_addresses(host, shown, loopback):
    assert shown_host(host) == shown
    assert on_loopback(host) == loopback
