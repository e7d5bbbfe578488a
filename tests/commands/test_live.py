"""`personalive live` with a model that gives the driving back: what it says, shows and leaves behind."""

import asyncio
import json
import re
import threading

import aiohttp
import numpy as np
import pytest

from personalive_core.commands import live
from personalive_core.errors import InputError
from personalive_core.live.app import MJPEG_PATH
from personalive_core.live.virtual_camera import VirtualCamera
from personalive_core.media.video import probe, read_frames, read_label
from tests.live.serving import PATIENCE, Server, echo
from tests.media.films import encode, numbered


@pytest.fixture
def film(tmp_path):
    return encode(tmp_path / "driving.mp4", [numbered(index, 64, 64) for index in range(25)])


@pytest.fixture
def small_echo(monkeypatch):
    """The command finds an identity model loaded."""
    monkeypatch.setattr(live, "performer_of", lambda *_: echo())


class Visitor(threading.Thread):
    """Opens the page's address once it is told, sees some results, and ends the session."""

    def __init__(self, monkeypatch):
        super().__init__(daemon=True)
        self.told, self.addresses, self.found = threading.Event(), (), {}
        tell = live.announce

        def told(arguments, *addresses):
            tell(arguments, *addresses)
            self.addresses = addresses
            self.told.set()

        monkeypatch.setattr(live, "announce", told)
        self.start()

    def run(self):
        assert self.told.wait(PATIENCE)
        asyncio.run(self.visit())

    async def visit(self):
        base, token = re.fullmatch(r"(http://[^/]+)/#token=(.+)", self.addresses[0]).groups()
        async with aiohttp.ClientSession() as http:
            page = await Server(FakeHub, int(base.rpartition(":")[2]), http).page(token)
            self.found["welcome"] = page.welcome.fields
            for _ in range(12):
                made = await page.next("frame")
                fields = {key: made.fields[key] for key in ("window", "number")}
                await page.send("shown", {**fields, "delay": 0.25, "frames": 1, "dropped": 0})
            self.found["driving"] = [message for message in page.heard if message.kind == "driving"]
            await page.send("stop")
            self.found["bye"] = (await page.next("bye")).fields["why"]


class FakeHub:
    session = None


@pytest.mark.usefixtures("small_echo")
def test_a_film_drives_and_everything_is_told(personalive, monkeypatch, tmp_path, film):
    visitor = Visitor(monkeypatch)
    path = tmp_path / "out.mp4"
    arguments = (
        "--driving",
        film,
        "--port",
        "0",
        "--no-browser",
        "--mjpeg",
        "--record",
        path,
        "--size",
        "64",
        "--json",
    )
    outcome = personalive("live", *arguments, "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    welcome = visitor.found["welcome"]
    assert (welcome["source"], welcome["model"], welcome["device"][:3]) == ("film", "small", "cpu")
    assert visitor.found["driving"]
    assert visitor.found["bye"] == "stopped"
    page, mjpeg = visitor.addresses
    assert page in outcome.err
    assert f"{mjpeg}" in outcome.err
    assert MJPEG_PATH in mjpeg
    values = json.loads(outcome.out)
    assert values["frames"] >= 12
    assert values["fps"] > 1
    assert (values["delay_p50"], values["delay_p95"]) == (0.25, 0.25)
    assert re.search(r"live: \d+ frames, [\d.]+ a second, delay 250 / 250 ms, \d+ driving frames replaced", outcome.err)
    assert len(list(read_frames(path))) >= 12
    assert "generated" in read_label(path)
    assert not probe(path).has_audio


@pytest.mark.usefixtures("small_echo")
def test_ctrl_c_ends_it_with_its_summary(personalive, monkeypatch, tmp_path, film):
    async def interrupted(hub, *_):
        while not hub.outlet.latest:
            await asyncio.sleep(0.01)
        hub.close()
        await hub.closed.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "serve", interrupted)
    path = tmp_path / "out.mp4"
    outcome = personalive("live", "--driving", film, "--no-browser", "--record", path, "--size", "64")
    assert outcome.code == 0
    assert outcome.out.startswith("live: ")
    assert f"{path}: " in outcome.out
    assert probe(path).width == 64


@pytest.mark.usefixtures("small_echo")
def test_the_virtual_camera_gets_the_portrait_and_the_results(personalive, monkeypatch, film):
    sent, closed = [], threading.Event()

    class Driver:
        def send(self, frame):
            sent.append(round(float(np.mean(frame))))

        def close(self):
            closed.set()

    monkeypatch.setattr(live, "open_virtual_camera", lambda size: Driver() if size == 64 else None)
    monkeypatch.setattr(live, "VirtualCamera", VirtualCamera)
    visitor = Visitor(monkeypatch)
    outcome = personalive("live", "--driving", film, "--port", "0", "--no-browser", "--virtual-camera", "--size", "64")
    assert outcome.code == 0, outcome.err
    assert closed.is_set()
    assert sent[0] == 200  # the portrait
    assert min(sent) < 150
    assert visitor.found["welcome"]["can"]["virtual_camera"] is True


@pytest.mark.usefixtures("small_echo")
def test_the_page_is_opened_in_the_browser_unless_told_otherwise(monkeypatch):
    opened = []
    monkeypatch.setattr(live.webbrowser, "open", opened.append)
    for extra in ((), ("--no-browser",)):
        parser = live_parser()
        live.announce(parser.parse_args(list(extra)), "http://127.0.0.1:1/#token=t", "http://127.0.0.1:1/m")
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "open" in str(getattr(thread, "_target", "")):
            thread.join()
    assert opened == ["http://127.0.0.1:1/#token=t"]


def live_parser():
    import argparse

    parser = argparse.ArgumentParser()
    live.add_arguments(parser)
    return parser


def test_a_recording_must_not_overwrite_what_is_read(personalive, film):
    outcome = personalive("live", "--driving", film, "--record", film, "--no-browser")
    assert outcome.code == InputError.exit_code
    assert "would overwrite" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--camera -1", "argument --camera: expected a number 0 or more"),
        ("--camera 0 --driving a.mp4", "not allowed with argument"),
        ("--mode fast", "argument --mode: invalid choice"),
        ("--port 70000", "argument --port: expected a number from 0 to 65535"),
        ("--record out.gif", "must end with .mp4"),
    ],
)
def test_nonsense_is_refused(personalive, arguments, words):
    outcome = personalive("live", *arguments.split())
    assert outcome.code != 0
    assert words in outcome.err
