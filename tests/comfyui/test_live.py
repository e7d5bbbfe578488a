"""Live in a real ComfyUI: the session that the node begins, prompts that come between, and what is left afterwards."""

import asyncio
import contextlib
import io
import json
import time
from itertools import count

import aiohttp
import numpy as np
import pytest
from PIL import Image

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, RATE, sample_motion
from personalive_core.live.protocol import Message, pack, unpack
from tests.comfyui.page import load_api, open_page
from tests.comfyui.server import ROOT, ComfyUI
from tests.comfyui.write_workflows import camera_clip

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

API = ROOT / "workflows" / "api"
NODE, REFERENCE = "4", "2"
PROBE = ROOT / "tests" / "comfyui" / "probe"


@pytest.fixture(scope="module")
def server(tmp_path_factory, checkout):  # noqa: ARG001 - ends before the next ComfyUI's turn
    """A ComfyUI of these tests alone: the others' prompts would pause a session."""
    with ComfyUI(tmp_path_factory.mktemp("live"), packs=[PROBE]) as comfyui:
        yield comfyui


@pytest.fixture(scope="module")
def driving():
    """JPEGs of a drawn person who moves, as a camera gives them."""
    return [jpeg(draw_portrait(DRIVER, sample_motion(frame, RATE), 128)) for frame in range(0, 32, 2)]


def jpeg(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return file.getvalue()


def workflow(**changes):
    """The shipped one; changes are of the session's inputs."""
    prompt = json.loads((API / "live.json").read_text())
    prompt[NODE]["inputs"] |= changes
    return prompt


def begin(server, **changes):
    """Runs the node; its token."""
    run = server.run(workflow(**changes))
    assert not run.error
    return run.outputs[NODE]["personalive_live"][0]["token"]


class Page:
    """A page that sends driving frames while it may, and keeps what it is told."""

    def __init__(self, socket, driving):
        self.socket, self.driving = socket, driving
        self.frames, self.words, self.heard, self.credit, self.numbers = [], [], [], 2, count()

    async def until(self, there, limit=120):
        """Goes on until `there()`."""
        end = time.monotonic() + limit
        while not there():
            assert time.monotonic() < end, (self.words, len(self.frames), [one.kind for one in self.heard][-20:])
            await self.feed()
            with contextlib.suppress(asyncio.TimeoutError):
                await self.take(await asyncio.wait_for(self.socket.receive(), 0.2))

    async def feed(self):
        if self.credit:
            self.credit -= 1
            number = next(self.numbers)
            fields = {"number": number, "time": time.monotonic()}
            await self.send("frame", fields, self.driving[number % len(self.driving)])
            await asyncio.sleep(0.04)

    async def send(self, kind, fields, payload=b""):
        await self.socket.send_bytes(pack(Message(kind, fields, payload)))

    async def take(self, received):
        assert received.type is aiohttp.WSMsgType.BINARY, received
        message = unpack(received.data)
        self.heard.append(message)
        if message.kind == "got":
            self.credit += 1
        elif message.kind == "said":
            self.words.append(message.fields["word"])
        elif message.kind == "frame":
            self.frames.append(message)
            if message.fields["index"] == message.fields["count"] - 1:
                window = message.fields["window"]
                await self.send("shown", {"window": window, "number": 0, "delay": 0.5, "frames": 4, "dropped": 0})


@contextlib.asynccontextmanager
async def connected(server, token, driving):
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{server.url}/personalive/live", max_msg_size=0) as socket,
    ):
        page = Page(socket, driving)
        await page.send("hello", {"version": 1, "token": token})
        await page.take(await socket.receive())
        yield page


def gone(server):
    """Whether nothing of a session is left, and its routes are not there."""
    return asyncio.run(_gone(server)) and not any(server.get("/personalive_test/live").values())


async def _gone(server):
    routes = ("/personalive/live", "/personalive/live/mjpeg?token=x")
    async with aiohttp.ClientSession() as http:
        statuses = [(await http.get(server.url + route)).status for route in routes]
    return statuses == [404, 404]


def wait_until_gone(server, limit=40):
    end = time.monotonic() + limit
    while not gone(server):
        assert time.monotonic() < end, server.get("/personalive_test/live")
        time.sleep(0.5)


