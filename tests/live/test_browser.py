"""The live page in a headless Chromium with a fake camera, whose frames tell their numbers."""

import asyncio
import contextlib
import io
import itertools
import os
import re
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import InputError
from personalive_core.live.server import MJPEG_PATH, SOCKET_PATH, LiveHub
from personalive_core.live.session import LiveSession
from personalive_core.live.types import Captured
from tests.live.barcode import HEIGHT, MEASURE, WIDTH, barcode, number_in, write_clip
from tests.live.doubles import Echo, raising, sleeping

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
)
FRAMES = 300
USUAL = sleeping(0.05)
PORTRAIT = np.zeros((HEIGHT, HEIGHT, 3), np.uint8)
WEB = Path(__file__).resolve().parents[2] / "web" / "js"
# The delays of the last ten seconds in milliseconds when the panel tells them next: as the barcodes do, and as it does.
DELAYS = """() => new Promise((resolve) => {
  const told = document.querySelector("[data-figure=delay]");
  const rank = (all, part) => all[Math.ceil(part * all.length) - 1];
  new MutationObserver((_, observer) => {
    observer.disconnect();
    const all = seen.shown.filter(({ at }) => at > performance.now() - 10000).map(({ delay }) => delay);
    all.sort((one, other) => one - other);
    const own = told.textContent.match(/\\d+/g).map(Number);
    resolve({ count: all.length, measured: [rank(all, 0.5), rank(all, 0.95)], misread: seen.misread, own });
  }).observe(told, { childList: true });
})"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
CUT_OFF = """() => [...document.querySelectorAll(".personalive-live :is(button, select, input, dd)")]
  .filter((one) => !one.hidden && one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML)"""
UNPLUG = "document.querySelector('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))"
REPLUG = "navigator.mediaDevices.dispatchEvent(new Event('devicechange'))"

# opens a panel of its own and closes it once it shows its portrait; gives the pictures' addresses that are left
CLOSED = """async () => {
  const [make, free, left] = [URL.createObjectURL, URL.revokeObjectURL, new Set()];
  URL.createObjectURL = of => { const made = make(of); left.add(made); return made; };
  URL.revokeObjectURL = one => { left.delete(one); free(one); };
  const load = name => import(`/js/live/${name}.js`);
  const [{ livePanel }, { liveWords }, { socketUrl }] = [await load('panel'), await load('words'), await load('link')];
  const root = document.createElement('div');
  const panel = livePanel(root, { words: liveWords('en'), socketUrl: socketUrl(location), token: 'secret' });
  while (left.size === 0) await new Promise(done => setTimeout(done, 20));
  panel.close();
  return [...left];
}"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    clip = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    write_clip(clip, FRAMES)
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={clip}"]
        chromium = playwright.chromium.launch(executable_path=os.environ["PERSONALIVE_BROWSER"], args=arguments)
        yield chromium
        chromium.close()


class Middle(Echo):
    """Gives the middle square of each driving frame back: the barcode is in it."""

    def perform(self, state, frames, settings):
        side = (WIDTH - HEIGHT) // 2
        return super().perform(
            state, [replace(one, picture=one.picture[:, side : side + HEIGHT]) for one in frames], settings
        )


class Server:
    """The live page's server on loopback, in a thread."""

    def __init__(self, output, source="page", before=USUAL, performer=None):
        self.output = output
        self.session = LiveSession(performer or Middle(size=HEIGHT, portrait=PORTRAIT, before=before))
        self.session.start()
        self.hub = LiveHub(self.session, "secret", output, source)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        port = self._run(self._start())
        self.url = f"http://127.0.0.1:{port}/#token=secret"

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self):
        from aiohttp import web

        async def page(_):
            return web.FileResponse(WEB / "live" / "page.html")

        app = web.Application()
        app.router.add_get("/", page)
        app.router.add_static("/js", WEB)
        app.router.add_get(SOCKET_PATH, self.hub.socket)
        app.router.add_get(MJPEG_PATH, self.hub.mjpeg)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    def kill(self):
        """The server goes without a word."""
        if self._loop.is_running():
            self._run(self._runner.cleanup())
            self._run(asyncio.sleep(0.05))  # what was cancelled ends
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def close(self):
        self.hub.close()
        self.kill()


@pytest.fixture
def serve(tmp_path):
    """Starts a live server whose model takes 50 ms a step and gives the camera's picture back."""
    with contextlib.ExitStack() as stack:
        yield lambda **how: stack.enter_context(contextlib.closing(Server(tmp_path, **how)))


@pytest.fixture
def live(serve):
    return serve()


class Panel:
    """The panel of a page, as a person uses it."""

    def __init__(self, page):
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def says(self, text, where="state"):
        """Waits until the panel's sentence is this one (a pattern)."""
        line = self.page.locator(f".personalive-live-{where}")
        self.page.wait_for_function(
            "([line, text]) => new RegExp(text).test(line.textContent)", arg=[line.element_handle(), text]
        )
        return line.inner_text()

    def number(self):
        """The number that the result shows now."""
        shown = self.page.evaluate("document.querySelector('.personalive-live-result canvas').toDataURL()")
        return number_in(picture_of(shown))

    def moves(self):
        """Waits until the result shows another number."""
        before = self.number()
        for _ in range(100):
            if self.number() not in (before, None):
                return True
            self.page.wait_for_timeout(100)
        return False


