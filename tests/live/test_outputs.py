"""What stands between session and outputs: spacing, pacing, and the page's clock; pure, with made times."""

import asyncio

import numpy as np
import pytest

from personalive_core.live.clock import Instant, PageClock
from personalive_core.live.outbox import Outbox, Pictured
from personalive_core.live.outlet import Outlet, Still, frame_spacing
from personalive_core.live.pacing import Paced
from personalive_core.live.protocol import Message
from personalive_core.live.session import LiveSession
from personalive_core.live.types import Made, Settings
from personalive_core.media.label import badge, stamp
from tests.live.doubles import captured
from tests.live.serving import echo, grey


def window(number, spacing=0.125, count=4):
    frames = (Made(grey(9), count * number + index, 0.0, number) for index in range(count))
    return tuple(Still(made, index, count, spacing) for index, made in enumerate(frames))


def shown(paced, start, end):
    """(time, frame number) of every frame that is taken between two times; looks 64 times a second."""
    times = np.arange(start, end, 1 / 64)
    return [(float(time), still.made.number) for time in times if (still := paced.take(time)) is not None]


def test_a_windows_frames_are_due_one_after_another():
    paced = Paced()
    paced.put(window(0), 10.0)
    assert paced.due() == 10.0
    assert shown(paced, 10.0, 11.0) == [(10.0, 0), (10.125, 1), (10.25, 2), (10.375, 3)]
    assert paced.due() is None


def test_a_window_that_comes_early_waits_a_frame_at_most_and_hurries():
    paced = Paced()
    paced.put(window(0), 10.0)
    assert [number for _, number in shown(paced, 10.0, 10.1875)] == [0, 1]
    paced.put(window(1), 10.1875)  # the one before would end at 10.5
    late = shown(paced, 10.1875, 11.0)
    assert [number for _, number in late] == [2, 4, 5, 6, 7]
    assert late[1][0] == 10.3125
    assert late[-1][0] == pytest.approx(10.3125 + 3 * 0.95 * 0.125, abs=1 / 64)


def test_windows_that_come_faster_than_they_are_shown_do_not_add_up():
    paced = Paced()
    for number in range(100):
        paced.put(window(number), 10.0 + 0.01 * number)
        assert len(paced._waiting) <= 8
    first = paced.take(11.0)
    assert first is None or first.made.window >= 98
    assert shown(paced, 11.0, 13.0)[-1][1] == 399


def test_the_newest_due_frame_is_taken_and_those_before_are_gone():
    paced = Paced()
    paced.put(window(0), 10.0)
    assert paced.take(10.25).made.number == 2
    assert paced.take(10.25) is None


@pytest.mark.parametrize(
    ("times", "before", "spacing"),
    [
        ((1.0, 1.04, 1.08, 1.12), None, 0.04),
        ((1.0, 1.04, 1.08, 1.12), 0.96, 0.04),
        ((1.0, 1.2, 1.4, 1.6), 0.8, 0.2),
        ((9.0, 9.04, 9.08, 9.12), 1.0, 0.04),  # after a pause
        ((9.0,), 1.0, 1 / 25),
        ((9.0,), 8.9, 0.1),
        ((3.0, 3.04), 700.0, 0.04),  # another clock
    ],
)
def test_spacing_of_a_window(times, before, spacing):
    assert frame_spacing(times, before) == pytest.approx(spacing)


def test_a_jpeg_is_encoded_once(monkeypatch):
    from personalive_core.live import outlet

    calls = []
    monkeypatch.setattr(outlet, "encode_jpeg", lambda picture: calls.append(picture) or b"jpeg")
    still = window(0)[0]
    assert still.jpeg == still.jpeg == b"jpeg"
    assert len(calls) == 1


