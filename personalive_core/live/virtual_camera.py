"""The result as a virtual camera, which OBS, browsers and meetings take for a real one; needs pyvirtualcam."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..media.picture import Picture
from .outlet import Outlet
from .pacing import Paced

CAMERA_RATE = 30.0  # frames a second that it announces; it is given one whenever one is due
_IDLE = 0.02  # seconds between two looks while no frame waits
_PATIENCE = 5.0  # seconds for the camera's driver to take its last picture
_AGAIN = 0.5  # seconds after which the same picture is sent again, for programs that open the camera meanwhile
_DRIVERS = {  # what is missing, by system
    "win32": "install OBS Studio, whose virtual camera it uses, start that once there, and run this again",
    "darwin": "install OBS Studio 30 or newer, start its virtual camera once there, and run this again",
    "linux": "load the kernel module with `sudo modprobe v4l2loopback devices=1 exclusive_caps=1`, and run this again",
}

_log = logging.getLogger(__name__)


def open_virtual_camera(size: int, rate: float = CAMERA_RATE) -> Any:  # noqa: ANN401 - pyvirtualcam has no types
    """A virtual camera of `size` pixels a side.

    Raises InputError: without pyvirtualcam, or without a driver, with what to install on this system.
    """
    try:
        pyvirtualcam = importlib.import_module("pyvirtualcam")
    except ImportError as error:
        raise InputError(
            "a virtual camera needs the package pyvirtualcam: install it with `pip install pyvirtualcam`, or take the "
            "Motion JPEG address"
        ) from error
    try:
        return pyvirtualcam.Camera(width=size, height=size, fps=rate)
    except RuntimeError as error:
        how = _DRIVERS.get(sys.platform, _DRIVERS["linux"])
        raise InputError(f"this machine has no virtual camera ({_first_line(error)}): {how}") from error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text, without its full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".:")


class VirtualCamera:
    """Sends the results of an outlet to a virtual camera in a thread, paced as they were captured, until `close`."""

    def __init__(
        self,
        outlet: Outlet,
        camera: Any,  # noqa: ANN401 - a pyvirtualcam.Camera, or what has its `send` and `close`
        clock: Callable[[], float] = time.monotonic,
        first: Picture | None = None,
    ) -> None:
        """`first` [S, S, 3] is shown until there is a result."""
        self._camera, self._clock, self._paced = camera, clock, Paced()
        self._ended = threading.Event()
        self._leave = outlet.listen(lambda window: self._paced.put(window, self._clock()))
        self._thread = threading.Thread(target=self._run, args=(first,), name="live-virtual-camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it, and lets go of the camera; a driver that does not take the last picture is not waited for long."""
        self._leave()
        self._ended.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            _log.warning("The virtual camera's driver does not answer: close the programs that show it")

    def _run(self, picture: Picture | None) -> None:
        again = self._clock()
        try:
            while not self._ended.is_set():
                now = self._clock()
                still = self._paced.take(now)
                if still is not None:
                    picture, again = still.made.picture, now
                if picture is not None and now >= again:
                    self._camera.send(np.ascontiguousarray(picture))
                    again = now + _AGAIN
                due = self._paced.due()
                self._ended.wait(_IDLE if due is None else min(max(due - now, 0.0), _IDLE))
        except Exception:  # of the camera's driver; the session and its other outputs go on
            _log.exception("The virtual camera broke off")
            self._leave()
        finally:
            self._camera.close()
