"""The session with performers that are no networks: newest wins, changes, pauses, failures, stalls, the end."""

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from personalive_core.errors import InputError, NumericalError
from personalive_core.live.session import LiveSession
from personalive_core.live.types import QUALITY, QUICK, DeviceTakenError, Settings

from .doubles import BLANK, Clock, Echo, Heard, captured, raising

FACE = np.full((8, 8, 3), 200, np.uint8)
SECONDS = 20  # to wait for another thread at most; it takes milliseconds


class Gate:
    def __init__(self):
        self.open = True

    def __call__(self):
        return self.open


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(clock):
    """Makes a session that takes its turns when the test says so, and what it was heard to do."""

    def make(performer=None, mode=QUALITY, **more):
        session = LiveSession(performer or Echo(), Settings(mode=mode), clock=clock, **more)
        return session, Heard(session)

    return make


def offer(session, *numbers):
    for number in numbers:
        session.offer(captured(number))


# --- frames


def test_quality_takes_windows_of_captured_frames(made):
    session, heard = made()
    offer(session, 0, 1, 2)
    assert not session.turn()
    offer(session, 3)
    assert session.turn()
    assert not session.turn()
    assert heard.numbers == [[0, 1, 2, 3]]
    assert [frame.window for frame in heard.windows[0]] == [0] * 4


def test_quick_takes_what_there_is(made):
    """But no sooner than its window of results can be shown at 60 a second."""
    session, heard = made(mode=QUICK)
    offer(session, 0)
    assert session.turn()
    offer(session, 1)
    assert not session.turn()
    offer(session, 2)
    assert session.turn()
    assert heard.numbers == [[0], [1, 2]]


def test_a_slow_model_gets_even_frames_and_the_newest(made, clock):
    def slow(_step):  # a step of a second, while a camera gives 25 frames
        for number in range(clock.next, clock.next + 25):
            clock.move(0.04)
            session.offer(captured(number))
        clock.next += 25

    clock.next = 4
    session, heard = made(Echo(before=slow))
    offer(session, 0, 1, 2, 3)
    for _ in range(6):
        session.turn()
    assert [window[-1] for window in heard.numbers] == [3, 28, 53, 78, 103, 128]
    for window in heard.numbers[1:]:
        gaps = np.diff(window)
        assert gaps.max() <= 10  # of 25; the newest may have come just now
        assert gaps[:-1].min() >= 4
    figures = session.figures()
    assert figures.replaced == 6 * 25 - 5 * 4 - figures.waiting
    assert figures.waiting == 4
    assert figures.rate == pytest.approx(4)


def test_delay_is_bounded(made, clock):
    """However long the session: the results of a model of 3 windows in flight are as old at the end as at first."""
    delays = []

    def slow(_step):
        for _ in range(15):
            clock.move(0.04)
            clock.number += 1
            session.offer(captured(clock.number))

    clock.number = 0
    session, _ = made(Echo(before=slow, behind=3))
    session.subscribe(on_frames=lambda window: delays.append(captured(clock.number).time - window[0].time))
    for _ in range(4):
        slow(0)
    for _ in range(100):
        session.turn()
    assert len(delays) == 97
    assert max(delays) <= 5 * 0.6 + 0.1  # the frames of one step, then four steps
    assert np.mean(delays[50:]) == pytest.approx(np.mean(delays[:47]), abs=0.05)
    assert session.figures().server_delay == pytest.approx(4 * 0.6, abs=0.05)


def test_after_a_stall_the_newest_frames_are_next(made, clock):
    """What was captured during the stall is not shown late."""

    def before(step):
        seconds = 5.0 if step == 5 else 0.16
        for _ in range(round(seconds * 25)):
            clock.move(0.04)
            clock.number += 1
            session.offer(captured(clock.number))

    clock.number = 0
    session, heard = made(Echo(before=before))
    before(0)
    for _ in range(8):
        session.turn()
    newest = 4 + 5 * 4 + 125
    assert heard.numbers[5][-1] == 24
    assert heard.numbers[6][-1] == newest
    assert heard.numbers[6][0] >= newest - 0.3 * 25
    assert heard.numbers[7] == [newest + 1, newest + 2, newest + 3, newest + 4]


