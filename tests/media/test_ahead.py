"""Threads beside the consumer: order, errors, ends; no thread is left over."""

import threading
import time
from contextvars import ContextVar

import pytest

from personalive_core.media.ahead import Behind, ahead, in_turn

WAIT = 10  # seconds: more than any of these takes


def ours():
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith(("personalive-ahead", "personalive-behind"))
    ]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert ours() == []


def until(met):
    end = time.monotonic() + WAIT
    while not met():
        assert time.monotonic() < end
        time.sleep(0.001)


class Stop(BaseException):
    """As ComfyUI's Cancel or Ctrl-C: no Exception."""


# --- ahead


@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_same_items_in_order(most):
    assert list(ahead(iter(range(20)), most)) == list(range(20))
    assert list(ahead([], most)) == []


def test_at_most_so_many_are_taken_ahead():
    taken = []

    def source():
        for item in range(20):
            taken.append(item)
            yield item

    items = ahead(source(), 3)
    assert taken == []  # nothing happens before the first is asked for
    assert next(items) == 0
    until(lambda: len(taken) == 4)
    time.sleep(0.02)
    assert taken == [0, 1, 2, 3]
    items.close()


@pytest.mark.parametrize("kind", [ValueError, Stop, KeyboardInterrupt])
def test_an_error_comes_after_the_items_before_it(kind):
    def source():
        yield from range(5)
        raise kind("here")

    seen = []
    with pytest.raises(kind, match="here"):
        seen.extend(ahead(source(), 3))
    items = ahead(source(), 3)
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(kind, match="here"):
        next(items)
    assert list(items) == []


@pytest.mark.parametrize("end", ["close", "collect", "throw"])
def test_the_thread_and_the_source_end_early(end):
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = ahead(source(), 2)
    next(items)
    assert len(ours()) == 1
    if end == "throw":
        with pytest.raises(Stop):
            items.throw(Stop())
    elif end == "close":
        items.close()
    del items
    assert ours() == []
    assert closed.is_set()


def test_the_thread_knows_who_is_running():
    """ComfyUI keeps the node that is executed in a context variable, which a progress bar reads."""
    node = ContextVar("node", default="nobody")
    node.set("sampler")
    assert list(ahead((node.get() for _ in range(3)), 2)) == ["sampler"] * 3


# --- behind


def test_calls_are_made_in_order_and_all_at_the_end():
    made = []
    with Behind(made.append, 2) as call:
        for item in range(30):
            call(item)
    assert made == list(range(30))


def test_the_caller_goes_on_while_at_most_so_many_wait():
    gate, made = threading.Event(), []

    def slow(item):
        assert gate.wait(WAIT)
        made.append(item)

    with Behind(slow, 3) as call:
        for item in range(3):
            call(item)
        assert made == []
        threading.Timer(0.02, gate.set).start()
        call(3)  # waits for the oldest
        assert made
    assert made == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [OSError, Stop])
def test_the_error_of_a_call_is_raised_and_no_later_call_is_made(kind):
    made = []

    def failing(item):
        made.append(item)
        if item == 4:
            raise kind("full")

    with pytest.raises(kind, match="full"):
        ask(failing, range(6), 8)
    assert made == list(range(5))
    made.clear()
    asked = []
    with pytest.raises(kind, match="full"):
        ask(failing, slowly(range(10_000), asked), 2)
    assert made == list(range(5))
    assert len(asked) < 10_000  # it was raised in the block


def slowly(items, asked):
    for item in items:
        asked.append(item)
        if item > 4:
            time.sleep(0.001)
        yield item


def ask(call, items, most):
    with Behind(call, most) as behind:
        for item in items:
            behind(item)


def failing_after(items, error):
    yield from items
    raise error


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_was_asked_for_before_the_blocks_error_is_made(kind):
    made = []

    def slow(item):
        time.sleep(0.005)
        made.append(item)

    with pytest.raises(kind, match="mine"):
        ask(slow, failing_after(range(5), kind("mine")), 8)
    assert made == list(range(5))


def test_the_blocks_own_error_is_the_one_that_is_told():
    def failing(_):
        raise OSError("full")

    with pytest.raises(ValueError, match="mine"):
        ask(failing, failing_after([1], ValueError("mine")), 8)


# --- in turn


def begun(log, count, fail=None):
    for item in range(count):
        log.append(f"begin {item}")

        def read(item=item):
            log.append(f"read {item}")
            return item

        yield read
    if fail is not None:
        raise fail


def test_each_result_is_asked_for_when_the_next_was_begun():
    log = []
    assert list(in_turn(begun(log, 3), 1)) == [0, 1, 2]
    assert log == ["begin 0", "begin 1", "read 0", "begin 2", "read 1", "read 2"]
    log.clear()
    assert list(in_turn(begun(log, 2), 0)) == [0, 1]
    assert log == ["begin 0", "read 0", "begin 1", "read 1"]
    assert list(in_turn(begun(log, 2), 5)) == [0, 1]
    assert list(in_turn([], 1)) == []


@pytest.mark.parametrize("behind", [0, 1, 2])
@pytest.mark.parametrize("kind", [ValueError, Stop])
def test_results_before_an_error_are_not_lost(behind, kind):
    found = []
    with pytest.raises(kind, match="cancelled"):
        found.extend(in_turn(begun([], 4, kind("cancelled")), behind))
    assert found == [0, 1, 2, 3]


def test_the_error_of_a_result_ends_it():
    def results():
        yield lambda: 1
        yield lambda: 1 // 0
        yield lambda: pytest.fail("read after the error")

    items = in_turn(results(), 1)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert list(items) == []
