"""The result as Motion JPEG, read by other programs' readers over a real server."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from personalive_core.live import mjpeg
from personalive_core.live.server import MJPEG_PATH
from personalive_core.live.types import Made
from tests.live.doubles import Clock
from tests.live.serving import PATIENCE, TOKEN, decoded, grey, serving


def run(test):
    asyncio.run(asyncio.wait_for(test, 2 * PATIENCE))


async def begun(response):
    """The boundary that begins a multipart answer."""
    kind, _, boundary = response.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/x-mixed-replace"
    line = f"--{boundary}\r\n".encode()
    assert await response.content.readline() == line
    return line


async def part(response, boundary):
    """The next picture, read as RFC 2046 says."""
    headers = {}
    while line := (await response.content.readline()).decode().strip():
        name, _, value = line.partition(": ")
        headers[name] = value
    assert headers["Content-Type"] == "image/jpeg"
    picture = decoded(await response.content.readexactly(int(headers["Content-Length"])))
    assert await response.content.readline() == b"\r\n"
    assert await response.content.readline() == boundary
    return picture


async def parts(response, count):
    boundary = await begun(response)
    return [await part(response, boundary) for _ in range(count)]


def levels(pictures):
    return [round(float(picture.mean())) for picture in pictures]


def test_the_portrait_is_shown_first_and_then_every_frame_in_its_order(monkeypatch):
    """On a clock that stands still until a frame is read: a reader that is late gets the newest."""
    clock = Clock()
    monkeypatch.setattr(mjpeg, "time", SimpleNamespace(monotonic=clock))

    async def test():
        async with serving() as server, server.mjpeg() as response:
            page, boundary = await server.page(), await begun(response)
            shown = [await part(response, boundary)]
            await page.window([20, 70, 120, 170], 1.0)
            for _ in range(4):
                shown.append(await part(response, boundary))
                clock.move(0.041)
            assert np.allclose(levels(shown), [200, 20, 70, 120, 170], atol=2)
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"

    run(test())


def test_the_last_frame_is_sent_again_while_nothing_new_comes(monkeypatch):
    monkeypatch.setattr(mjpeg, "_STILL", 0.1)

    async def test():
        async with serving() as server, server.mjpeg() as response:
            assert np.allclose(levels(await parts(response, 2)), [200, 200], atol=2)

    run(test())


@pytest.mark.parametrize("reader", ["OpenCV", "PyAV"])
def test_other_programs_read_it(reader):
    """Both read with FFmpeg, as OBS and VLC do."""

    def read(url, found):
        if reader == "OpenCV":
            import cv2

            capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
            found.extend(round(float(capture.read()[1].mean())) for _ in range(3))
            capture.release()
        else:
            import av

            with av.open(url, format="mpjpeg") as opened:
                for frame in opened.decode(video=0):
                    found.append(round(float(frame.to_ndarray(format="rgb24").mean())))
                    if len(found) == 3:
                        break

    async def test():
        async with serving() as server:
            page, found = await server.page(), []
            url = f"{server.url}{MJPEG_PATH}?token={TOKEN}"
            reading = asyncio.create_task(asyncio.to_thread(read, url, found))
            second = 0
            while not reading.done():
                await page.window([20] * 4, second / 4)
                second += 1
                await asyncio.sleep(0.05)
            await reading
            assert len(found) == 3
            assert abs(found[-1] - 20) <= 3

    run(test())


def test_a_slow_reader_gets_the_newest_and_nothing_gathers():
    """It reads nothing for 200 windows of pictures that do not compress; then it gets the last of them."""

    async def test():
        async with serving() as server, server.mjpeg() as response:
            response.connection.transport.pause_reading()
            await asyncio.sleep(0.1)
            rng = np.random.default_rng(0)
            biggest = rng.integers(0, 256, (512, 512, 3), np.uint8)
            waiting = []
            for window in range(200):
                level = biggest if window < 199 else grey(33, 512)
                frames = tuple(Made(level, 4 * window + i, (4 * window + i) / 400, window) for i in range(4))
                server.hub.outlet._made(frames)
                if window % 20 == 0:
                    await asyncio.sleep(0.03)
                    waiting.append(sum(len(one._waiting) for one in paced_of(server)))
            assert max(waiting) <= 8
            await asyncio.sleep(0.1)
            response.connection.transport.resume_reading()
            boundary = await begun(response)
            while abs(float((await part(response, boundary)).mean()) - 33) > 2:
                pass

    def paced_of(server):
        cells = [cell for listener in server.hub.outlet._listeners for cell in listener.__closure__ or ()]
        return [cell.cell_contents for cell in cells if type(cell.cell_contents).__name__ == "Paced"]

    run(test())


def test_readers_are_few_and_make_room_when_they_leave(monkeypatch):
    monkeypatch.setattr(mjpeg, "_STILL", 0.1)

    async def test():
        async with serving() as server:
            readers = [await server.mjpeg() for _ in range(4)]
            async with server.mjpeg() as fifth:
                assert fifth.status == 503
            readers.pop().close()
            for _ in range(100):
                async with server.mjpeg() as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.05)
            else:
                pytest.fail("no room was made")
            for reader in readers:
                reader.close()

    run(test())


def test_it_ends_with_the_session():
    async def test():
        async with serving() as server, server.mjpeg() as response:
            server.hub.close()
            await server.hub.closed.wait()
            await response.read()
            for thread in threading.enumerate():
                if thread.name == "live-end":
                    thread.join(PATIENCE)
                    assert not thread.is_alive()

    run(test())