def picture_of(address):
    """The picture [H, W, 3] of a data address."""
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


@pytest.fixture
def open_panel(browser):
    """Opens the page at an address: a panel whose camera is allowed, unless it is said to be refused."""
    contexts, panels = [], []

    def opened(url, allowed=True, size=(1000, 900)):
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="en"))
        if allowed:
            contexts[-1].grant_permissions(["camera", "microphone"])
        panels.append(Panel(contexts[-1].new_page()))
        panels[-1].page.set_default_timeout(20_000)
        panels[-1].page.goto(url)
        return panels[-1]

    yield opened
    for context in contexts:
        context.close()
    assert not [error for panel in panels for error in panel.errors]


@pytest.fixture
def panel(open_panel, live):
    """A panel that is live."""
    opened = open_panel(live.url)
    opened.says("Ready")
    opened.press("Start")
    opened.says("Live")
    assert opened.moves()
    return opened


def test_the_panels_delay_is_that_of_the_barcodes(panel):
    panel.page.evaluate(MEASURE)
    windows = []
    while len(windows) < 3:  # a busy machine lets the barcodes' reader miss frames, and the two then tell of others
        panel.page.wait_for_timeout(11_000)
        windows.append(told := panel.page.evaluate(DELAYS))
        assert told["misread"] == 0
        assert told["count"] > 50
        if np.abs(np.subtract(told["measured"], told["own"])).max() <= 10:
            return
    pytest.fail(f"apart by more than 10 ms: {windows}")


def test_the_token_leaves_the_address_and_the_page_can_be_loaded_again(open_panel, live):
    panel = open_panel(live.url)
    panel.says("Ready")
    assert "secret" not in panel.page.url
    assert "#" not in panel.page.url
    panel.page.reload()
    panel.says("Ready")


def test_a_wrong_token_is_told(open_panel, live):
    open_panel(re.sub("=.*", "=wrong", live.url)).says("refused this page")


def test_pause_closes_the_camera_and_start_goes_on(panel):
    panel.press("Pause")
    panel.says("Ready")
    assert panel.page.evaluate("document.querySelector('video').srcObject") is None
    panel.press("Start")
    panel.says("Live")
    assert panel.moves()


def test_settings_take_effect(panel, live):
    page = panel.page
    page.get_by_label("Rotation").fill("0.3")
    page.get_by_label("Mode").select_option("quick")
    page.get_by_label("Smoothing").select_option("2.5")
    page.get_by_label("Mark as generated").check()
    page.wait_for_timeout(1200)
    now = live.session.settings
    assert (now.strengths.rotation, now.mode, now.smoothing, now.mark) == (0.3, "quick", 2.5, True)
    assert (now.strengths.translation, now.strengths.expression) == (0.5, 1)


def test_another_reference_while_it_runs(panel, live):
    before = live.session.performer
    piece = io.BytesIO()
    Image.fromarray(barcode(77)).save(piece, "PNG")
    chosen = panel.page.locator("input[type=file]")
    chosen.set_input_files({"name": "no.png", "mimeType": "image/gif", "buffer": b"no picture"})
    panel.says("no.png cannot be read as a picture", "note")
    chosen.set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": piece.getvalue()})
    panel.page.wait_for_function("document.querySelector('.personalive-live-drop img').naturalWidth === 640")
    assert live.session.performer is not before
    assert panel.moves()