# --- changes take effect between two steps


def test_settings_take_effect_at_the_boundary(made):
    used = []

    class Noting(Echo):
        def perform(self, state, frames, settings):
            used.append(settings)
            if len(used) == 1:
                session.change(quick)
                assert session.settings.mode == QUALITY
            return super().perform(state, frames, settings)

    quick = Settings(mode=QUICK)
    session, heard = made(Noting())
    offer(session, 0, 1, 2, 3)
    session.turn()
    offer(session, 4, 5)
    assert session.turn()
    assert used == [Settings(), quick]
    assert heard.settings == [quick]
    assert heard.numbers == [[0, 1, 2, 3], [4, 5]]


def test_the_mark_is_on_every_result(made):
    session, heard = made(Echo(size=64), mode=QUALITY)
    session.change(Settings(mark=True))
    for number in range(4):
        session.offer(captured(number, np.full((64, 64, 3), 90, np.uint8)))
    session.turn()
    for frame in heard.windows[0]:
        assert (frame.picture[:32] == 90).all()
        assert (frame.picture[48:, 40:] != 90).any()


def test_a_new_reference_keeps_the_state(made):
    session, heard = made(Echo(behind=1))
    offer(session, *range(4))
    session.turn()
    session.swap(FACE)
    assert (session.performer.portrait == 0).all()
    offer(session, *range(4, 8))
    session.turn()
    assert (session.performer.portrait == 200).all()
    assert heard.numbers == [[0, 1, 2, 3]]
    assert "reference_changed" in heard.words


def test_only_the_last_of_many_references_counts(made):
    session, heard = made()
    for level in range(1, 21):
        session.swap(np.full_like(FACE, level))
    session.turn()
    assert (session.performer.portrait == 20).all()
    assert heard.words.count("reference_changed") == 1


def test_a_reference_without_a_face_is_refused_and_live_goes_on(made):
    session, heard = made()
    session.swap(BLANK)
    offer(session, *range(4))
    assert session.turn()
    assert [text for word, text, _ in heard.said if word == "reference_refused"] == [
        "no face in the reference portrait: use a picture with one clear face, or give its box"
    ]
    assert heard.words[-1] == "running"


def test_calibration_and_restart(made):
    session, _ = made()
    offer(session, *range(4))
    session.turn()
    session.calibrate()
    session.turn()
    assert (session._state.steps, session._state.calibrated) == (1, 1)
    session.restart()
    session.turn()
    assert (session._state.steps, session._state.calibrated) == (0, 0)


def test_another_performer_begins_anew(made, clock):
    def before(_step):
        clock.move(9.0)
        offer(session, 4, 5)

    session, heard = made(Echo(before=before))
    offer(session, *range(4))
    session.turn()
    assert heard.words[-1] == "too_slow"
    session.replace(Echo(window=2))
    session.turn()
    offer(session, 6, 7)
    session.turn()
    assert heard.numbers == [[0, 1, 2, 3], [6, 7]]  # what waited was for the other's window
    assert session.figures().step_p95 == 0
    assert heard.words[-1] == "running"


# --- pauses and the gate


@pytest.mark.parametrize("reason", ["user", "hidden"])
def test_a_pause_takes_no_step(made, reason):
    session, heard = made()
    offer(session, 0, 1, 2)
    session.pause(reason)
    session.turn()
    offer(session, 3, 4, 5, 6)
    assert not session.turn()
    assert heard.words[-1] == f"paused_{reason}"
    session.resume(reason)
    session.turn()
    offer(session, 7, 8, 9)
    assert not session.turn()  # what waited before the pause is old
    offer(session, 10)
    assert session.turn()
    assert heard.numbers == [[7, 8, 9, 10]]
    assert heard.words[-1] == "running"
    assert session.figures().replaced == 0


