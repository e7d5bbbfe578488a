"""Where driving frames wait: the newest wins, what stays is spread evenly, what is old goes."""

import pytest

from personalive_core.live.inbox import BROKEN_OFF, Inbox
from personalive_core.live.types import Captured

from .doubles import BLANK, captured


def numbers(taken):
    return [one.frame.number for one in taken]


def offered(inbox, *frames, **more):
    for number in frames:
        inbox.offer(captured(number), **more)
    return inbox


def test_a_window_is_taken_whole_or_not_at_all():
    inbox = offered(Inbox(4), 0, 1, 2)
    assert inbox.take(4) == ()
    assert len(inbox) == 3
    assert numbers(offered(inbox, 3).take(4)) == [0, 1, 2, 3]
    assert inbox.take(1) == ()
    assert inbox.replaced == 0


def test_arrival_travels_along():
    inbox = Inbox(2)
    inbox.offer(captured(0), arrived=7.5)
    assert [one.arrived for one in inbox.take(1)] == [7.5]


@pytest.mark.parametrize("count", range(5, 80, 3))
def test_thinning_is_even_and_keeps_the_newest(count):
    """Where each frame was to be kept or not before it was known how many come."""
    inbox = offered(Inbox(4), 0)
    inbox.take(1)
    kept = numbers(offered(inbox, *range(1, count + 1)).take(4))
    assert kept[-1] == count
    assert inbox.replaced == count - 4
    gaps = [later - earlier for earlier, later in zip([0, *kept], kept, strict=False)]
    assert max(gaps[:-1]) <= 3 * min(gaps[:-1])
    assert max(gaps) <= 0.5 * count + 1


def test_before_anything_was_taken_the_newest_wait():
    assert numbers(offered(Inbox(4), *range(30)).take(4)) == [26, 27, 28, 29]


def test_old_frames_go_first():
    inbox = offered(Inbox(4), 0)
    inbox.take(1)
    kept = numbers(offered(inbox, *range(1, 200), reach=0.4).take(4))
    assert kept[-1] == 199
    assert kept[0] >= 199 - 0.4 * 25 - 3


def test_frames_of_before_a_break_are_dropped():
    inbox = offered(Inbox(4), 0, 1, 2)
    inbox.offer(Captured(BLANK, 3, 2 / 25 + BROKEN_OFF + 0.1))
    assert numbers(inbox.take(1)) == [3]
    assert inbox.replaced == 3


@pytest.mark.parametrize("anew", [Captured(BLANK, 0, 9.0), Captured(BLANK, 9, 0.0)], ids=["numbers", "times"])
def test_a_source_that_begins_anew(anew):
    inbox = offered(Inbox(4), 3, 4)
    inbox.take(1)
    offered(inbox, 5, 6)
    inbox.offer(anew)
    assert numbers(inbox.take(1, span=60)) == [anew.number]  # nothing is known of what was taken before it


def test_a_step_waits_for_its_span():
    inbox = offered(Inbox(4), 0)
    assert numbers(inbox.take(1, span=0.06)) == [0]
    assert offered(inbox, 1).take(1, span=0.06) == ()
    assert numbers(offered(inbox, 2).take(1, span=0.06)) == [1, 2]


def test_cleared_frames_are_not_replaced():
    inbox = offered(Inbox(4), 0, 1)
    inbox.clear()
    assert (len(inbox), inbox.replaced) == (0, 0)
