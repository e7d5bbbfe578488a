"""`personalive serve` without a cluster: seats, three browsers for two replicas, a lost one, a limit."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from personalive_core.live import front as fronts
from personalive_core.live import relay
from personalive_core.live.app import make_app
from personalive_core.live.desk import STARTING, UNKNOWN_WAIT, Desk, DeskRules
from personalive_core.live.front import Front
from personalive_core.live.protocol import VERSION
from personalive_core.live.server import MJPEG_PATH, SOCKET_PATH, LiveHub, Rules
from personalive_core.live.session import LiveSession
from tests.live.serving import PATIENCE, Page, echo

TIMES = 200  # looks, 0.05 s apart: far more than anything takes


def run(scene):
    asyncio.run(asyncio.wait_for(scene, 3 * PATIENCE))


# --- the desk


def desk_with(*names, **rules):
    desk = Desk(DeskRules(**rules))
    for name in names:
        desk.came(name, 0.0)
    return desk


def test_each_session_has_a_seat_of_its_own_until_it_ends():
    desk = desk_with("one", "two")
    assert (desk.take("a", 1), desk.take("b", 2), desk.take("c", 3)) == ("one", "two", None)
    desk.left("one", 5)
    assert desk.take("c", 6) == "one"


def test_how_long_to_wait_is_when_the_oldest_session_must_end():
    desk = desk_with("one", "two", minutes=10)
    desk.take("a", 100.0)
    desk.take("b", 200.0)
    assert desk.wait(400.0) == 300.0
    assert desk.wait(10_000.0) == 1.0
    desk.ask("three", 400.0)
    assert desk.wait(400.0) == STARTING
    assert desk.wait(690.0) == 10.0  # before it may come
    assert desk.wait(400.0 + STARTING) == 300.0 - STARTING  # it has not come: there is no machine for it
    assert desk_with(minutes=0).wait(5.0) == desk_with(minutes=10).wait(5.0) == UNKNOWN_WAIT


def test_seats_grow_with_the_visitors_and_shrink_when_they_are_idle():
    desk = desk_with("one", least=1, most=3, idle=50)
    assert desk.wanted() == 0
    desk.take("a", 0)
    assert desk.wanted() == 1
    desk.ask("two", 0)
    assert desk.wanted() == 0
    desk.came("two", 10)
    desk.take("b", 11)
    desk.came("three", 12)
    assert desk.wanted() == 0  # as many as there may be
    desk.left("one", 20)
    desk.left("two", 20)
    assert desk.surplus(60) == []
    assert len(desk.surplus(100)) == 2
    desk.take("c", 101)
    assert len(desk.surplus(1000)) == 1  # one stays free
    assert desk_with("one", "two", least=2, most=3).surplus(10_000) == []


# --- the front, before live servers of this process


class Machines:
    """Replicas in this process."""

    def __init__(self):
        self.count, self.runners, self.hubs, self.ends = 0, {}, {}, {}
        self.stopped, self.stuck, self.endless = [], set(), False  # names; those that answer nothing any more

    async def start(self):
        self.count += 1
        return f"m{self.count}"

    async def ready(self, name):
        pass

    async def begin(self, name, token):
        await self.answer(name)
        session = LiveSession(echo())
        session.start()
        hub = LiveHub(session, token, loopback=False, rules=Rules(grace=0.2))
        runner = web.AppRunner(make_app(hub), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.runners[name], self.hubs[name] = runner, hub
        self.ends[name] = asyncio.get_running_loop().create_future()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def ended(self, name):
        closed = asyncio.ensure_future(self.hubs[name].closed.wait())
        await asyncio.wait({closed, self.ends[name]}, return_when=asyncio.FIRST_COMPLETED)
        if self.ends[name].done():
            raise ConnectionError("the machine is gone")

    async def end(self, name):
        await self.answer(name)
        if not self.endless:
            self.hubs[name].finish("time", "its time is over")

    async def stop(self, name):
        self.stopped.append(name)

    async def answer(self, name):
        if name in self.stuck:
            await asyncio.Event().wait()

    async def kill(self, name):
        """The machine dies: its server answers no more."""
        for transport in list(self.runners[name].server.connections):
            transport.close()
        await self.runners[name].cleanup()
        self.ends[name].set_result(None)


class Browser:
    """What a browser does at the front."""

    def __init__(self, http, url):
        self.http, self.url = http, url

    async def visit(self):
        """Opens the door: (status, token)."""
        async with self.http.get(self.url + "/", allow_redirects=False) as answer:
            self.headers, self.text = answer.headers, await answer.text()
            return answer.status, answer.headers.get("Location", "").partition("#token=")[2]

    async def connect(self, token):
        page = Page(await self.http.ws_connect(self.url + SOCKET_PATH, max_msg_size=0))
        await page.send("hello", {"version": VERSION, "token": token})
        page.welcome = await page.next("welcome", "bye")
        return page


@asynccontextmanager
async def fronted(timeout=None, **rules):
    """`timeout`: seconds that a request may take in all, where the front sets no other."""
    machines = Machines()
    front = Front(Desk(DeskRules(**rules)), machines, loopback=True)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(timeout or 60)) as http:
        runner = web.AppRunner(front.app(http), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tending = asyncio.ensure_future(front.tend())
        try:
            await until(lambda: len(front.desk.seats) == rules.get("least", 1))
            yield front, machines, Browser(http, f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            tending.cancel()
            for hub in machines.hubs.values():
                hub.close()
            await front.close()
            for hub in machines.hubs.values():
                await asyncio.wait_for(hub.closed.wait(), PATIENCE)
            for each in [*machines.runners.values(), runner]:
                await each.cleanup()


async def until(holds):
    for _ in range(TIMES):
        if holds():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not come")


def test_three_browsers_and_two_replicas():
    async def scene():
        async with fronted(least=2, most=2, minutes=10) as (front, _, browser):
            (_, first), (_, second) = await browser.visit(), await browser.visit()
            one, two = await browser.connect(first), await browser.connect(second)
            assert one.welcome.kind == two.welcome.kind == "welcome"
            status, token = await browser.visit()
            assert (status, token) == (503, "")
            assert 500 < int(browser.headers["Retry-After"]) <= 600
            assert "free in about 10 min" in browser.text
            window = [await one.window([10, 20, 30, 40], 0.0), await one.next("frame")]
            assert window[1].payload  # the protocol goes through in both directions
            async with browser.http.get(browser.url + MJPEG_PATH, params={"token": second}) as film:
                assert film.content_type == "multipart/x-mixed-replace"
            await one.send("stop")
            await one.next("bye")
            await until(lambda: any(seat.token is None for seat in front.desk.seats.values()))
            assert (await browser.visit())[0] == 303

    run(scene())


def test_the_page_and_its_scripts_are_those_of_live():
    async def scene():
        async with fronted(least=1) as (_, _, browser):
            async with browser.http.get(browser.url + "/live") as page:
                assert "/js/live/page.js" in await page.text()
                assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            async with browser.http.get(browser.url + "/js/live/page.js") as script:
                assert script.status == 200

    run(scene())


def test_a_lost_replica_is_said_and_another_session_can_begin():
    async def scene():
        async with fronted(least=2, most=3) as (front, machines, browser):
            _, token = await browser.visit()
            page = await browser.connect(token)
            (name,) = [name for name, seat in front.desk.seats.items() if seat.token]
            await machines.kill(name)
            bye = await page.next("bye")
            assert bye.fields["why"] == "lost"
            assert "session was lost" in bye.fields["text"]
            await until(lambda: name not in front.desk.seats)
            again = await browser.connect(token)
            assert again.welcome.fields["why"] == "past"
            status, other = await browser.visit()
            assert status == 303
            assert (await browser.connect(other)).welcome.kind == "welcome"

    run(scene())


def test_a_session_ends_when_its_time_is_over():
    async def scene():
        async with fronted(least=1, minutes=0.005) as (front, _, browser):
            page = await browser.connect((await browser.visit())[1])
            bye = await page.next("bye")
            assert (bye.fields["why"], bye.fields["text"]) == ("time", "its time is over")
            await until(lambda: all(seat.token is None for seat in front.desk.seats.values()))

    run(scene())


def test_other_origins_and_wrong_tokens_are_refused():
    async def scene():
        async with fronted(least=1) as (_, _, browser):
            async with browser.http.get(browser.url + "/", headers={"Origin": "http://evil"}) as answer:
                assert answer.status == 403
            assert (await browser.connect("wrong")).welcome.kind == "bye"
            async with browser.http.get(browser.url + MJPEG_PATH, params={"token": "wrong"}) as answer:
                assert answer.status == 403

    run(scene())


def test_a_visitor_who_waits_has_a_page_that_says_how_long():
    async def scene():
        async with fronted(least=1, minutes=10) as (_, _, browser):
            await browser.visit()
            async with browser.http.get(browser.url + "/", headers={"Accept": "text/html"}) as answer:
                page = await answer.text()
                assert (answer.status, answer.content_type, answer.headers["Refresh"]) == (503, "text/html", "30")
                assert 500 < int(answer.headers["Retry-After"]) <= 600
            assert 'data-seconds="600"' in page or 'data-seconds="599"' in page
            assert "The next is free in about 10 min" in page
            async with browser.http.get(browser.url + "/js/live/waiting.js") as script:
                assert script.status == 200

    run(scene())


# --- machines that are there and answer nothing: nobody waits for ever


def test_a_machine_that_begins_no_session_is_given_up_and_the_visitor_gets_another(monkeypatch):
    monkeypatch.setattr(fronts, "BEGIN", 0.1)

    async def scene():
        async with fronted(least=2, most=2) as (front, machines, browser):
            machines.stuck = {next(iter(front.desk.seats))}
            assert (await browser.visit())[0] == 303
            assert set(machines.stopped) == machines.stuck

    run(scene())


@pytest.mark.parametrize("answers", [True, False])
def test_a_machine_that_does_not_end_its_session_is_given_up(monkeypatch, answers):
    """Its step hangs, or all of it does."""
    monkeypatch.setattr(fronts, "ENDING", 0.1)

    async def scene():
        async with fronted(least=1, minutes=0.005) as (front, machines, browser):
            name = next(iter(front.desk.seats))
            await browser.visit()
            machines.endless, machines.stuck = answers, set() if answers else {name}
            await until(lambda: name in machines.stopped)
            assert name not in front.desk.seats

    run(scene())


@asynccontextmanager
async def mute(front, token):
    """The session's server takes connections, and answers none."""
    server = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(60), "127.0.0.1", 0)
    front._addresses[token] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield
    server.close()