def test_both_reasons_must_end(made):
    session, heard = made()
    session.pause("user")
    session.pause("hidden")
    session.resume("user")
    session.turn()
    assert heard.words[-1] == "paused_hidden"


def test_unknown_reasons_and_sources(made):
    session, _ = made()
    with pytest.raises(InputError, match="live is paused for one of user, hidden, not 'prompt'"):
        session.pause("prompt")
    with pytest.raises(InputError, match="a source says one of camera_lost, film_over or nothing, not 'broken'"):
        session.source("broken")


def test_a_closed_gate_pauses(made):
    gate = Gate()
    session, heard = made(gate=gate)
    gate.open = False
    session.turn()
    session.swap(FACE)
    session.change(Settings(mode=QUICK))
    offer(session, *range(4))
    assert not session.turn()
    assert heard.words == ["paused_prompt"]
    assert heard.settings == [Settings(mode=QUICK)]
    assert (session.performer.portrait == 0).all()  # encoding it needs the device
    gate.open = True
    session.turn()
    assert (session.performer.portrait == 200).all()
    offer(session, 4)
    assert session.turn()
    assert heard.numbers == [[4]]


def test_a_step_that_lost_the_device_is_taken_again(made):
    gate, seen = Gate(), []

    def before(step):
        seen.append(step)
        if len(seen) == 2:
            gate.open = False
            raise RuntimeError("the weights are gone")

    session, heard = made(Echo(before=before, behind=1), gate=gate)
    offer(session, *range(4))
    session.turn()
    offer(session, *range(4, 8))
    session.turn()
    session.turn()
    assert heard.words[-1] == "paused_prompt"
    gate.open = True
    session.turn()
    offer(session, *range(20, 24))
    assert session.turn()
    assert seen == [0, 1, 1]  # from the state of before
    assert heard.numbers == [[0, 1, 2, 3]]
    assert heard.words[-1] == "running"
    assert "failed" not in heard.words


def test_a_swap_that_lost_the_device_is_made_again(made):
    gate = Gate()

    class Losing(Echo):
        def with_reference(self, picture):
            if gate.open and not gate.lost:
                gate.open, gate.lost = False, True
                raise RuntimeError("the weights are gone")
            return super().with_reference(picture)

    gate.lost = False
    session, heard = made(Losing(), gate=gate)
    session.swap(FACE)
    session.turn()
    gate.open = True
    session.turn()
    assert (session.performer.portrait == 200).all()
    assert "reference_refused" not in heard.words


def test_what_says_that_it_lost_the_device_is_done_again_though_it_is_free_by_now(made):
    class Losing(Echo):
        def with_reference(self, picture):
            if not refused:
                refused.append(picture)
                raise DeviceTakenError("a prompt has the device: wait until it has run")
            return super().with_reference(picture)

    refused = []
    session, heard = made(Losing(before=raising(DeviceTakenError("a prompt has the device: wait"), 0)))
    session.swap(FACE)
    offer(session, *range(4))
    session.turn()
    offer(session, *range(4, 8))
    session.turn()
    assert heard.numbers == [[4, 5, 6, 7]]
    assert (session.performer.portrait == 200).all()
    assert not {"failed", "reference_refused"} & set(heard.words)


def test_another_performer_may_be_of_another_model(made):
    session, _ = made()
    session.replace(Echo(), ("personalive", "cuda"))
    assert (session.model, session.device) == ("personalive", "cuda")
    session.replace(Echo())
    assert (session.model, session.device) == ("personalive", "cuda")


