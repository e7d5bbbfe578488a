"""The live connection attacked over a real server: each abuse is answered, and the page that was there goes on."""

import asyncio
import contextlib
import json
import re
import struct
import zlib

import aiohttp
import pytest

from personalive_core.live import pictures
from personalive_core.live import server as server_module
from personalive_core.live.pictures import MOST_REFERENCE_PIXELS
from personalive_core.live.protocol import MOST_MESSAGE, VERSION, Message, pack
from personalive_core.live.server import SOCKET_PATH
from tests.live.serving import PATIENCE, TOKEN, Page, echo, encoded, grey, serving

HELLO = pack(Message("hello", {"version": VERSION, "token": TOKEN}))


def run(test):
    asyncio.run(asyncio.wait_for(test, 2 * PATIENCE))


def with_header(header, payload=b""):
    return struct.pack(">I", len(header)) + header + payload


def bomb(width, height):
    """A PNG of a few kB that says it is so large; as far as it is there, it is black."""
    line = zlib.compressobj(9)
    packed = b"".join(line.compress(bytes(min(width, 10000) * 3 + 1)) for _ in range(min(height, 1000))) + line.flush()

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


async def goes_on(page, start=50.0):
    """The page still gets its portrait."""
    before = len(page.heard)
    await page.window([60] * 4, start)
    assert any(message.kind == "frame" for message in page.heard[before:]) or await page.next("frame")


async def why(page):
    """The reason of the goodbye, after which nothing comes."""
    bye = await page.next("bye")
    assert await page.next() is None
    return bye.fields["why"], bye.fields["text"]


async def is_closed(page):
    while (received := await page.socket.receive()).type is aiohttp.WSMsgType.BINARY:
        pass
    return received.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


