"""Recordings of a live session: times, sound, label, what goes wrong; by itself, and asked for by a page."""

import asyncio
import errno
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from personalive_core.errors import OutputError
from personalive_core.live import record
from personalive_core.live.outlet import Outlet
from personalive_core.live.record import CAMERA, FilmRecorder, RecordOptions, fitted
from personalive_core.live.session import LiveSession
from personalive_core.live.takes import Takes
from personalive_core.media import write
from personalive_core.media.label import badge, stamp
from personalive_core.media.picture import read_image, read_picture_label
from personalive_core.media.video import probe, read_label
from tests.live.doubles import sleeping
from tests.live.serving import PATIENCE, decoded, echo, grey, serving
from tests.media.films import decode_sound, read

ROOT = Path(__file__).parents[2]
BEGIN = 12345.678  # of the capture clock


def run(test):
    asyncio.run(asyncio.wait_for(test, 2 * PATIENCE))


def recorded(path, frames, options=RecordOptions(), sound=()):  # noqa: B008 - frozen
    """Records (time, picture) frames and (time, samples, rate) sound; returns how it ended."""
    ends = []
    recorder = FilmRecorder(path, options, ends.append)
    for piece in sound:
        recorder.hear(*piece)
    for frame in frames:
        recorder.show(*frame)
    recorder.finish()
    return ends[0]


def times(path):
    return [float(frame.time) for frame in read(path)]


@pytest.mark.parametrize(
    "steps",
    [
        [0.04] * 20,
        [0.16, 0.02, 0.3, 0.04, 0.055, 1.7, 0.04],  # a slow model, replaced frames, a pause
        [1 / 60] * 30,
        [0.5] * 5,
    ],
)
def test_frames_lie_at_their_capture_times(tmp_path, steps):
    at = BEGIN + np.concatenate([[0], np.cumsum(steps)])
    end = recorded(tmp_path / "a.mp4", [(time, grey(30 + 5 * i)) for i, time in enumerate(at)])
    assert (end.error, end.frames, end.left_out) == (None, len(at), 0)
    assert times(end.path) == pytest.approx(at - at[0], abs=1e-4)
    assert [round(float(frame.image.mean())) for frame in read(end.path)] == pytest.approx(
        [30 + 5 * i for i in range(len(at))], abs=2
    )


def test_frames_that_are_not_later_are_left_out(tmp_path):
    at = [5.0, 5.04, 5.04, 5.0, 5.08]
    end = recorded(tmp_path / "a.mp4", [(time, grey(60)) for time in at])
    assert times(end.path) == pytest.approx([0, 0.04, 0.08], abs=1e-4)


def test_one_frame_is_a_film(tmp_path):
    assert recorded(tmp_path / "a.mp4", [(5.0, grey(60))]).frames == 1


def test_no_frame_is_told_and_leaves_no_file(tmp_path):
    end = recorded(tmp_path / "a.mp4", [])
    assert "no frame came: record while the session is live" in str(end.error)
    assert list(tmp_path.iterdir()) == []


def test_without_sound_there_is_no_track(tmp_path):
    assert not probe(recorded(tmp_path / "a.mp4", [(0.0, grey(9)), (0.04, grey(9))]).path).has_audio


