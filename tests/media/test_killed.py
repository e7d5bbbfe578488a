"""What was made is on disk: a killed writer leaves a file that plays, two seconds or three frames short at most."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from personalive_core.media import files
from personalive_core.media.files import DiskSync
from personalive_core.media.picture import write_image
from personalive_core.media.video import probe
from personalive_core.media.write import VideoWriter
from tests.media.films import H, W, encode_sound, moving, read

ROOT = Path(__file__).parents[2]


def killed_after(frames, path, rate, audio="-"):
    """Frames that were given when the writing process was killed, at least `frames`."""
    command = [sys.executable, "-m", "tests.media.killed_writer", str(path), str(rate), str(audio)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    given = 0
    for line in process.stdout:
        given = int(line)
        if given >= frames:
            break
    process.kill()
    rest = process.communicate()[0].split()
    return int(rest[-1]) if rest else given


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("rate", "with_sound"), [(25, True), (60, False), (2, False)])
def test_a_killed_writer_loses_a_second_at_most(tmp_path, suffix, rate, with_sound):
    audio = encode_sound(tmp_path / "spoken.mkv", 20, "pcm_s16le") if with_sound else "-"
    frames = random.Random(f"{suffix}{rate}").randint(4, 5 * rate + 5)
    given = killed_after(frames, tmp_path / f"a{suffix}", rate, audio)
    partial = tmp_path / f"a.partial{suffix}"
    kept = len(read(partial)) if partial.stat().st_size else 0
    assert given - kept <= max(rate, 3)  # the promise is two seconds; half a second is what it costs
    if with_sound and kept:
        assert probe(partial).has_audio


def test_the_system_is_asked_to_put_it_on_the_disk(tmp_path, monkeypatch):
    """A power cut loses what the system still holds."""
    synced = []
    monkeypatch.setattr(files.os, "fsync", synced.append)
    monkeypatch.setattr(files, "_SYNC_EVERY", 0)
    with VideoWriter(tmp_path / "a.mkv", (W, H)) as writer:
        for picture in moving(30):
            writer.write(picture)
        assert len(synced) >= 20
    monkeypatch.setattr(files, "_SYNC_EVERY", 3600)
    synced.clear()
    disk = DiskSync(tmp_path / "a.mkv")
    disk.often()
    disk.close()
    assert not synced
    write_image(tmp_path / "a.png", moving(1)[0])
    assert len(synced) == 1  # before it takes the older file's place