def test_a_session_from_its_beginning_to_its_end(server, driving):
    """The node returns at once; frames come; a prompt has the device for itself; nothing is left when the page goes."""
    wait_until_gone(server)
    token = begin(server)

    async def live():
        async with connected(server, token, driving) as page:
            welcome = page.heard[0].fields
            assert (welcome["size"], welcome["model"], welcome["can"]["record"]) == (128, "small", True)
            await page.until(lambda: len(page.frames) >= 8)
            assert Image.open(io.BytesIO(page.frames[-1].payload)).size == (128, 128)
            assert "running" in page.words
            # a prompt between: live waits, and goes on with frames of afterwards
            film = json.loads((API / "image_to_image.json").read_text())
            film["1"]["inputs"] |= {"weights": welcome_weights(), "attention": "pytorch"}
            prompt = asyncio.get_running_loop().run_in_executor(None, server.run, film)
            await page.until(lambda: "paused_prompt" in page.words)
            await page.until(prompt.done)
            assert not prompt.result().error
            made = len(page.frames)
            await page.until(lambda: page.words[-1] == "running" and len(page.frames) >= made + 8)
            # another reference and other strengths: the same session
            assert await asyncio.get_running_loop().run_in_executor(None, lambda: begin(server, rotation=0.25)) == token
            await page.until(lambda: any(one.fields.get("rotation") == 0.25 for one in page.heard))
            await page.send("reference", {}, jpeg(draw_portrait(DRIVER, FaceMotion(), 256)))
            await page.until(lambda: "reference_changed" in page.words)
            made = len(page.frames)
            await page.until(lambda: len(page.frames) >= made + 8)
            # Cancel without a prompt ends nothing
            await asyncio.get_running_loop().run_in_executor(None, server.post, "/interrupt", {})
            made = len(page.frames)
            await page.until(lambda: len(page.frames) >= made + 8)
            assert "failed" not in page.words

    asyncio.run(live())
    wait_until_gone(server)


def welcome_weights():
    return json.loads((API / "live.json").read_text())["1"]["inputs"]["weights"]


def test_a_recording_and_a_snapshot_are_in_comfyuis_folders(server, driving):
    wait_until_gone(server)
    token = begin(server)

    async def live():
        async with connected(server, token, driving) as page:
            await page.until(lambda: len(page.frames) >= 4)
            await page.send("snapshot", {})
            for what in ("result", "camera"):
                await page.send("record", {"on": True, "what": what, "sound": False})
                made = len(page.frames)
                await page.until(lambda made=made: len(page.frames) >= made + 8)
                await page.send("record", {"on": False, "what": what, "sound": False})
                await page.until(lambda what=what: saved(page) >= (2 if what == "result" else 3))
            assert not [one.fields for one in page.heard if one.kind == "failed"]
            await page.send("stop", {})

    def saved(page):
        return sum(one.kind == "saved" for one in page.heard)

    asyncio.run(live())
    films = sorted((server.base / "output" / "video").iterdir())
    assert [path.suffix for path in films] == [".mp4", ".png"] or [path.suffix for path in films] == [".png", ".mp4"]
    assert [path.suffix for path in (server.base / "input").glob("live-*")] == [".mp4"]
    wait_until_gone(server)


def test_a_wrong_token_and_another_reference_are_refused(server, driving):
    token = begin(server)

    async def refused():
        async with connected(server, f"{token}x", driving) as page:
            assert (page.heard[0].kind, page.heard[0].fields["why"]) == ("bye", "refused")
        async with connected(server, token, driving) as page:
            await page.send("stop", {})
            with contextlib.suppress(AssertionError):
                await page.until(lambda: any(one.kind == "bye" for one in page.heard))

    asyncio.run(refused())
    wait_until_gone(server)


@pytest.mark.browser
@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "vue"])
def test_the_panel_shows_the_portrait_alive(server, tmp_path, vue):
    """Run, Start, frames; End; nothing is left, and the panel says to run again."""
    wait_until_gone(server)
    settings = {"Comfy.VueNodes.Enabled": vue}
    with open_page(server.url, settings, camera=camera_clip(tmp_path)) as (page, seen):
        load_api(page, workflow())
        panel = page.locator(".personalive-live")
        page.evaluate("() => window.app.queuePrompt(0, 1)")
        start = panel.get_by_role("button", name="Start", exact=True)
        start.wait_for(timeout=120_000)
        page.wait_for_function("() => document.querySelector('.personalive-live button:not(:disabled)')")
        start.click()
        moving = "() => document.querySelector('.personalive-live-state').textContent.startsWith('Live')"
        page.wait_for_function(moving, timeout=120_000)
        picture = "() => [...document.querySelectorAll('.personalive-live canvas')].at(-1).toDataURL()"
        before = page.evaluate(picture)
        page.wait_for_function(f"(before) => ({picture})() !== before", arg=before, timeout=120_000)
        panel.get_by_role("button", name="End", exact=True).click()
        page.get_by_text("Run the workflow again to begin another session.").wait_for()
        assert not seen.ours()
        assert not seen.foreign
    wait_until_gone(server)


def test_pictures_differ_when_the_face_moves(server, driving):
    """Not the same picture again and again."""
    token = begin(server, seed=1)

    async def live():
        async with connected(server, token, driving) as page:
            await page.until(lambda: len(page.frames) >= 24)
            return [np.asarray(Image.open(io.BytesIO(one.payload))).astype(int) for one in page.frames]

    pictures = asyncio.run(live())
    assert max(np.abs(one - pictures[0]).mean() for one in pictures) > 2