@pytest.mark.parametrize(
    "heard", [[(0, 3)], [(1.3, 2.4)], [(0, 0.8), (1.2, 3)], [(-1, 3)]], ids=["whole", "late", "gap", "before"]
)
def test_a_beep_is_heard_when_its_white_frame_is_seen(tmp_path, heard):
    """Result frames are ready a second after their capture, sound at once."""
    white, rate = 1.6, 48000
    pieces = []
    for start, end in heard:
        for at in np.arange(start, end - 0.05, 0.1):
            moments = at + np.arange(rate // 10) / rate
            wave = np.where((moments >= white) & (moments < white + 0.02), 0.8 * np.sin(6283 * moments), 0)
            pieces.append((BEGIN + at, wave[None].astype(np.float32), rate))
    frames = [(BEGIN + i / 25, grey(255 if i == 40 else 20)) for i in range(75)]
    path = recorded(tmp_path / "a.mp4", frames, RecordOptions(sound=True), pieces).path
    seen = [float(frame.time) for frame in read(path) if frame.image.mean() > 200]
    wave, rate = decode_sound(path)
    loud = np.flatnonzero(np.abs(wave) > 0.3 * np.abs(wave).max())
    assert seen == pytest.approx([white], abs=1e-3)
    assert loud[0] / rate - seen[0] == pytest.approx(0, abs=0.006)


def test_a_result_is_labelled_and_the_camera_is_not(tmp_path):
    """A person before a camera is not generated."""
    frames = [(0.0, grey(60)), (0.04, grey(60))]
    result = recorded(tmp_path / "a.mp4", frames, RecordOptions(details={"model": "small"}))
    assert "artificial intelligence" in read_label(result.path)["generated"]
    assert read_label(result.path)["model"] == "small"
    assert read_label(recorded(tmp_path / "b.mp4", frames, RecordOptions(CAMERA)).path) == {}


def test_another_camera_size_in_between_is_fitted(tmp_path):
    wide = np.full((48, 128, 3), 200, np.uint8)
    end = recorded(tmp_path / "a.mp4", [(0.0, grey(60)), (0.1, wide), (0.2, grey(60))], RecordOptions(CAMERA))
    shown = [frame.image for frame in read(end.path)]
    assert [image.shape for image in shown] == [(64, 64, 3)] * 3
    assert shown[1][32].mean() > 190
    assert shown[1][5].mean() < 10


def test_fitted_keeps_what_fits():
    picture = grey(7)
    assert fitted(picture, (64, 64)) is picture
    assert fitted(np.full((2000, 10, 3), 5, np.uint8), (64, 64)).shape == (64, 64, 3)


def test_an_encoder_that_is_too_slow_leaves_frames_out_and_blocks_nobody(tmp_path, monkeypatch):
    gate = threading.Event()

    class Slow(write.VideoWriter):
        def write(self, *arguments):
            gate.wait(PATIENCE)
            super().write(*arguments)

    monkeypatch.setattr(record, "VideoWriter", Slow)
    ends = []
    recorder = FilmRecorder(tmp_path / "a.mp4", RecordOptions(), ends.append)
    for number in range(300):
        recorder.show(number / 25, grey(60))
    gate.set()
    recorder.finish()
    assert ends[0].frames + ends[0].left_out == 300
    assert ends[0].frames <= 70
    assert ends[0].error is None


def test_a_full_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write.DiskSync, "often", full)
    end = recorded(tmp_path / "a.mp4", [(number / 25, grey(60)) for number in range(60)])
    assert isinstance(end.error, OutputError)
    assert "the disk is full" in str(end.error)
    assert "\n" not in str(end.error)


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(OutputError, match="does not exist: create that folder"):
        FilmRecorder(tmp_path / "no" / "folder" / "a.mp4", RecordOptions())


def test_a_killed_recording_plays(tmp_path):
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-m", "tests.live.recording", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    given = next(int(line) for line in process.stdout if int(line) >= 120)
    process.kill()
    given = max([given, *map(int, process.communicate()[0].split())])
    kept = read(tmp_path / "a.partial.mp4")
    assert given - len(kept) <= 70  # two seconds, and what waited for the encoder
    assert [float(frame.time) for frame in kept[:3]] == pytest.approx([0, 0.04, 0.08], abs=1e-3)
    assert probe(tmp_path / "a.partial.mp4").has_audio


# --- asked for by a page


async def record_of(page, what="result", sound=False):
    await page.send("record", {"on": True, "what": what, "sound": sound})


async def saved(page):
    await page.send("record", {"on": False, "what": "result", "sound": False})
    return (await page.next("saved", "failed")).fields


@pytest.mark.parametrize("what", ["result", "camera"])
def test_a_page_records_with_sound(tmp_path, what):
    async def test():
        async with serving(tmp_path) as server:
            page = await server.page()
            await record_of(page, what, sound=True)
            silence = np.zeros(4800, "<i2").tobytes()
            for number in range(6):
                await page.window([20 + 30 * number] * 4, 3 + 0.16 * number)
                sound = {"time": 3 + 0.16 * number, "rate": 48000, "channels": 1}
                await page.send("sound", sound, silence)
                await page.send("shown", {"window": number, "number": 0, "delay": None, "frames": 4, "dropped": 0})
                while server.session.figures().steps <= number:  # else a busy machine replaces frames that wait
                    await asyncio.sleep(0.01)
            told = await saved(page)
            assert told["what"] == "record"
            path = tmp_path / told["name"]
            assert times(path) == pytest.approx([0.04 * index for index in range(24)], abs=1e-3)
            assert probe(path).has_audio
            assert bool(read_label(path)) == (what == "result")

    run(test())


def test_a_session_that_ends_saves_its_recording_first(tmp_path):
    async def test():
        async with serving(tmp_path) as server:
            page = await server.page()
            await record_of(page)
            await page.window([50] * 4, 1.0)
            while server.hub.outlet.latest is None:
                await asyncio.sleep(0.01)
            await page.send("stop")
            assert (await page.next("saved", "bye")).kind == "saved"
            assert (await page.next("bye")).fields["why"] == "stopped"
            assert len(list(tmp_path.glob("live-*.mp4"))) == 1

    run(test())


