"""The live connection between a page and the server, each with its real aiohttp: what is said, and credit both ways."""

import asyncio
import gc
import threading
import weakref
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from personalive_core.errors import WeightsError
from personalive_core.live.protocol import MOST_FRAME, MOST_REFERENCE, MOST_SOUND, VERSION
from personalive_core.live.server import Rules
from tests.live.doubles import captured, raising
from tests.live.serving import PATIENCE, SIZE, decoded, echo, encoded, grey, serving


def run(test):
    asyncio.run(asyncio.wait_for(test, PATIENCE))


def test_hello_is_answered_with_all_that_the_page_must_know(tmp_path):
    async def test():
        async with serving(tmp_path) as server:
            fields = (page := await server.page()).welcome.fields
            assert (fields["version"], fields["size"], fields["window"], fields["source"]) == (VERSION, SIZE, 4, "page")
            assert fields["credits"] == {"up": 2, "down": 2}
            assert fields["limits"] == {"frame": MOST_FRAME, "reference": MOST_REFERENCE, "sound": MOST_SOUND}
            assert (fields["model"], fields["device"]) == ("small", "cpu")
            assert fields["can"] == {"record": True, "virtual_camera": False}
            assert fields["recording"] is None
            strengths = {"rotation": 1.0, "translation": 0.5, "scale": 0.0, "expression": 1.0}
            rest = {"mode": "quality", "smoothing": None, "face": "largest", "mark": False}
            assert fields["settings"] == {**strengths, **rest}
            assert abs(int(decoded(page.welcome.payload).mean()) - 200) <= 2

    run(test())


def test_frames_come_back_with_their_numbers_and_times():
    async def test():
        async with serving() as server:
            page = await server.page()
            numbers = await page.window([20, 80, 140, 200], 7.0)
            made = [await page.next("frame") for _ in range(4)]
            assert [one.fields["number"] for one in made] == numbers
            assert [one.fields["time"] for one in made] == pytest.approx([7.0, 7.04, 7.08, 7.12], abs=1e-6)
            assert [(one.fields["index"], one.fields["count"]) for one in made] == [(0, 4), (1, 4), (2, 4), (3, 4)]
            assert made[0].fields["spacing"] == pytest.approx(0.04)
            assert np.allclose([decoded(one.payload).mean() for one in made], [20, 80, 140, 200], atol=2)
            assert [message.fields["number"] for message in page.heard if message.kind == "got"] == numbers
            assert all(message.fields["rate"] > 0 for message in page.heard if message.kind == "got")

    run(test())


def test_a_page_that_shows_nothing_gets_two_windows_and_then_the_newest():
    async def test():
        async with serving() as server:
            page, made = await server.page(), []
            server.session.subscribe(on_frames=made.append)  # after all others who listen
            for window in range(6):
                await page.window([10 * window + 20] * 4, float(window))
                await until(lambda wanted=window + 1: len(made) == wanted)  # else a busy machine replaces frames
            await page.send("ping", {"time": 1.0})
            await page.next("pong")
            sent = [message.fields["window"] for message in page.heard if message.kind == "frame"]
            assert sent == [0] * 4 + [1] * 4
            assert server.session.figures().dropped == 3 * 4
            await page.send("shown", {"window": 0, "number": 3, "delay": 0.5, "frames": 4, "dropped": 0})
            made = [await page.next("frame") for _ in range(4)]
            assert [one.fields["window"] for one in made] == [5] * 4
            assert abs(int(decoded(made[0].payload).mean()) - 70) <= 2
            figures = server.session.figures()
            assert (figures.shown, figures.delay_p50) == (4, 0.5)

    run(test())


def test_figures_come_by_themselves():
    async def test():
        async with serving() as server:
            page = await server.page()
            first = await page.next("figures")
            assert {"fps", "step_p50", "step_p95", "rate", "replaced", "delay_p50"} <= set(first.fields)
            assert await page.next("figures")

    run(test())


def test_frames_from_before_a_long_pause_end_no_connection():
    """Windows that were in flight come out after the pause, with delays of hours: they are no figures."""

    async def test():
        async with serving() as server:
            page = await server.page()
            for window, delay in enumerate((0.25, 7200.0)):
                fields = {"window": window, "number": window, "delay": delay, "frames": 4, "dropped": 0}
                await page.send("shown", fields)
            while (now := (await page.next("figures", "bye"))).fields.get("shown") != 8:
                assert now.kind == "figures"
            assert now.fields["delay_p95"] == 0.25

    run(test())