def test_a_machine_that_answers_nothing_is_lost_for_its_page_and_its_readers(monkeypatch):
    monkeypatch.setattr(relay, "REPLY", 0.1)
    monkeypatch.setattr(relay, "SILENT", 0.1)

    async def scene():
        async with fronted(least=1) as (front, _, browser), mute(front, "token"):
            assert (await browser.connect("token")).welcome.fields["why"] == "lost"
            assert not await relay.is_there(browser.http, front._addresses["token"])
            async with browser.http.get(browser.url + MJPEG_PATH, params={"token": "token"}) as answer:
                assert answer.status == 502

    run(scene())


def test_motion_jpeg_goes_on_for_longer_than_any_other_answer_may_take():
    async def scene():
        async with fronted(timeout=0.5, least=1) as (_, _, browser):
            _, token = await browser.visit()
            endless = aiohttp.ClientTimeout(total=20)
            async with browser.http.get(browser.url + MJPEG_PATH, params={"token": token}, timeout=endless) as film:
                for _ in range(3):  # the last picture, again every second
                    assert (await film.content.readuntil(b"Content-Type")).endswith(b"Content-Type")

    run(scene())


def test_the_end_of_the_front_is_told_to_pages_and_waits_for_none():
    async def scene():
        async with fronted(least=1) as (front, _, browser):
            page = await browser.connect((await browser.visit())[1])
            closing = asyncio.ensure_future(front.close())
            assert (await page.next("bye")).fields["why"] == "stopped"
            await asyncio.wait_for(closing, relay.REPLY)
            await until(lambda: not front._pages)

    run(scene())