def test_a_recording_that_is_asked_for_while_the_session_ends_ends_with_it(tmp_path):
    """Else its thread would look for frames for ever."""
    told = []
    takes = Takes((tmp_path, tmp_path), Outlet(LiveSession(echo())), lambda *what: told.append(what))
    takes.close()
    takes.start("result", False)
    assert [(kind, fields["what"]) for kind, fields in told] == [("failed", "record")]
    assert not [thread for thread in threading.enumerate() if thread.name == "live-recorder"]
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_begins_ends_the_one_before(tmp_path):
    async def test():
        async with serving(tmp_path) as server:
            page = await server.page()
            for start in (1.0, 2.0):
                await record_of(page)
                await page.window([50] * 4, start)
                while server.session.figures().steps < start:
                    await asyncio.sleep(0.01)
            await saved(page)
            while len(names := [message.fields["name"] for message in page.heard if message.kind == "saved"]) < 2:
                await page.next("saved")
            assert sorted(path.name for path in tmp_path.glob("*.mp4")) == sorted(names)

    run(test())


def test_while_the_camera_is_recorded_all_its_frames_are_wanted(tmp_path):
    """Else a film that is recorded as the model is too slow for live has as few frames as live."""

    async def test():
        async with serving(tmp_path, performer=echo(window=1, before=sleeping(0.5))) as server:
            page, rates = await server.page(), []
            for number, what in enumerate((None, None, "camera", "result")):
                if what:
                    await record_of(page, what)
                await page.frame(50, 1.0 + number)
                rates.append((await page.next("got")).fields["rate"])
                while server.session.figures().steps <= number:
                    await asyncio.sleep(0.01)
            assert rates == [25, pytest.approx(2, abs=0.3), 60, pytest.approx(2, abs=0.3)]

    run(test())


def test_a_page_that_is_loaded_again_is_told_what_is_recorded(tmp_path):
    async def test():
        async with serving(tmp_path) as server:
            page = await server.page()
            await record_of(page, "camera")
            await page.window([50] * 4, 1.0)
            await page.socket.close()
            page = await server.page()
            assert page.welcome.fields["recording"] == "camera"
            await saved(page)
            await page.socket.close()
            assert (await server.page()).welcome.fields["recording"] is None

    run(test())


def test_live_goes_on_while_a_film_is_finished_and_another_begins(tmp_path, monkeypatch):
    """Finishing a film of an hour takes many seconds: it is read, and written anew."""
    gate = threading.Event()

    class Long(write.VideoWriter):
        def __exit__(self, *error):
            gate.wait(PATIENCE / 2)
            super().__exit__(*error)

    monkeypatch.setattr(record, "VideoWriter", Long)

    async def test():
        async with serving(tmp_path) as server:
            page = await server.page()
            for start in (1.0, 2.0):
                await record_of(page)
                await page.window([50] * 4, start)
                while server.session.figures().steps < start:
                    await asyncio.sleep(0.01)
                await page.send("record", {"on": False, "what": "result", "sound": False})
            await page.window([50] * 4, 3.0)
            assert not [message for message in page.heard if message.kind == "saved"]
            gate.set()
            names = {(await page.next("saved")).fields["name"] for _ in range(2)}
            assert {path.name for path in tmp_path.iterdir()} == names
            assert len(names) == 2

    run(test())


def test_a_snapshot_is_a_labelled_picture_with_the_mark_if_asked(tmp_path):
    async def test():
        async with serving(tmp_path) as server:
            page = await server.page()
            await page.send("snapshot")
            assert "there is no result yet" in (await page.next("failed")).fields["text"]
            await page.send("set", {"mark": True})
            await page.next("settings")
            await page.window([90] * 4, 1.0)
            while server.hub.outlet.latest is None:
                await asyncio.sleep(0.01)
            await page.send("snapshot")
            path = tmp_path / (await page.next("saved")).fields["name"]
            await page.send("ping", {"time": 0.0})
            await page.next("pong")
            assert "artificial intelligence" in read_picture_label(path)["generated"]
            marked = stamp(grey(90), badge(64))
            assert np.abs(read_image(path).astype(int) - marked).max() <= 3
            frames = [message for message in page.heard if message.kind == "frame"]
            assert np.abs(decoded(frames[0].payload).astype(int) - marked).mean() < 6

    run(test())