def test_every_output_gets_the_mark_and_without_it_none():
    """Page, Motion JPEG, virtual camera and recordings all hang on the outlet."""
    for mark in (False, True):
        session = LiveSession(echo(), Settings(mark=mark))
        outlet, windows = Outlet(session), []
        outlet.listen(windows.append)
        for number in range(4):
            session.offer(captured(number, grey(90)))
        assert session.turn()
        expected = stamp(grey(90), badge(64)) if mark else grey(90)
        assert all(np.array_equal(still.made.picture, expected) for still in windows[0])
        assert outlet.latest is windows[0][-1]
        session.stop()


def test_an_outlet_that_is_closed_tells_nobody():
    session = LiveSession(echo())
    outlet, windows = Outlet(session), []
    leave = outlet.listen(windows.append)
    leave()
    leave()  # twice is fine
    outlet.listen(windows.append)
    outlet.close()
    for number in range(4):
        session.offer(captured(number, grey(90)))
    session.turn()
    assert windows == []
    session.stop()


def test_the_pages_clock_goes_there_and_back():
    clock = PageClock(Instant(-1, 0.0))
    first = clock.up(Instant(7, 3.0), 1000.0)
    assert first == Instant(0, 1000.0)
    second = clock.up(Instant(9, 3.5), 1000.9)
    assert second == Instant(2, 1000.5)
    assert clock.down(second) == Instant(9, 3.5)


def test_a_second_page_goes_on_behind_the_first():
    first = PageClock(Instant(-1, 0.0))
    last = first.up(Instant(0, 50.0), 1000.0)
    second = PageClock(last)
    own = second.up(Instant(0, 2.0), 1000.0)  # at the very same time
    assert own.number == 1
    assert own.time > last.time


def test_frames_that_are_not_later_are_none():
    clock = PageClock(Instant(-1, 0.0))
    clock.up(Instant(5, 3.0), 1000.0)
    assert clock.up(Instant(5, 3.1), 1000.1) is None
    assert clock.up(Instant(4, 3.2), 1000.2) is None
    assert clock.up(Instant(6, 3.0), 1000.3) is None
    assert clock.up(Instant(7, 3.1), 1000.4).number == 2


def test_a_clock_that_is_set_anew_is_followed():
    """Such as after the machine has slept."""
    clock = PageClock(Instant(-1, 0.0))
    clock.up(Instant(0, 3.0), 1000.0)
    assert clock.up(Instant(1, 4.0), 4600.0).time == 4600.0
    assert clock.up(Instant(2, 1e9), 4601.0).time == 4601.0
    assert clock.up(Instant(3, 1e9 + 0.5), 4601.4).time == pytest.approx(4601.5)


def test_words_come_first_and_of_pictures_the_newest_with_credit():
    async def test():
        outbox = Outbox(2)
        assert outbox.show(window(0)) == 0
        assert outbox.show(window(1)) == 4
        outbox.drive(Pictured(Message("driving", {"number": 1}), grey(1)))
        outbox.drive(Pictured(Message("driving", {"number": 2}), grey(2)))
        outbox.say(Message("said"))
        assert (await outbox.next()).kind == "said"
        assert (await outbox.next())[0].made.window == 1
        assert (await outbox.next()).message.fields == {"number": 2}
        for number in (2, 3, 4):
            outbox.show(window(number))
            if number < 3:
                assert (await outbox.next())[0].made.window == 2
        waiting = asyncio.ensure_future(outbox.next())
        await asyncio.sleep(0)
        assert not waiting.done()  # two windows are on their way
        outbox.shown(1)
        assert (await waiting)[0].made.window == 4

    asyncio.run(test())


def test_who_causes_words_waits_while_many_wait_and_no_more_than_some_are_kept():
    """Whoever does not read is not read either."""

    async def test():
        outbox = Outbox(2)
        for index in range(1000):
            outbox.say(Message("pong", {"time": index}))
        waiting = asyncio.ensure_future(outbox.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        taken = 0
        while not waiting.done():
            await outbox.next()
            await asyncio.sleep(0)
            taken += 1
        assert 150 < taken <= 256

    asyncio.run(test())