def test_snapshot_and_recording_hold_what_was_seen(panel, live):
    panel.press("Snapshot")
    panel.says("Saved as", "note")
    panel.page.get_by_label("with microphone").check()
    panel.press("Record")
    panel.page.wait_for_timeout(3000)
    panel.press("Stop recording")
    panel.says(r"Saved as .*\.mp4", "note")
    picture, film = sorted(live.output.rglob("*.png")), sorted(live.output.rglob("*.mp4"))
    assert number_in(np.asarray(Image.open(picture[0]).convert("RGB"))) is not None
    with av.open(str(film[0])) as opened:
        numbers = [number_in(frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
        assert None not in numbers
        assert len(numbers) > 10
        assert all((after - before) % FRAMES < FRAMES // 2 for before, after in itertools.pairwise(numbers))
    with av.open(str(film[0])) as opened:
        loudest = max(np.abs(frame.to_ndarray()).max() for frame in opened.decode(audio=0))
        assert loudest > 0.01, "the fake microphone beeps"


def test_a_hidden_page_pauses_and_goes_on_when_it_is_seen(panel):
    panel.page.evaluate(HIDE, True)
    panel.says("hidden")
    panel.page.evaluate(HIDE, False)
    panel.says("Live")
    assert panel.moves()


def test_a_window_of_its_own_shows_the_result_while_the_page_is_hidden(panel):
    with panel.page.expect_popup() as opening:
        panel.press("Own window")
    window = opening.value
    panel.page.evaluate(HIDE, True)
    panel.page.wait_for_timeout(1500)  # what was on its way is shown
    assert panel.moves()
    assert window.evaluate("document.querySelector('canvas').width > 0")
    window.close()
    panel.says("hidden")
    panel.page.evaluate(HIDE, False)
    assert panel.moves()


def test_the_address_for_obs_gives_the_result(panel):
    panel.page.context.grant_permissions(["camera", "microphone", "clipboard-read", "clipboard-write"])
    panel.press("OBS address")
    panel.says("The address is copied", "note")
    address = panel.page.evaluate("navigator.clipboard.readText()")
    with urllib.request.urlopen(address, timeout=20) as stream:
        lines = [stream.readline() for _ in range(4)]
        assert lines[1] == b"Content-Type: image/jpeg\r\n"
        picture = stream.read(int(lines[2].split()[1]))
    assert Image.open(io.BytesIO(picture)).size == (HEIGHT, HEIGHT)


def test_a_model_that_is_too_slow_offers_to_record_the_camera(panel, live):
    offer = panel.page.get_by_role("button", name="Record the camera now")
    assert not offer.is_visible()
    live.hub._say("too_slow", "Too slow.", {"seconds": 9, "delay": 40, "offers": ["small", "record"]})
    panel.says("the portrait follows 40 s later: use the small model, or record")
    offer.click()
    panel.page.get_by_role("button", name="Stop recording").wait_for()
    assert not offer.is_visible()
    panel.page.wait_for_timeout(1000)
    panel.press("Stop recording")
    panel.says(r"Saved as .*\.mp4", "note")
    film = max(live.output.rglob("*.mp4"))
    with av.open(str(film)) as opened:
        assert (opened.streams.video[0].width, opened.streams.video[0].height) == (WIDTH, HEIGHT), "the camera's"


def test_a_second_page_is_told(panel, open_panel, live):
    open_panel(live.url).says("Another page uses this session")
    assert panel.moves()


def test_a_panel_that_is_closed_leaves_no_picture_in_memory(open_panel, live):
    panel = open_panel(re.sub("=.*", "=wrong", live.url))
    panel.says("refused this page")
    assert panel.page.evaluate(CLOSED) == []


def test_a_camera_that_is_refused_is_told(open_panel, live):
    panel = open_panel(live.url, allowed=False)
    panel.says("Ready")
    panel.press("Start")
    panel.says("The camera is not allowed")


def test_a_camera_that_is_unplugged_is_told_and_goes_on_when_it_is_back(panel):
    panel.page.evaluate(UNPLUG)
    panel.says("unplugged")
    panel.page.evaluate(REPLUG)
    panel.says("Live")
    assert panel.moves()


def test_the_end_is_told(panel, live):
    panel.press("End")
    panel.says("The session has ended")
    assert panel.page.evaluate("document.querySelector('video').srcObject") is None
    assert not live.session.alive


def test_a_server_that_is_gone_is_told(panel, live):
    live.kill()
    panel.says("The connection is lost")
    panel.says("The server does not answer")


def test_a_failure_is_told_and_start_goes_on(open_panel, serve):
    panel = open_panel(serve(before=raising(InputError("the film's own sentence: do this"), 5)).url)
    panel.says("Ready")
    panel.press("Start")
    panel.says("the film's own sentence: do this")
    panel.press("Start")
    panel.says("Live")
    assert panel.moves()


def test_a_film_of_the_servers_is_shown_with_its_delay(open_panel, serve):
    server = serve(source="film")
    stop = threading.Event()

    def play():
        for number in itertools.count():
            if stop.wait(0.04):
                return
            server.hub.offer(Captured(barcode(number), number, time.monotonic()))

    film = threading.Thread(target=play)
    film.start()
    try:
        panel = open_panel(server.url, allowed=False)
        panel.says("Live")
        assert panel.moves()
        panel.page.wait_for_function("/\\d/.test(document.querySelector('[data-figure=delay]').textContent)")
        delays = panel.page.locator("[data-figure=delay]").inner_text()
        assert all(100 <= int(delay) < 5000 for delay in re.findall(r"\d+", delays)), "a window's capture and a step"
        assert panel.page.evaluate("document.querySelector('.personalive-live-driving canvas').width") > 100
        assert not panel.page.get_by_label("Camera", exact=True).is_visible()
        panel.press("Pause")
        panel.says("Paused")
        panel.press("Start")
        panel.says("Live")
    finally:
        stop.set()
        film.join()


@pytest.mark.parametrize("width", [420, 1600])
def test_nothing_is_cut_off_at_the_sides(open_panel, live, width):
    panel = open_panel(live.url, size=(width, 900))
    panel.says("Ready")
    assert panel.page.evaluate("document.documentElement.scrollWidth") <= width
    assert panel.page.evaluate(CUT_OFF) == []
