"""Live in a real ComfyUI: the session that the node begins, prompts that come between, and what is left afterwards."""

import asyncio
import contextlib
import io
import json
import threading
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
from tests.comfyui.live_weights import write_live_standin
from tests.comfyui.page import READY, load_api, open_page
from tests.comfyui.server import ROOT, ComfyUI
from tests.comfyui.write_workflows import camera_clip

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

API = ROOT / "workflows" / "api"
NODE, REFERENCE = "4", "2"
PROBE = ROOT / "tests" / "comfyui" / "probe"


@pytest.fixture(scope="module")
def server(tmp_path_factory, checkout):  # noqa: ARG001 - ends before the next ComfyUI's turn
    """A ComfyUI of these tests alone: the others' prompts would pause a session."""
    comfyui = ComfyUI(tmp_path_factory.mktemp("live"), packs=[PROBE])
    write_live_standin(comfyui.base / "models" / "liveportrait")
    with comfyui:
        yield comfyui


@pytest.fixture(scope="module")
def driving():
    """JPEGs of a drawn person who moves, as a camera gives them."""
    return [jpeg(draw_portrait(DRIVER, sample_motion(frame, RATE), 128)) for frame in range(0, 32, 2)]


def jpeg(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return file.getvalue()


def workflow(portrait="personalive_portrait.png", **changes):
    """The shipped one; changes are of the session's inputs."""
    prompt = json.loads((API / "live.json").read_text())
    prompt[REFERENCE]["inputs"]["image"] = portrait
    prompt[NODE]["inputs"] |= changes
    return prompt


def begin(server, portrait="personalive_portrait.png", **changes):
    """Runs the node; its token."""
    run = server.run(workflow(portrait, **changes))
    assert not run.error
    return run.outputs[NODE]["personalive_live"][0]["token"]


FACE = {"detector": "none", "face": "largest", "face_box": "", "crop_scale": 1.0, "crop_x": 0.0, "crop_y": 0.0}
LIVE_SESSION = {"mode": "relative", "region": "all", "multiplier": 1.0, "stitching": True, "rotation": 1.0}
LIVE_SESSION |= {"translation": 1.0, "scale": 1.0, "expression": 1.0, "smoothing": 0.0, "detector": "none"}
LIVE_SESSION |= {"face": "largest", "mark": False, "size": 128}


def liveportrait_workflow(portrait="personalive_portrait.png", face_box="", **changes):
    """That of LivePortrait's node, on stand-in weights; changes are of the session's inputs."""
    files = {"weights": "liveportrait", "subject": "human", "precision": "auto", "download_if_missing": False}
    source = {**FACE, "model": ["1", 0], "image": ["2", 0], "face_box": face_box}
    session = {**LIVE_SESSION, "model": ["1", 0], "source": ["3", 0], **changes}
    return {
        "1": {"class_type": "PersonaLiveLoadLivePortrait", "inputs": files},
        "2": {"class_type": "LoadImage", "inputs": {"image": portrait}},
        "3": {"class_type": "PersonaLivePrepareSource", "inputs": source},
        NODE: {"class_type": "PersonaLiveLivePortraitSession", "inputs": session},
    }


def begin_liveportrait(server, **inputs):
    """Runs LivePortrait's node; its token."""
    run = server.run(liveportrait_workflow(**inputs))
    assert not run.error, run.error
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


def aside(function, *values):
    """The function's result to wait for, while the page goes on."""
    return asyncio.get_running_loop().run_in_executor(None, function, *values)


async def more(page, frames=8):
    """Goes on for so many frames."""
    made = len(page.frames)
    await page.until(lambda: len(page.frames) >= made + frames)


def picture_prompt():
    """A prompt that has nothing to do with live, of a second or two."""
    prompt = json.loads((API / "image_to_image.json").read_text())
    prompt["1"]["inputs"] |= {"weights": workflow()["1"]["inputs"]["weights"], "attention": "pytorch"}
    return prompt


def result_of(server, run):
    (made,) = (image for output in run.outputs.values() for image in output.get("images", ()))
    return np.asarray(Image.open(server.base / made["type"] / made["subfolder"] / made["filename"]).convert("RGB"))


def test_a_session_from_its_beginning_to_its_end(server, driving):
    """The node returns at once; frames come; other portraits and strengths; nothing is left when the page goes."""
    wait_until_gone(server)
    token = begin(server)

    async def live():
        async with connected(server, token, driving) as page:
            welcome = page.heard[0].fields
            assert (welcome["size"], welcome["model"], welcome["can"]["record"]) == (128, "small", True)
            await more(page)
            assert Image.open(io.BytesIO(page.frames[-1].payload)).size == (128, 128)
            assert "running" in page.words
            assert all((await aside(server.get, "/personalive_test/live")).values())
            # another run: other strengths, then another reference, the same session
            assert await aside(lambda: begin(server, rotation=0.25)) == token
            await page.until(lambda: any(one.fields.get("rotation") == 0.25 for one in page.heard))
            assert "reference_changed" not in page.words
            assert await aside(lambda: begin(server, "personalive_expression.png", rotation=0.25)) == token
            await page.until(lambda: page.words.count("reference_changed") == 1)
            await more(page)
            # one that is dropped on the panel
            await page.send("reference", {}, jpeg(draw_portrait(DRIVER, FaceMotion(), 256)))
            await page.until(lambda: page.words.count("reference_changed") == 2)
            await more(page)
            # the networks are taken away
            await aside(server.post, "/free", {"unload_models": True})
            await more(page, 16)
            assert "failed" not in page.words

    asyncio.run(live())
    wait_until_gone(server)


def test_liveportrait_is_live_in_the_same_way(server, driving):
    """Frames that follow the camera; other values and portraits; prompts come first; the other system; the end."""
    wait_until_gone(server)
    token = begin_liveportrait(server, multiplier=0.5)

    async def live():
        async with connected(server, token, driving) as page:
            welcome = page.heard[0].fields
            assert (welcome["size"], welcome["model"], welcome["can"]["record"]) == (128, "liveportrait", True)
            await more(page)
            shown = [np.asarray(Image.open(io.BytesIO(one.payload))) for one in page.frames]
            assert {one.shape for one in shown} == {(128, 128, 3)}
            assert len({one.tobytes() for one in shown}) > 2, "it moves"
            assert page.frames[-1].fields["count"] == 1, "frame by frame"
            assert await aside(lambda: begin_liveportrait(server, multiplier=0.5, rotation=0.25)) == token
            await page.until(lambda: any(one.fields.get("rotation") == 0.25 for one in page.heard))
            assert await aside(lambda: begin_liveportrait(server, face_box="60, 50, 200, 210")) == token
            await more(page)
            await page.send("reference", {}, jpeg(draw_portrait(DRIVER, FaceMotion(), 256)))
            await page.until(lambda: "reference_changed" in page.words)
            await aside(server.post, "/free", {"unload_models": True})
            await more(page)
            prompt = aside(server.run, picture_prompt())
            await page.until(lambda: "paused_prompt" in page.words)
            await page.until(lambda: prompt.done() and page.words[-1] != "paused_prompt")
            assert not prompt.result().error
            await more(page)
            assert await aside(lambda: begin(server)) == token, "PersonaLive's node takes the session over"
            await page.until(lambda: page.frames[-1].fields["count"] == 4)
            assert not {"failed", "reference_refused"} & set(page.words)

    asyncio.run(live())
    wait_until_gone(server)


def test_a_prompt_has_the_device_and_live_goes_on_after_it(server, driving):
    wait_until_gone(server)
    token = begin(server)

    async def live():
        async with connected(server, token, driving) as page:
            await more(page)
            prompt = aside(server.run, picture_prompt())
            await page.until(lambda: "paused_prompt" in page.words)
            await page.until(lambda: prompt.done() and page.words[-1] != "paused_prompt")
            said = [one.fields.get("word", one.kind) for one in page.heard if one.kind in ("said", "frame")]
            rest = said[said.index("paused_prompt") + 1 :]
            resting = next(place for place, kind in enumerate(rest) if kind != "frame")  # until the next word
            assert resting <= 4, "the window that was on its way"
            await more(page)
            assert "failed" not in page.words
            return prompt.result()

    beside = asyncio.run(live())
    assert not beside.error
    wait_until_gone(server)
    server.post("/free", {"unload_models": True, "free_memory": True})  # and forget the result
    time.sleep(1)
    alone = server.run(picture_prompt())
    assert "7" in alone.executed
    assert np.array_equal(result_of(server, beside), result_of(server, alone))


def test_cancel_ends_the_prompt_and_never_live(server, driving):
    wait_until_gone(server)
    token = begin(server)

    async def live():
        async with connected(server, token, driving) as page:
            await more(page)
            for _ in range(5):  # without a prompt, at any moment of a step
                await aside(server.post, "/interrupt", {})
                await more(page, 4)
            await page.send("reference", {}, jpeg(draw_portrait(DRIVER, FaceMotion(), 256)))
            await aside(server.post, "/interrupt", {})
            await page.until(lambda: "reference_changed" in page.words)
            film = json.loads((API / "long_video.json").read_text())
            film["1"]["inputs"] |= {"weights": workflow()["1"]["inputs"]["weights"], "attention": "pytorch"}
            began = threading.Event()
            prompt = aside(server.run, film, 240, lambda run: run.events and began.set())
            await page.until(began.is_set)
            await aside(server.post, "/interrupt", {})
            await page.until(prompt.done)
            assert prompt.result().interrupted
            await more(page)
            assert not {"failed", "reference_refused"} & set(page.words)
            await page.send("stop", {})

    asyncio.run(live())
    wait_until_gone(server)


def test_without_a_session_its_paths_are_like_any_other(server):
    """Whatever the method: nothing tells that the pack has them."""
    wait_until_gone(server)

    async def answers(path):
        found = []
        async with aiohttp.ClientSession() as http:
            for prefix in ("", "/api"):
                for method in ("GET", "HEAD", "POST"):
                    async with http.request(method, server.url + prefix + path) as answer:
                        headers = {k: v for k, v in answer.headers.items() if k not in ("Date", "Content-Length")}
                        found.append((answer.status, await answer.text(), headers))
        return found

    ours, other = (asyncio.run(answers(f"/personalive/{name}")) for name in ("live", "nothing"))
    assert ours == other
    assert [status for status, *_ in ours] == [404, 404, 405] * 2
    assert ours == asyncio.run(answers("/personalive/live/mjpeg"))


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


def test_a_wrong_token_is_refused(server, driving):
    wait_until_gone(server)
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


PLACE = """() => {
  const { canvas, graph } = window.app, node = graph._nodes.find(n => n.type === 'PersonaLiveLiveSession');
  return [...canvas.ds.offset, canvas.ds.scale, ...node.pos].map(Math.round);
}"""
ZOOM = """scale => {
  const { canvas } = window.app;
  canvas.ds.changeScale(scale, [0, 0]);
  canvas.setDirty(true, true);
}"""
LIVE = "() => document.querySelector('.personalive-live-state').textContent.startsWith('Live')"
PICTURE = "() => [...document.querySelectorAll('.personalive-live canvas')].at(-1).toDataURL()"


def start_live(page):
    """Runs the node, presses Start, and waits for pictures that change."""
    page.evaluate("() => window.app.queuePrompt(0, 1)")
    page.wait_for_function("() => document.querySelector('.personalive-live button:not(:disabled)')", timeout=120_000)
    panel = page.locator(".personalive-live")
    panel.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function(LIVE, timeout=120_000)
    before = page.evaluate(PICTURE)
    page.wait_for_function(f"before => ({PICTURE})() !== before", arg=before, timeout=120_000)
    return panel


@pytest.mark.browser
@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "vue"])
def test_the_panel_shows_the_portrait_alive(server, checkout, tmp_path, vue):
    """Run, Start, frames; another run and zoom; a reload; End: nothing is left, and the panel says to run again."""
    if vue and checkout.version == "0.3.64":
        pytest.skip("the Vue nodes of its page are an experiment that shows no node at all")
    wait_until_gone(server)
    settings = {"Comfy.VueNodes.Enabled": vue}
    with open_page(server.url, settings, camera=camera_clip(tmp_path)) as (page, seen):
        load_api(page, workflow())
        page.get_by_text("Run the workflow once, then press Start here.").wait_for()
        panel = start_live(page)
        page.evaluate(ZOOM, 0.6)
        page.wait_for_timeout(300)
        there = page.evaluate(PLACE)
        slider = panel.locator("[data-setting=rotation]")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        if not vue:  # there the panel shows all it has, and the wheel zooms over it as over any node
            page.mouse.wheel(0, 200)
        assert float(slider.input_value()) > 1.5
        assert page.evaluate(PLACE) == there, "what happens inside the panel moves neither canvas nor node"
        page.evaluate("() => window.app.queuePrompt(0, 1)")  # another run: the same session in the same panel
        page.wait_for_function("() => document.querySelector('.personalive-live-state').textContent.includes('prompt')")
        page.wait_for_function(LIVE, timeout=120_000)
        page.reload(wait_until="domcontentloaded")
        page.wait_for_function(READY)
        load_api(page, workflow())
        page.get_by_text("Run the workflow once, then press Start here.").wait_for()
        start_live(page).get_by_role("button", name="End", exact=True).click()
        page.get_by_text("Run the workflow again to begin another session.").wait_for()
        assert not seen.ours()
        assert not seen.foreign
    wait_until_gone(server)


@pytest.mark.browser
def test_liveportraits_node_has_the_same_panel(server, tmp_path):
    wait_until_gone(server)
    settings = {"Comfy.Minimap.Visible": False}  # it would lie over the end of so high a panel
    with open_page(server.url, settings, camera=camera_clip(tmp_path)) as (page, seen):
        load_api(page, liveportrait_workflow())
        page.get_by_text("Run the workflow once, then press Start here.").wait_for()
        start_live(page).get_by_role("button", name="End", exact=True).click()
        page.get_by_text("Run the workflow again to begin another session.").wait_for()
        assert not seen.ours()
        assert not seen.foreign
    wait_until_gone(server)


def test_pictures_differ_when_the_face_moves(server, driving):
    """Not the same picture again and again."""
    wait_until_gone(server)
    token = begin(server, seed=1)

    async def live():
        async with connected(server, token, driving) as page:
            await page.until(lambda: len(page.frames) >= 24)
            return [np.asarray(Image.open(io.BytesIO(one.payload))).astype(int) for one in page.frames]

    pictures = asyncio.run(live())
    assert max(np.abs(one - pictures[0]).mean() for one in pictures) > 2