# --- failures


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NumericalError("the networks gave NaN in float16: use bf16 precision"), "use bf16 precision"),
        (ZeroDivisionError("in /home/me"), "live stopped with ZeroDivisionError"),
    ],
)
def test_a_failure_is_said_and_waits(made, error, text):
    session, heard = made(Echo(before=raising(error, 1)))
    offer(session, *range(4))
    session.turn()
    offer(session, *range(4, 8))
    session.turn()
    assert heard.words[-1] == "failed"
    assert text in heard.said[-1][1]
    assert "/home" not in heard.said[-1][1]
    offer(session, *range(8, 12))
    assert not session.turn()
    session.resume("hidden")  # the page that is seen again does not know of it
    assert not session.turn()
    assert heard.words[-1] == "failed"
    session.resume("user")
    session.turn()
    offer(session, *range(12, 16))
    assert session.turn()
    assert heard.words[-1] == "running"
    assert heard.numbers == [[0, 1, 2, 3], [12, 13, 14, 15]]


def test_a_new_reference_ends_a_failure(made):
    session, heard = made(Echo(before=raising(NumericalError("black: use fp32"), 0)))
    offer(session, *range(4))
    session.turn()
    session.swap(FACE)
    session.turn()
    offer(session, *range(4, 8))
    assert session.turn()
    assert heard.words[-1] == "running"


def test_a_listener_that_fails_leaves(made, caplog):
    session, heard = made()
    calls = []

    def failing(window):
        calls.append(window)
        raise ValueError("no")

    session.subscribe(on_frames=failing)
    offer(session, *range(4))
    session.turn()
    offer(session, *range(4, 8))
    session.turn()
    assert len(calls) == 1
    assert len(heard.windows) == 2
    assert "listener" in caplog.text


def test_keyframes_are_told(made):
    class Remembering(Echo):
        def perform(self, state, frames, settings):
            done = super().perform(state, frames, settings)
            return replace(done, frames=(replace(done.frames[0], keyframe=True), *done.frames[1:]), keyframes=2)

    session, heard = made(Remembering())
    offer(session, *range(4))
    session.turn()
    assert heard.keyframes == [0]
    assert session.figures().keyframes == 2


def test_listeners_come_and_go(made):
    session, heard = made()
    heard.remove()
    heard.remove()
    offer(session, *range(4))
    session.turn()
    assert heard.windows == []


# --- words


def test_the_words_of_a_session(made, clock):
    session, heard = made()
    session.turn()
    offer(session, *range(4))
    session.turn()
    clock.move(3)
    session.turn()
    session.source("camera_lost")
    session.turn()
    session.source("")
    offer(session, *range(4, 8))
    session.turn()
    assert heard.words == ["waiting", "starting", "running", "waiting", "camera_lost", "running"]
    assert session.word.word == "running"


def test_faces_are_spoken_of_after_a_second(made):
    shown = {"faces": (0, False)}
    session, heard = made(Echo(faces=lambda _frame: shown["faces"]))

    def play(first, count):
        for number in range(first, first + count, 4):
            offer(session, *range(number, number + 4))
            session.turn()
        return heard.words[-1]

    assert play(0, 24) == "running"
    assert play(24, 8) == "no_face"
    shown["faces"] = (2, True)
    assert play(32, 4) == "running"
    assert play(36, 28) == "several_faces"
    assert heard.said[-1][2] == {"faces": 2}
    shown["faces"] = (1, True)
    assert play(64, 4) == "running"


def test_a_stall_is_said_while_it_lasts(made, clock):
    def before(step):
        if step == 3:
            clock.move(2.5)
            session.look()
            assert session.word.word == "stalled"
        clock.move(0.1)
        offer(session, 4 * step + 4)

    session, heard = made(Echo(before=before))
    offer(session, 0)
    for window in range(5):
        offer(session, *range(4 * window + 1, 4 * window + 4))
        assert session.turn()
    assert heard.words == ["starting", "running", "stalled", "running"]


def test_far_too_slow_is_said_in_figures(made, clock):
    def before(_step):
        clock.move(60.0)
        offer(session, 4)

    session, heard = made(Echo(before=before), model="published", device="cpu, 2 threads")
    offer(session, *range(4))
    session.turn()
    word, text, values = heard.said[-1]
    assert word == "too_slow"
    assert "A step takes 60.0 s with the published model on cpu, 2 threads" in text
    assert values["offers"] == ["small", "record"]


