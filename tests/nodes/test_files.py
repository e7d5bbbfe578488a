"""Files of the nodes without ComfyUI: lists, names, what a film carries, and how a VIDEO is read."""

import json
import os
import time
import wave
from datetime import datetime
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.errors import remedy_first
from personalive_core.media.write import VideoWriter, WriteOptions

# --- the list of Load Motion


@pytest.fixture
def listing(node_module, monkeypatch):
    """nodes/host/listing.py, which counts the folders that it reads in `scanned`."""
    module = node_module("host.listing")
    module._KNOWN.clear()
    module.scanned = []
    scan = os.scandir

    def counted(path):
        module.scanned.append(path)
        return scan(path)

    monkeypatch.setattr(module, "os", SimpleNamespace(scandir=counted, stat=os.stat))
    return module


def age(*folders):
    """Makes folders look as if nothing had happened in them for a minute."""
    for folder in folders:
        os.utime(folder, (time.time() - 60,) * 2)


def test_an_unchanged_folder_is_read_once(listing, tmp_path):
    below = tmp_path / "motion" / "old"
    below.mkdir(parents=True)
    for path in (tmp_path / "a.safetensors", below / "b.safetensors", tmp_path / "film.mp4"):
        path.touch()
    folders = [tmp_path, tmp_path / "motion", below]
    age(*folders)
    expected = [str(tmp_path / "a.safetensors"), str(below / "b.safetensors")]
    assert list(listing.files_below(str(tmp_path), ".safetensors")) == expected
    assert len(listing.scanned) == 3
    assert list(listing.files_below(str(tmp_path), ".safetensors")) == expected
    assert len(listing.scanned) == 3
    (below / "c.safetensors").touch()
    assert str(below / "c.safetensors") in list(listing.files_below(str(tmp_path), ".safetensors"))
    assert listing.scanned[3:] == [str(below)]


def test_a_folder_that_has_just_changed_is_read_again(listing, tmp_path):
    """Its time may be the same after the next change."""
    for _ in range(2):
        assert not list(listing.files_below(str(tmp_path), ".safetensors"))
    assert len(listing.scanned) == 2


def test_links_and_hidden_folders_are_left_out(listing, tmp_path):
    for folder in ("shown", ".hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.safetensors").touch()
    (tmp_path / "shown" / "link").symlink_to(tmp_path)
    assert list(listing.files_below(str(tmp_path), ".safetensors")) == [str(tmp_path / "shown" / "x.safetensors")]


def test_the_list_is_bounded(listing, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(listing, "MOST_FOLDERS", 10)
    for number in range(20):
        (tmp_path / f"{number:02}" / "deep").mkdir(parents=True)
        (tmp_path / f"{number:02}" / "x.safetensors").touch()
    assert len(list(listing.files_below(str(tmp_path), ".safetensors"))) == 9
    assert len(listing.scanned) == 10
    assert "more than 10 folders" in caplog.text
    assert not list(listing.files_below(str(tmp_path / "gone"), ".safetensors"))


# --- names


@pytest.fixture
def plain(node_module):
    prefixes = node_module("host.prefixes")
    now = datetime(2026, 3, 4, 5, 6, 7)
    return SimpleNamespace(fill=lambda text: prefixes.plain_prefix(text, now), refused=prefixes.InputError)


def test_dates_are_filled_as_on_the_page(plain):
    """The same cases as in tests/web/films.test.mjs."""
    assert plain.fill("%date:yyyy-MM-dd%/x") == "2026-03-04/x"
    assert plain.fill("a_%date:yy-M-d_hh.mm.ss%_%date:hms%") == "a_26-3-4_05.06.07_567"
    assert plain.fill("%width%_%KSampler.seed%_100%") == "%width%_%KSampler.seed%_100%"


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (7, "Connect a text, such as video/PersonaLive: filename_prefix is 7, which is no text"),
        (None, "Connect a text, such as video/PersonaLive: filename_prefix is None, which is no text"),
        ("a\0", "Type it anew, such as video/PersonaLive: filename_prefix has a character that no file"),
        ("a\ud800", "Type it anew, such as video/PersonaLive: filename_prefix has a character that no file"),
        ("é" * 101, "Write at most 200 for each folder and for the name: filename_prefix has 101 letters"),
        ("a/" * 600 + "a", "Write at most 200 for each folder and for the name: filename_prefix has 1201 letters"),
        ("", "Write a name, such as video/PersonaLive: filename_prefix '' names no file"),
        ("./", "Write a name, such as video/PersonaLive: filename_prefix './' names no file"),
        ("a/..", "Write a name, such as video/PersonaLive: filename_prefix 'a/..' names no file"),
    ],
)
def test_what_names_no_file_is_refused(plain, prefix, message):
    with pytest.raises(plain.refused) as caught:
        plain.fill(prefix)
    assert remedy_first(str(caught.value)).startswith(message)


