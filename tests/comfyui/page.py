"""ComfyUI's page in a headless Chromium that reaches nothing but the loopback."""

import contextlib
import os
from urllib.parse import urlsplit

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
CAMERA_FILE = "--use-file-for-fake-video-capture"
READY = """() => window.app?.graph && window.LiteGraph && window.app.extensionManager
    && Object.keys(LiteGraph.registered_node_types).includes('StreamingSampler')
    && Object.keys(LiteGraph.registered_node_types).length > 100"""


class Seen:
    """What went wrong on a page, and what it asked of whom."""

    def __init__(self, page, url):
        self.errors, self.foreign, self.failed = [], [], []
        host = urlsplit(url).netloc
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: self._request(r.url, host))
        page.on("response", lambda r: self.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)

    def _request(self, url, host):
        parts = urlsplit(url)
        if parts.scheme.startswith("http") and parts.netloc != host:
            self.foreign.append(url)

    def ours(self):
        """Of the errors, those that name the pack."""
        return [error for error in self.errors if "personalive" in error.lower()]


@contextlib.contextmanager
def open_page(url, settings=None, locale="en", camera=None):
    """(page, Seen) of a first visit, ready to load a workflow; `settings` are ComfyUI's, by id.

    `camera` is an .mjpeg file, which a fake camera shows again and again.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["PERSONALIVE_BROWSER"],
            args=[*ARGUMENTS, *([*CAMERA, f"{CAMERA_FILE}={camera}"] if camera else [])],
        )
        try:
            page = browser.new_context(viewport={"width": 1600, "height": 1000}, locale=locale).new_page()
            page.set_default_timeout(60_000)
            seen = Seen(page, url)
            page.goto(url, wait_until="domcontentloaded")
            page.wait_for_function(READY)
            page.wait_for_timeout(1500)
            page.keyboard.press("Escape")  # the templates of a first visit
            for key, value in (settings or {}).items():
                page.evaluate("([k, v]) => window.app.extensionManager.setting.set(k, v)", [key, value])
            page.wait_for_timeout(500)
            yield page, seen
        finally:
            browser.close()


def load_api(page, workflow):
    """Puts an API-format workflow on the canvas."""
    page.evaluate("w => window.app.loadApiJson(w, 'workflow')", workflow)
    page.wait_for_timeout(700)


def load_ui(page, workflow):
    """Puts a saved workflow on the canvas."""
    page.evaluate("async w => { await window.app.loadGraphData(w, true, true, null) }", workflow)
    page.wait_for_timeout(700)
    page.keyboard.press("Escape")


def to_api(page):
    """What the page would post for what is on the canvas."""
    return page.evaluate("async () => JSON.parse(JSON.stringify((await window.app.graphToPrompt()).output))")


def to_ui(page):
    """What the page would save."""
    return page.evaluate("() => JSON.parse(JSON.stringify(window.app.graph.serialize()))")