def test_the_page_tells_what_it_displayed(made):
    session, _ = made()
    session.seen(0.4, 4, 1)
    session.seen(None, 2, 0)
    figures = session.figures()
    assert (figures.delay_p50, figures.shown, figures.dropped) == (0.4, 6, 1)


# --- threads and the end


def started(performer, **more):
    session = LiveSession(performer, **more)
    heard, arrived = Heard(session), threading.Event()
    session.subscribe(on_frames=lambda _window: arrived.set())
    session.start()
    return session, heard, arrived


def test_the_worker_thread_works_and_ends():
    session, heard, arrived = started(Echo())
    assert session.alive
    assert len(session._threads) == 2
    offer(session, *range(4))
    assert arrived.wait(SECONDS)
    session.stop()
    assert not session.alive
    assert not [thread for thread in session._threads if thread.is_alive()]
    assert heard.words[-1] == "ended"
    session.stop()
    assert heard.words.count("ended") == 1
    with pytest.raises(InputError, match="the live session has ended"):
        _ = session.performer


def test_offering_never_waits_for_a_step():
    """A step that hangs until the test lets it go."""
    go, began = threading.Event(), threading.Event()

    def before(_step):
        began.set()
        assert go.wait(SECONDS)

    session, heard, arrived = started(Echo(before=before))
    offer(session, *range(4))
    assert began.wait(SECONDS)
    offer(session, *range(4, 400))
    session.change(Settings(mode=QUICK))
    session.swap(FACE)
    session.calibrate()
    session.seen(0.1, 1, 0)
    assert session.figures().waiting == 4
    go.set()
    assert arrived.wait(SECONDS)
    session.stop()
    assert heard.numbers[0] == [0, 1, 2, 3]


def test_a_listener_may_stop_the_session():
    session = LiveSession(Echo())
    ended = threading.Event()
    session.subscribe(
        on_frames=lambda _window: session.stop(), on_said=lambda word, *_: ended.set() if word == "ended" else None
    )
    session.start()
    threads = session._threads
    offer(session, *range(4))
    assert ended.wait(SECONDS)
    for thread in threads:
        thread.join(SECONDS)
    assert not [thread for thread in threads if thread.is_alive()]


@pytest.mark.parametrize("runs", [True, False], ids=["started", "never started"])
def test_stop_lets_go_of_everything(runs):
    performer, arrived = Echo(), threading.Event()
    session = LiveSession(performer)
    listener, frame = Heard(session), captured(0, np.zeros((4, 4, 3), np.uint8))
    session.subscribe(on_frames=lambda _window: arrived.set())
    if runs:
        session.start()
    session.offer(frame)
    offer(session, *range(1, 4))
    if runs:
        assert arrived.wait(SECONDS)
    else:
        session.swap(FACE)
    gone = [weakref.ref(one) for one in (performer, listener, frame)]
    session.stop()
    del performer, listener, frame
    gc.collect()
    assert [one() for one in gone] == [None] * 3


def test_twenty_swaps_keep_one_performer(made):
    session, _ = made()
    kept = []
    for level in range(1, 21):
        session.swap(np.full_like(FACE, level))
        session.turn()
        kept.append(weakref.ref(session.performer))
        offer(session, *range(4 * level, 4 * level + 4))
        assert session.turn()
    gc.collect()
    assert [one() is not None for one in kept] == [False] * 19 + [True]


def test_the_same_step_twice_gives_the_same():
    echo, state = Echo(behind=1), Echo().begin()
    state = echo.perform(state, [captured(0)], Settings()).state
    one, other = (echo.perform(state, [captured(1)], Settings()) for _ in range(2))
    assert [frame.number for frame in one.frames] == [frame.number for frame in other.frames] == [0]
    assert replace(one.state) is not state