@pytest.mark.parametrize("prefix", ["x", "video/PersonaLive", "video/", "a.b/c d/é", "x" * 200])
def test_ordinary_names_stay(plain, prefix):
    assert plain.fill(prefix) == prefix


# --- what a film carries


@pytest.fixture
def film(node_module, monkeypatch):
    module = node_module("host.film")
    monkeypatch.setattr(module, "args", SimpleNamespace(disable_metadata=False))
    return module


HIDDEN = SimpleNamespace(
    prompt={"1": {"class_type": "A", "inputs": {"x": "ä"}, "is_changed": [float("nan")]}},
    extra_pnginfo={"workflow": {"nodes": [1]}},
)


def test_prompt_and_workflow_are_carried_without_the_executors_notes(film):
    tags = film.workflow_tags(HIDDEN)
    assert json.loads(tags["prompt"]) == {"1": {"class_type": "A", "inputs": {"x": "ä"}}}
    assert json.loads(tags["workflow"]) == {"nodes": [1]}
    assert film.workflow_tags(SimpleNamespace(prompt=None, extra_pnginfo=None)) == {}


def test_nothing_is_carried_where_comfyui_is_told_so(film):
    film.args.disable_metadata = True
    assert film.workflow_tags(HIDDEN) == {}


def test_the_result_is_in_the_format_of_the_film(film, tmp_path):
    for name, codec in (("a.mov", "prores"), ("b.mov", None), ("c.webm", None), ("d.mkv", None)):
        with VideoWriter(tmp_path / name, (64, 64), WriteOptions(codec=codec)) as writer:
            writer.write(np.zeros((64, 64, 3), np.uint8))
        assert film.same_format(tmp_path / name) == film.Format(name[1:], codec)
    for other in (None, tmp_path / "film.avi"):
        assert film.same_format(other).suffix == ".mp4"


# --- how a VIDEO is read


class Components:
    """ComfyUI's VideoFromComponents."""


@pytest.fixture
def footage(node_module, monkeypatch, tmp_path):
    module = node_module("host.footage")
    monkeypatch.setattr(module, "InputImpl", SimpleNamespace(VideoFromComponents=Components))
    folders = node_module("host.folders")
    monkeypatch.setattr(folders, "folder_paths", SimpleNamespace(get_temp_directory=lambda: str(tmp_path / "temp")))
    return module


@pytest.fixture
def source(tmp_path):
    """Twenty pictures at 10 a second, of which picture n has the grey 10 n."""
    with VideoWriter(tmp_path / "film.mp4", (64, 64), WriteOptions(rate=Fraction(10), lossless=True)) as writer:
        for number in range(20):
            writer.write(np.full((64, 64, 3), 10 * number, np.uint8))
    return tmp_path / "film.mp4"


def video(path, window=(0.0, 0.0), **more):
    return SimpleNamespace(
        get_stream_source=lambda: str(path),
        get_active_trim_window=lambda: window,
        save_to=lambda *_, **__: pytest.fail("encoded anew"),
        **more,
    )


