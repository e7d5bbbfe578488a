"""A film at its own speed, and a camera that is unplugged and comes back."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import InputError
from personalive_core.live import sources
from personalive_core.live.sources import CameraSource, FilmSource

from .doubles import Clock

SECONDS = 20  # to wait for another thread at most


class Taking:
    """Notes what a source gives and says."""

    def __init__(self, most=10**6):
        self.frames, self.words, self.enough, self._most, self.source_of = [], [], threading.Event(), most, None

    def offer(self, frame):
        self.frames.append(frame)
        if len(self.frames) >= self._most:
            self.enough.set()
            if self.source_of:
                self.source_of.stop()

    def source(self, word):
        self.words.append(word)

    def figures(self):
        return SimpleNamespace(period=None)

    @property
    def numbers(self):
        return [frame.number for frame in self.frames]

    @property
    def levels(self):
        return [int(frame.picture[0, 0, 0]) for frame in self.frames]

    @property
    def times(self):
        return [round(frame.time, 3) for frame in self.frames]


@pytest.fixture
def film(tmp_path):
    """Three pictures, 40, 80 and 120 ms long."""
    pictures = [Image.fromarray(np.full((32, 32, 3), level, np.uint8)) for level in (10, 20, 30)]
    path = tmp_path / "film.png"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[40, 80, 120])
    return path


def play(film, taking, loop, clock, slow=0.0):
    """Plays in this thread; the clock moves while the source waits, and by `slow` with each frame."""

    def offered(frame, offer=taking.offer):
        clock.move(slow)
        offer(frame)

    taking.offer = offered
    source = FilmSource(taking, film, loop, clock, wait=clock.move)
    taking.source_of = source
    source.play()


def test_a_film_is_shown_at_its_own_speed(film):
    clock, taking = Clock(), Taking(7)
    play(film, taking, True, clock)
    assert taking.levels == [10, 20, 30] * 2 + [10]
    assert taking.times == [100.0, 100.04, 100.12, 100.24, 100.28, 100.36, 100.48]
    assert taking.numbers == list(range(7))
    assert clock.now == pytest.approx(100.48)
    assert taking.words == []


def test_a_film_that_ends_lets_everything_come_out(film):
    """The last picture stays for four windows, then it is said."""
    taking = Taking()
    play(film, taking, False, Clock())
    assert taking.levels[:3] == [10, 20, 30]
    assert taking.levels[3:] == [30] * 16
    assert all(later > earlier for earlier, later in zip(taking.times, taking.times[1:], strict=False))
    assert taking.words == ["film_over"]


def test_the_tail_lasts_as_long_as_steps_take(film):
    taking = Taking()
    taking.figures = lambda: SimpleNamespace(period=1.0)
    play(film, taking, False, Clock())
    assert taking.times[-1] - taking.times[2] >= 5


def test_a_film_that_is_decoded_too_slowly_is_shown_more_slowly(film):
    """No frame is left out, and no time falls."""
    clock, taking = Clock(), Taking(9)
    play(film, taking, True, clock, slow=0.3)
    assert taking.levels == [10, 20, 30] * 3
    assert np.diff(taking.times).min() > 0
    assert clock.now - taking.times[-1] <= 0.5 + 0.3 + 0.001


def test_a_file_that_is_no_film(tmp_path):
    with pytest.raises(InputError):
        FilmSource(Taking(), tmp_path / "none.mp4")


def test_a_film_that_breaks_is_over(film, caplog):
    taking = Taking()
    source = FilmSource(taking, film, True, Clock(), wait=lambda _seconds: None)
    film.unlink()
    source.play()
    assert taking.words == ["film_over"]
    assert "The driving film ended" in caplog.text


def test_a_film_whose_thread_meets_a_bug_is_over(film, caplog):
    taking = Taking()
    taking.offer = lambda _frame: 1 / 0
    FilmSource(taking, film, True, Clock(), wait=lambda _seconds: None).play()
    assert taking.words == ["film_over"]
    assert "The driving film broke off" in caplog.text


def test_a_film_in_its_thread(film):
    taking = Taking(3)
    source = FilmSource(taking, film)
    source.start()
    assert taking.enough.wait(SECONDS)
    source.stop()
    assert not source._thread.is_alive()


class Cameras:
    """What each camera that is opened gives: so many pictures, then none."""

    def __init__(self, *counts):
        self.counts, self.opened, self.released = list(counts), [], 0

    def __call__(self, index):
        self.opened.append(index)
        left = iter(range(self.counts.pop(0) if self.counts else 0))
        picture = np.dstack([np.full((4, 6), level, np.uint8) for level in (10, 20, 30)])  # blue, green, red

        def read():
            return (True, picture) if next(left, None) is not None else (False, None)

        return SimpleNamespace(read=read, release=self.release)

    def release(self):
        self.released += 1


def test_a_camera_that_is_unplugged_and_comes_back():
    cameras, clock, taking = Cameras(2, 0, 3), Clock(), Taking(5)
    taking.source_of = CameraSource(taking, 1, cameras, clock, again=0.0)
    taking.source_of.play()
    assert taking.words == ["", "camera_lost", "camera_lost", ""]
    assert taking.numbers == [0, 1, 2, 3, 4]
    assert taking.frames[0].picture[0, 0].tolist() == [30, 20, 10]
    assert taking.frames[0].time == 100.0
    assert cameras.opened == [1, 1, 1]
    assert cameras.released == 3


def test_a_camera_whose_driver_fails_is_lost_and_opened_again(caplog):
    """The reason is told once, not every second."""
    cameras, failures, taking = Cameras(2, 3), ["busy", "busy", "gone"], Taking(5)

    def opened(index):
        if failures:
            raise OSError(failures.pop(0))
        return cameras(index)

    taking.source_of = CameraSource(taking, 0, opened, again=0.0)
    taking.source_of.play()
    assert taking.words == ["camera_lost"] * 3 + ["", "camera_lost", ""]
    assert [line.rpartition(": ")[2] for line in caplog.messages] == ["busy", "gone"]


def test_a_camera_in_its_thread():
    taking = Taking(3)
    source = CameraSource(taking, 0, Cameras(10**9), again=0.0)
    source.start()
    assert taking.enough.wait(SECONDS)
    source.stop()
    assert not source._thread.is_alive()


def test_no_camera_at_all():
    """OpenCV itself: there is no camera of this number."""
    pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    camera = sources.open_camera(731)
    assert camera.read()[0] is False
    camera.release()


def test_without_opencv(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(sources.importlib, "import_module", missing)
    with pytest.raises(InputError, match="needs OpenCV: install it with `pip install opencv-python`"):
        sources.open_camera(0)