def test_settings_change_one_by_one_and_are_told():
    async def test():
        async with serving() as server:
            page = await server.page()
            for fields in ({"rotation": 0.25}, {"mode": "quick"}, {"smoothing": 2}, {"face": "1"}, {"mark": True}):
                await page.send("set", fields)
            while (told := (await page.next("settings")).fields)["mark"] is False:
                pass
            assert (told["rotation"], told["mode"], told["smoothing"], told["face"]) == (0.25, "quick", 2.0, "1")
            assert server.session.settings.strengths.rotation == 0.25

    run(test())


def test_settings_that_are_not_yet_in_effect_are_kept():
    """The session tells each change once it has made it; others have been asked for by then."""

    async def test():
        async with serving() as server:
            asked = []
            server.session.change = asked.append
            server.hub.change({"rotation": 0.1})
            server.hub.change({"translation": 0.2})
            server.hub._changed(asked[0])
            server.hub.change({"expression": 0.3})
            strengths = asked[-1].strengths
            assert (strengths.rotation, strengths.translation, strengths.expression) == (0.1, 0.2, 0.3)
            server.hub._changed(asked[-1])
            server.hub._changed(asked[0])  # of somebody else's making
            server.hub.change({"mark": True})
            assert asked[-1].strengths == asked[0].strengths

    run(test())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rotation": 9}, "rotation of a live message is from 0 to 3, not 9"),
        ({"expression": "much"}, "expression of a live message is a finite number"),
        ({"mode": "slow"}, "mode of a live message is one of quality, quick"),
        ({"smoothing": 0}, "smoothing of a live message is from 0.01 to 1000"),
        ({"face": "middle"}, "the face to follow is"),
        ({"face": 3}, "the face to follow is a text"),
        ({"mark": 1}, "mark of a live message is true or false"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_the_old_one_told(fields, words):
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("set", fields)
            failed = await page.next("failed")
            assert failed.fields["what"] == "set"
            assert words in failed.fields["text"]
            assert (await page.next("settings")).fields["mode"] == "quality"

    run(test())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_another_reference_by_its_bytes(form):
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("reference", {}, encoded(grey(90, 100), form))
            await page.word("reference_changed")
            assert abs(int(server.session.performer.portrait.mean()) - 90) <= 2

    run(test())


def test_a_reference_without_a_face_is_told_and_the_old_one_stays():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("reference", {}, encoded(grey(0), "PNG"))
            said = await page.word("reference_refused")
            assert "no face" in said["text"]
            assert server.session.performer.portrait.mean() == 200

    run(test())


def test_pause_and_resume_for_each_reason():
    async def test():
        async with serving() as server:
            page = await server.page()
            for why in ("hidden", "user"):
                await page.send("pause", {"why": why})
                await page.word(f"paused_{why}")
                await page.send("resume", {"why": why})
                while (await page.next("said")).fields["word"] == f"paused_{why}":
                    pass

    run(test())


def test_a_hidden_page_does_not_pause_the_servers_own_camera():
    """A virtual camera and OBS show the result while the page's tab is behind that of the meeting."""

    async def test():
        async with serving(source="camera") as server:
            page = await server.page()
            for why in ("hidden", "user"):
                await page.send("pause", {"why": why})
            await page.word("paused_user")
            await page.send("resume", {"why": "user"})
            await page.word("waiting")
            for number in range(4):
                server.hub.offer(captured(number, grey(50)))
            assert await page.next("frame")

    run(test())


def test_a_new_page_is_not_paused_by_the_one_before():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("pause", {"why": "hidden"})
            await page.word("paused_hidden")
            await page.socket.close()
            again = await server.page()
            await again.window([50] * 4, 3.0)
            assert (await again.next("frame")).fields["time"] == pytest.approx(3.0, abs=1e-6)

    run(test())


def test_times_go_on_from_page_to_page():
    """A page that is loaded again counts anew; to the session, numbers and times rise."""

    async def test():
        async with serving() as server:
            seen = []
            server.session.subscribe(on_frames=seen.extend)
            for start in (100.0, 3.0):
                page = await server.page()
                await page.window([50] * 4, start)
                assert [(await page.next("frame")).fields["number"] for _ in range(4)] == [0, 1, 2, 3]
                await page.socket.close()
            assert [made.number for made in seen] == list(range(8))
            assert all(one.time < other.time for one, other in pairwise(seen))

    run(test())


def test_results_of_an_earlier_page_have_no_time_on_the_clock_of_one_that_told_none():
    """A page that is loaded again during a step gets its results before it has sent a frame."""
    gate = threading.Event()

    async def test():
        async with serving(performer=echo(before=lambda _: gate.wait(PATIENCE))) as server:
            page = await server.page()
            await page.window([50] * 4, 3.0)
            while not server.session.busy:
                await asyncio.sleep(0.01)
            await page.socket.close()
            page = await server.page()
            gate.set()
            assert [(await page.next("frame")).fields["time"] for _ in range(4)] == [None] * 4
            await page.window([50] * 4, 7.0)
            assert (await page.next("frame")).fields["time"] == pytest.approx(7.0, abs=1e-6)

    run(test())


def test_frames_that_are_not_later_are_answered_and_left_out():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.window([20, 40], 5.0)
            for number, time in ((1, 6.0), (7, 5.01)):
                await page.frame(250, time, number)
                assert (await page.next("got")).fields["number"] == number
            await page.frame(60, 5.08, 8)
            await page.frame(80, 5.12, 9)
            made = [await page.next("frame") for _ in range(4)]
            assert [one.fields["number"] for one in made] == [0, 1, 8, 9]

    run(test())


def test_ping_is_answered_with_its_time_and_the_servers_clock():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("ping", {"time": 1.5})
            first = (await page.next("pong")).fields
            await page.send("ping", {"time": 2.5})
            second = (await page.next("pong")).fields
            assert (first["time"], second["time"]) == (1.5, 2.5)
            assert second["clock"] > first["clock"]

    run(test())


def test_calibrate_reaches_the_performer():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("calibrate")
            await page.send("ping", {"time": 0.0})
            await page.next("pong")
            while server.session._state.calibrated != 1:
                await asyncio.sleep(0.01)

    run(test())


def test_a_step_that_fails_is_told_without_the_folders_of_this_machine(tmp_path):
    error = WeightsError(f"{tmp_path}/unet of me.pth and /srv/models/vae.bin are damaged: load them again")

    async def test():
        async with serving(tmp_path, performer=echo(before=raising(error, 0))) as server:
            page = await server.page()
            await page.window([50] * 4, 1.0)
            said = await page.word("failed")
            assert said["text"] == "unet of me.pth and vae.bin are damaged: load them again"
            assert "/srv" not in str(said)

    run(test())


def test_stop_ends_the_session_and_says_so():
    async def test():
        async with serving() as server:
            page = await server.page()
            await page.send("stop")
            assert (await page.next("bye")).fields["why"] == "stopped"
            assert await page.next() is None  # the connection is closed
            await server.hub.closed.wait()
            assert not server.session.alive

    run(test())


def test_an_end_that_goes_wrong_is_an_end():
    """Whoever waits for it would wait for ever."""

    async def test():
        async with serving() as server:
            close, server.hub.outlet.close = server.hub.outlet.close, lambda: 1 / 0
            with pytest.raises(ZeroDivisionError):
                server.hub._end("stopped", "")
            assert server.hub.closed.is_set()
            server.hub.outlet.close = close

    run(test())


def test_after_the_end_nothing_holds_the_model():
    """The hub may still be there, and with it a page that has not noticed."""

    async def test():
        async with serving() as server:
            gone = weakref.ref(server.session.performer)
            page = await server.page()
            await page.window([50] * 4, 1.0)
            await page.send("stop")
            await page.next("bye")
            await page.next()
            await server.hub.closed.wait()
            gc.collect()
            assert gone() is None

    run(test())


class Deadlines:
    """In place of ending.Deadline: notes what is set, and passes when the test says so."""

    def __init__(self):
        self.times, self.passes = [], None

    def __call__(self, action):
        self.passes = action
        return SimpleNamespace(set=self.times.append)


@pytest.fixture
def deadlines(monkeypatch):
    made = Deadlines()
    monkeypatch.setattr("personalive_core.live.server.Deadline", made)
    return made


async def until(true):
    while not true():
        await asyncio.sleep(0.01)


def test_the_session_ends_some_time_after_its_page_has_left(deadlines):
    async def test():
        async with serving(rules=Rules(first=30.0, grace=5.0)) as server:
            page = await server.page()
            await page.socket.close()
            await until(lambda: deadlines.times == [30.0, None, 5.0])
            again = await server.page()  # in time
            assert deadlines.times[3:] == [None]
            assert server.session.alive
            await again.socket.close()
            await until(lambda: deadlines.times[4:] == [5.0])
            deadlines.passes()
            await server.hub.closed.wait()
            assert not server.session.alive

    run(test())


def test_a_session_that_nobody_connects_to_ends():
    async def test():
        async with serving(rules=Rules(first=0.1)) as server:
            await server.hub.closed.wait()
            assert not server.session.alive

    run(test())


def test_a_session_that_is_kept_waits_anew_for_its_page(deadlines):
    async def test():
        async with serving(rules=Rules(first=30.0, grace=5.0)) as server:
            assert server.hub.keep()
            assert deadlines.times == [30.0, 30.0]
            page = await server.page()
            assert server.hub.keep()
            assert deadlines.times[2:] == [None]  # a page is there: nothing runs out
            await page.send("stop")
            await server.hub.closed.wait()
            assert not server.hub.keep()
            assert deadlines.times[-1] is None

    run(test())
