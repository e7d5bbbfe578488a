"""The virtual camera, with a driver that only notes what it is given, and without one."""

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from personalive_core.errors import InputError
from personalive_core.live import virtual_camera
from personalive_core.live.outlet import Outlet
from personalive_core.live.session import LiveSession
from personalive_core.live.types import Made, Settings
from personalive_core.live.virtual_camera import CAMERA_RATE, VirtualCamera, open_virtual_camera
from personalive_core.media.label import badge, stamp
from tests.live.doubles import Clock, captured
from tests.live.serving import PATIENCE, SIZE, echo, grey


class Driver:
    """As pyvirtualcam.Camera."""

    def __init__(self, error=None):
        self.sent, self.closed, self.error = [], threading.Event(), error

    def send(self, frame):
        if self.error:
            raise self.error
        assert frame.flags.c_contiguous
        self.sent.append(frame)

    def close(self):
        assert not self.closed.is_set()
        self.closed.set()


def until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def levels(driver):
    return [round(float(frame.mean())) for frame in driver.sent]


def give(outlet, shades, window=0):
    outlet._made(tuple(Made(grey(shade), index, index / 8, window) for index, shade in enumerate(shades)))


def test_frames_are_sent_when_they_are_due():
    """Frames of a window of 0.5 s, on a clock that stands still until it is moved."""
    clock, driver = Clock(), Driver()
    outlet = Outlet(LiveSession(echo()))
    camera = VirtualCamera(outlet, driver, clock)
    give(outlet, [10, 20, 30, 40])
    until(lambda: levels(driver) == [10])
    for shades in ([10, 20], [10, 20, 30], [10, 20, 30, 40]):
        clock.move(0.125)
        until(lambda wanted=shades: levels(driver) == wanted)
    camera.close()
    assert driver.closed.is_set()
    give(outlet, [50], 1)  # nobody listens any more
    assert len(driver.sent) == 4


def test_a_driver_that_falls_behind_gets_the_newest():
    clock, driver = Clock(), Driver()
    outlet = Outlet(LiveSession(echo()))
    give_way = threading.Event()
    send, driver.send = driver.send, lambda frame: (give_way.wait(PATIENCE), send(frame))
    camera = VirtualCamera(outlet, driver, clock)
    give(outlet, [10, 20, 30, 40])
    time.sleep(0.05)
    clock.move(10)
    give_way.set()
    until(lambda: levels(driver)[-1:] == [40])
    assert levels(driver) in ([10, 40], [40])
    camera.close()


def test_the_portrait_is_shown_first_and_what_is_shown_is_shown_again():
    """A program that opens the camera in between gets a picture."""
    clock, driver = Clock(), Driver()
    camera = VirtualCamera(Outlet(LiveSession(echo())), driver, clock, first=grey(200)[:, ::-1])
    until(lambda: levels(driver) == [200])
    clock.move(0.6)
    until(lambda: levels(driver) == [200, 200])
    camera.close()


def test_the_mark_is_on_it():
    session, driver = LiveSession(echo(), Settings(mark=True)), Driver()
    camera = VirtualCamera(Outlet(session), driver)
    for number in range(4):
        session.offer(captured(number, grey(90)))
    session.turn()
    until(lambda: driver.sent)
    camera.close()
    assert np.array_equal(driver.sent[0], stamp(grey(90), badge(SIZE)))


def test_a_driver_that_fails_ends_the_camera_alone(caplog):
    driver = Driver(RuntimeError("unplugged"))
    outlet = Outlet(LiveSession(echo()))
    camera = VirtualCamera(outlet, driver)
    give(outlet, [10])
    assert driver.closed.wait(PATIENCE)
    camera.close()
    assert "The virtual camera broke off" in caplog.text
    assert outlet._listeners == []


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch, caplog):
    monkeypatch.setattr(virtual_camera, "_PATIENCE", 0.05)
    driver, taking, goes_on = Driver(), threading.Event(), threading.Event()
    driver.send = lambda _frame: (taking.set(), goes_on.wait(PATIENCE))
    camera = VirtualCamera(Outlet(LiveSession(echo())), driver, first=grey(200))
    assert taking.wait(PATIENCE)
    camera.close()
    assert not driver.closed.is_set()
    assert "does not answer: close the programs that show it" in caplog.text
    goes_on.set()
    assert driver.closed.wait(PATIENCE)


def test_it_is_opened_for_the_results_size(monkeypatch):
    asked = []
    module = SimpleNamespace(Camera=lambda **options: asked.append(options) or "camera")
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    assert open_virtual_camera(512) == "camera"
    assert asked == [{"width": 512, "height": 512, "fps": CAMERA_RATE}]


@pytest.mark.parametrize(
    ("system", "words"),
    [("win32", "install OBS Studio"), ("darwin", "install OBS Studio 30"), ("linux", "modprobe v4l2loopback")],
)
def test_a_missing_driver_is_told_for_each_system(monkeypatch, system, words):
    def camera(**_):
        raise RuntimeError("'obs' backend: nothing there.\n'other' backend: neither.")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=camera))
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(InputError) as told:
        open_virtual_camera(512)
    assert words in str(told.value)
    assert "'obs' backend: nothing there)" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(InputError, match="needs the package pyvirtualcam: install it with `pip install pyvirtualcam`"):
        open_virtual_camera(512)