def read(opened):
    frames = [opened.first, *opened.frames]
    return [int(frame.image[0, 0, 0]) // 10 for frame in frames], frames


@pytest.mark.parametrize(
    ("window", "part", "expected"),
    [
        ((0.0, 0.0), (0, 0, 0), range(20)),
        ((0.5, 0.0), (0, 0, 0), range(5, 20)),
        ((0.5, 0.6), (0, 0, 0), range(5, 11)),
        ((0.5, 0.6), (0.2, 0, 0), range(7, 11)),
        ((0.5, 0.6), (0.2, 2, 0), range(7, 9)),
        ((0.5, 0.6), (0.2, 0, 5), (7, 9)),
        ((0.0, 0.3), (0, 0, 0), range(3)),
    ],
)
def test_a_trimmed_video_is_read_from_its_file(footage, source, window, part, expected):
    """`part` is start, count and frame rate."""
    opened = footage.open_frames(video(source, window), *part)
    numbers, frames = read(opened)
    assert numbers == list(expected)
    assert opened.footage.path == source
    assert opened.footage.start == frames[0].time == Fraction(expected[0], 10)
    assert opened.total == len(numbers)


def test_the_last_picture_of_a_window_ends_with_it(footage, source):
    _, frames = read(footage.open_frames(video(source, (0.0, 0.25)), 0, 0, 0))
    assert frames[-1].duration == Fraction(1, 20)
    with pytest.raises(footage.InputError, match=r"no frame at 0\.7 s"):
        footage.open_frames(video(source, (0.5, 0.6)), 0.7, 0, 0)


def test_a_cropped_video_is_taken_as_it_is_shown(footage, source):
    """Of any size: what ComfyUI's H.264 refuses."""
    audio = {"waveform": torch.zeros(1, 1, 800), "sample_rate": 8000}
    shown = SimpleNamespace(images=torch.full((3, 33, 35, 3), 0.2), frame_rate=10, audio=audio)
    edited = video(source, has_pending_frame_edits=lambda: True, get_components=lambda: shown)
    opened = footage.open_frames(edited, 0.1, 0, 0)
    numbers, frames = read(opened)
    assert numbers == [5, 5]
    assert frames[0].image.shape == (33, 35, 3)
    assert not opened.footage.pictures
    assert opened.footage.path.suffix == ".wav"


@pytest.mark.parametrize("stored", [torch.tensor([0.5, -2.0]), torch.tensor([16384, -32768], dtype=torch.int16)])
def test_sound_is_written_at_its_loudness(footage, stored):
    path = footage.as_sound({"waveform": stored[None, None], "sample_rate": 8000})
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(2), np.int16)
    assert samples.tolist() == pytest.approx([16384, -32767], abs=1)


# --- sound


@pytest.fixture
def spoken(tmp_path):
    """A second of a rising saw at 8 kHz."""
    with wave.open(str(tmp_path / "spoken.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(8000, dtype=np.int16).tobytes())
    return tmp_path / "spoken.wav"


def test_sound_is_decoded_when_it_is_asked_for(node_module, spoken, monkeypatch):
    sound, sockets = node_module("host.sound"), node_module("host.sockets")
    decode = sound.read_sound
    monkeypatch.setattr(sound, "read_sound", lambda *_: pytest.fail("decoded"))
    given = sound.sound_of(sockets.Footage(spoken, Fraction(1, 4)), Fraction(1, 2))
    assert set(given) == {"waveform", "sample_rate"}
    assert bool(given)
    assert repr(given) == "0.5 s of sound from spoken.wav"
    assert sound.sound_source(None, given) == (spoken, Fraction(1, 4))
    monkeypatch.setattr(sound, "read_sound", decode)
    assert given["sample_rate"] == 8000
    assert given.get("waveform").shape == (1, 1, 4000)
    assert torch.equal((given["waveform"][0, 0] * 32768).round(), torch.arange(2000.0, 6000.0))
    with pytest.raises(KeyError):
        given["other"]


def test_sound_that_ends_goes_on_in_silence(node_module, spoken):
    sound, sockets = node_module("host.sound"), node_module("host.sockets")
    heard = sound.FileAudio(sockets.Footage(spoken, Fraction(3, 4)), Fraction(1))["waveform"][0, 0]
    assert len(heard) == 8000
    assert heard[:2000].ne(0).all()
    assert not heard[2000:].any()


def test_sound_that_cannot_be_decoded_is_an_error_where_it_is_used(node_module, spoken, monkeypatch):
    sound, sockets = node_module("host.sound"), node_module("host.sockets")

    def refused(*_):
        raise sound.InputError("not decoded: write without its sound")

    monkeypatch.setattr(sound, "has_audio", refused)
    monkeypatch.setattr(sound, "read_sound", refused)
    given = sound.sound_of(sockets.Footage(spoken, Fraction(0)), Fraction(1))
    with pytest.raises(sound.InputError, match="not decoded"):
        given["waveform"]


def test_a_prefix_below_a_file_is_told(node_module, monkeypatch, tmp_path):
    folders = node_module("host.folders")

    def refused(*_):
        raise NotADirectoryError(20, "Not a directory")

    paths = SimpleNamespace(get_output_directory=lambda: str(tmp_path), get_save_image_path=refused)
    monkeypatch.setattr(folders, "folder_paths", paths)
    with pytest.raises(folders.OutputError, match=r"a\.mp4/x cannot be written, as Not a directory: use another"):
        folders.new_output("a.mp4/x", ".mp4")


def test_no_sound_is_none(node_module, source):
    sound, sockets = node_module("host.sound"), node_module("host.sockets")
    assert sound.sound_of(None, Fraction(1)) is None
    assert sound.sound_of(sockets.Footage(source, Fraction(0)), Fraction(1)) is None
    assert sound.sound_source(None, None) == (None, 0)