MALFORMED = {
    "nothing": b"",
    "cut in its length": b"\0\0",
    "a truncated header": struct.pack(">I", 60) + b'{"kind": "fra',
    "a length of 1 GB": struct.pack(">I", 1 << 30) + b'{"kind":"ping"}',
    "no JSON": with_header(b"\xff\xfe\xfd\xfc"),
    "no object": with_header(b"[1,2]"),
    "no kind": with_header(b'{"time":1}'),
    "a kind that is no text": with_header(b'{"kind":["frame"]}'),
    "nested deeply": with_header(b'{"kind":"ping","time":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    "an unknown kind": with_header(b'{"kind":"__init__"}'),
    "a second hello": HELLO,
    "a time that is no number": with_header(b'{"kind":"frame","number":1,"time":NaN}'),
    "an infinite time": with_header(b'{"kind":"frame","number":1,"time":1e999}'),
    "a number without end": with_header(b'{"kind":"frame","time":1,"number":' + b"9" * 4000 + b"}"),
    "a number that is none": with_header(b'{"kind":"frame","number":"1","time":1}'),
    "a negative number": with_header(b'{"kind":"frame","number":-1,"time":1}'),
    "a frame of 5 MB": with_header(b'{"kind":"frame","number":1,"time":1}', bytes(5 << 20)),
    "sound of half samples": with_header(b'{"kind":"sound","time":1,"rate":48000,"channels":1}', b"\0"),
    "sound of a thousand channels": with_header(b'{"kind":"sound","time":1,"rate":48000,"channels":1000}', b"\0\0"),
    "sound without a rate": with_header(b'{"kind":"sound","time":1,"rate":0,"channels":1}', b"\0\0"),
    "pause for no reason": with_header(b'{"kind":"pause","why":"because"}'),
    "recording something else": with_header(b'{"kind":"record","on":true,"what":"/etc/passwd","sound":false}'),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_message_ends_its_connection_alone(case):
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.socket.send_bytes(MALFORMED[case])
            reason, text = await why(page)
            assert reason == "refused"
            assert re.search(r": \w+", text)  # what to do
            await goes_on(await server.page())

    run(test())


def test_text_is_refused_before_and_after_hello():
    async def test():
        async with serving() as server:
            stranger = Page(await server.connect())
            await stranger.socket.send_str(json.dumps({"kind": "hello", "token": TOKEN}))
            assert (await why(stranger))[0] == "refused"
            page = await server.page()
            await page.socket.send_str("stop")
            assert (await why(page))[0] == "refused"
            assert server.session.alive
            await goes_on(await server.page())

    run(test())


def test_a_message_beyond_all_bounds_is_not_read_to_its_end():
    """What a WebSocket frame says of its length is looked at before its content is gathered."""

    async def test():
        async with serving() as server:
            page = await server.page()
            with contextlib.suppress(ConnectionError):
                await page.socket.send_bytes(bytes(MOST_MESSAGE + 1))
            assert await is_closed(page)
            again = await server.page()
            again.socket._writer.transport.write(b"\x82\xff" + struct.pack(">Q", 1 << 30) + b"\0\0\0\0" + bytes(1000))
            assert await is_closed(again)
            await goes_on(await server.page())

    run(test())


def test_a_connection_that_is_cut_in_mid_frame():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.window([50] * 2, 1.0)
            whole = pack(Message("frame", {"number": 2, "time": 1.08}, encoded(grey(9))))
            transport = page.socket._writer.transport
            transport.write(b"\x82\xfe" + struct.pack(">H", len(whole)) + b"\0\0\0\0" + whole[: len(whole) // 2])
            await asyncio.sleep(0.05)
            transport.abort()
            await goes_on(await server.page())

    run(test())


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "no JPEG, PNG or WebP"),
        (b"\xff\xd8", "header is damaged"),
        (b"\xff\xd8\xff\xd9", "header is damaged"),
        (encoded(grey(5))[:300], "damaged|header"),
        (bomb(30000, 30000), "at most 2048 pixels a side, not 30000x30000"),
        (bomb(2048, 2048)[:-400], "damaged or cut off"),
        (encoded(grey(5, 16)), "at least 32 pixels a side, not 16x16"),
        (b"GIF89a" + bytes(100), "no JPEG, PNG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no JPEG, PNG or WebP"),
    ],
    ids=["empty", "beginning", "no picture", "cut", "bomb", "cut bomb", "tiny", "gif", "svg"],
)
def test_a_picture_that_is_none_is_answered_and_the_connection_stays(payload, words):
    async def test():
        async with serving() as server:
            page = await server.page()
            number = next(page.numbers)
            await page.send("frame", {"number": number, "time": 1.0}, payload)
            failed = await page.next("failed")
            assert failed.fields["what"] == "frame"
            assert re.search(words, failed.fields["text"])
            assert (await page.next("got")).fields["number"] == number  # the credit returns
            await goes_on(page)

    run(test())


def test_a_reference_of_too_many_pixels_is_refused_by_its_header(monkeypatch):
    """Nothing is decoded."""
    monkeypatch.setattr(pictures, "_decoded", None)

    async def test():
        async with serving() as server:
            page = await server.page()
            for width, height in ((8000, 8000), (16000, 3000), (2**31 - 1, 2**31 - 1), (40000, 40)):
                await page.send("reference", {}, bomb(width, height))
                failed = await page.next("failed")
                assert failed.fields["what"] == "reference"
                assert f"at most {MOST_REFERENCE_PIXELS // 10**6} megapixels" in failed.fields["text"]

    run(test())


@pytest.mark.parametrize(
    ("headers", "loopback", "status"),
    [
        ({"Origin": "http://evil.example"}, True, 403),
        ({"Origin": "null"}, True, 403),
        ({"Origin": "http://127.0.0.1:1"}, True, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, True, 403),
        ({"Host": "evil.example"}, True, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, True, 403),
        ({"Host": "localhost.evil.example"}, True, 403),
        ({"Host": ""}, True, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, True, 101),
        ({"Host": "[::1]:1"}, True, 101),
        ({"Host": "host.of.mine", "Origin": "https://host.of.mine"}, False, 101),
        ({"Host": "host.of.mine", "Origin": "https://other.example"}, False, 403),
    ],
)
def test_other_origins_and_hosts_are_refused(headers, loopback, status):
    async def test():
        async with serving(loopback=loopback) as server:
            found = 101
            try:
                await server.connect(headers)
            except aiohttp.WSServerHandshakeError as refused:
                found = refused.status
            assert found == status
            async with server.mjpeg(headers=headers) as response:
                assert response.status == {101: 200}.get(status, status)

    run(test())


def test_the_page_of_its_own_origin_is_let_in():
    async def test():
        async with serving() as server:
            await goes_on(await server.page(headers={"Origin": server.url}))

    run(test())


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", None, 7, {"a": 1}, "\ud800"])
def test_a_wrong_token_is_refused(token):
    async def test():
        async with serving() as server:
            page = await server.page(token)
            assert page.welcome.fields["why"] == "refused"
            assert "token" in page.welcome.fields["text"]
            assert await page.next() is None
            if isinstance(token, str) and token.isascii():
                async with server.mjpeg(token) as response:
                    assert response.status == 403
            await goes_on(await server.page())

    run(test())


def test_motion_jpeg_without_a_token_is_refused():
    async def test():
        async with serving() as server, server.http.get(f"{server.url}{SOCKET_PATH}/mjpeg") as response:
            assert response.status == 403

    run(test())


def test_a_page_of_another_version_is_told_to_load_again():
    async def test():
        async with serving() as server:
            bye = (await server.page(version=VERSION + 1)).welcome
            assert bye.fields["why"] == "refused"
            assert "load it again" in bye.fields["text"]

    run(test())


def test_a_second_page_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(server_module, "_SILENT", PATIENCE)  # however slow the machine is, the first is not gone

    async def test():
        async with serving() as server:
            first = await server.page()
            second = await server.page()
            assert second.welcome.fields["why"] == "taken"
            assert "another page uses this session" in second.welcome.fields["text"]
            await goes_on(first)

    run(test())


def test_a_page_that_is_silent_makes_room(monkeypatch):
    """Its connection is dead, and the server has not been told: the page that was cut off comes again."""
    monkeypatch.setattr(server_module, "_SILENT", 5)

    async def test():
        async with serving() as server:
            first = await server.page()
            server.hub._client.heard -= 10
            await goes_on(await server.page())
            assert (await first.next("bye")).fields["why"] == "taken"

    run(test())


def test_a_thousand_connections_and_the_first_goes_on(monkeypatch):
    monkeypatch.setattr(server_module, "_SILENT", PATIENCE)
    monkeypatch.setattr(server_module, "_STEP", 0.01)  # how long a second page waits for the first to leave

    async def test():
        async with serving() as server:
            page = await server.page()

            async def knock(index):
                try:
                    socket = await server.connect()
                except (aiohttp.WSServerHandshakeError, OSError):
                    return
                if index % 3:
                    await socket.send_bytes(HELLO if index % 2 else b"x" * 100)
                else:
                    socket._writer.transport.abort()
                await socket.close()

            for start in range(0, 1000, 50):
                await asyncio.gather(*(knock(start + index) for index in range(50)))
                await page.send("ping", {"time": float(start)})
                assert (await page.next("pong")).fields["time"] == start
            await goes_on(page)

    run(test())


def test_those_who_wait_without_a_word_are_few():
    async def test():
        async with serving() as server:
            page = await server.page()
            silent = [await server.connect() for _ in range(8)]
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.connect()
            assert refused.value.status == 503
            await goes_on(page)
            for socket in silent:
                await socket.close()

    run(test())


def test_after_the_end_no_route_is_there():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("stop")
            assert (await why(page))[0] == "stopped"
            await server.hub.closed.wait()
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.connect()
            assert refused.value.status == 404
            async with server.mjpeg() as response:
                unknown = await server.http.get(server.url + "/nowhere")
                assert response.status == unknown.status == 404
                assert await response.text() == await unknown.text()

    run(test())


def test_a_plain_request_for_the_socket_is_refused():
    async def test():
        async with serving() as server, server.http.get(server.url + SOCKET_PATH) as response:
            assert response.status == 400

    run(test())


def test_no_message_names_a_folder_of_this_machine(tmp_path):
    """Neither where a recording cannot be written, nor where a reference is damaged."""
    folder = tmp_path / "of a person"

    async def test():
        async with serving(folder / "missing" / "output", performer=echo()) as server:
            page = await server.page()
            await page.window([60] * 4, 1.0)
            await page.next("frame")
            texts = []
            for kind, fields, payload in (
                ("snapshot", {}, b""),
                ("record", {"on": True, "what": "result", "sound": False}, b""),
                ("reference", {}, bomb(64, 64)[:-30]),
            ):
                await page.send(kind, fields, payload)
                texts.append((await page.next("failed")).fields["text"])
            assert not [text for text in texts if str(tmp_path) in text or "/" in text or "of a person" in text]
            assert texts[0].endswith("create that folder.")

    run(test())
