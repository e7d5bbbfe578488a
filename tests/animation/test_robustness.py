"""Everything that can be wrong with what a user gives or has: each with its sentence and its exit code."""

import contextlib
import json
import logging
import os
import shutil
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.faces import detectors
from personalive_core.faces.crop import Box, Face
from personalive_core.media.picture import write_image
from personalive_core.media.video import probe, read_frames
from personalive_core.media.write import VideoWriter, WriteOptions


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def film(path, frames, rate=25):
    """A film whose frames say their number by their brightness."""
    with VideoWriter(path, (64, 64), WriteOptions(Fraction(rate))) as writer:
        for index in range(frames):
            writer.write(np.full((64, 64, 3), 20 + 10 * index, np.uint8))
    return path


def shown(path):
    return len(list(read_frames(path)))


@pytest.fixture
def animate(personalive, standin_folder, sample, tmp_path):
    """Animates the sample, or what `changes` name instead, into a file whose folder holds nothing else."""
    folder = tmp_path / "made"

    def run(*options, **changes):
        folder.mkdir(exist_ok=True)
        files = {"reference": sample[0], "driving": sample[1], "output": folder / "out.mp4", "weights": standin_folder}
        line = [part for name, value in (files | changes).items() for part in (f"--{name}", value)]
        outcome = personalive("animate", *line, "--size", 64, "--quiet", "--json", *options)
        return SimpleNamespace(**outcome._asdict(), made=sorted(path.name for path in folder.iterdir()))

    return run


def refuses(outcome, code, words):
    """The sentence alone, the exit code, and no file left behind."""
    assert (outcome.code, outcome.out, outcome.made) == (code, "", [])
    assert outcome.err.startswith("personalive: ")
    assert outcome.err.count("\n") == 1
    assert words in outcome.err


# --- files that are not what they should be, refused before any network loads


@pytest.fixture
def not_loaded(monkeypatch):
    monkeypatch.setattr("personalive_core.animation.engine.load_model", lambda *_: pytest.fail("loaded"))


@pytest.fixture
def bad(tmp_path, sample):
    """A folder of files that cannot be used."""
    import av

    folder = tmp_path / "bad"
    folder.mkdir()
    for name in ("empty.mp4", "empty.png"):
        (folder / name).write_bytes(b"")
    for name in ("text.png", "text.mp4"):
        (folder / name).write_text("these are words, not pictures\n" * 20)
    (folder / "damaged.png").write_bytes(sample[0].read_bytes()[:-400])
    (folder / "headless.mp4").write_bytes(sample[1].read_bytes()[:3000])
    (folder / "no pictures").mkdir()
    write_image(folder / "tiny.png", np.zeros((3, 3, 3), np.uint8))
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return folder


@pytest.mark.usefixtures("not_loaded")
@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("driving", "none.mp4", "cannot be opened (No such file or directory): check the path"),
        ("driving", "empty.mp4", "is empty (0 bytes), not a video or a picture"),
        ("driving", "text.mp4", "is not a video that can be read"),
        ("driving", "headless.mp4", "is not a video that can be read"),
        ("driving", "sound.mp4", "holds only sound, but moving pictures are needed: choose a video."),
        ("driving", "no pictures", "holds no pictures"),
        ("driving", "tiny.png", "is 3x3 pixels, but each side needs at least 32"),
        ("driving", "none.safetensors", "cannot be read as a motion file"),
        ("reference", "none.png", "cannot be opened (No such file or directory): check the path"),
        ("reference", "empty.png", "is empty (0 bytes), not a video or a picture"),
        ("reference", "text.png", "is named .png but holds no such picture: save it as PNG or JPEG."),
        ("reference", "damaged.png", "is a damaged picture"),
        ("reference", "tiny.png", "is 3x3 pixels, but each side needs at least 32: use a larger picture."),
        ("reference", "sound.mp4", "holds only sound, but moving pictures are needed"),
    ],
)
def test_bad_inputs(animate, bad, role, name, words):
    refuses(animate(**{role: bad / name}), 2, words)


@pytest.mark.usefixtures("not_loaded")
@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("output", "no/such/out.mp4", "no/such does not exist: create that folder."),
        ("output", "file/out.mp4", "cannot be written (Not a directory): choose a folder that you may write to."),
        ("output", "out.avi", "must end with .mp4 or .mov or .mkv or .webm, but ends with '.avi': rename it."),
        ("output", "made.mp4", "made.mp4 is a folder, but a file is to be written"),
        ("sheet", "no/such/sheet.png", "no/such does not exist: create that folder."),
        ("sheet", "sheet.gif", "must end with .png or .jpg or .jpeg"),
    ],
)
def test_outputs_that_cannot_be_written(animate, tmp_path, option, name, words):
    (tmp_path / "file").write_text("")
    (tmp_path / "made.mp4").mkdir()
    outcome = animate(**{option: tmp_path / name})
    if name == "file/out.mp4":  # each system has its own words for it
        words = words.replace("Not a directory", outcome.err.split("written (")[1].split(")")[0])
    refuses(outcome, 5, words)


@pytest.mark.usefixtures("not_loaded")
def test_a_read_only_folder(animate, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere: run it as another than root")
    refuses(animate(output=folder / "out.mp4"), 5, "cannot be written (Permission denied)")


# --- films that are odd but usable


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("frames", [1, 5])
def test_short_films(animate, tmp_path, frames):
    outcome = animate(driving=film(tmp_path / "short.mp4", frames))
    assert (outcome.code, json.loads(outcome.out)["frames"]) == (0, frames)
    output = tmp_path / "made" / "out.mp4"
    assert shown(output) == frames
    assert probe(output).duration == frames / probe(output).rate


@pytest.mark.usefixtures("loaded")
def test_a_truncated_film_works_with_a_warning(animate, tmp_path, caplog):
    whole = film(tmp_path / "whole.mkv", 12, rate=5)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[:-250])
    expected = shown(cut)
    assert 2 < expected < 12
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        outcome = animate(driving=cut)
    assert (outcome.code, json.loads(outcome.out)["frames"]) == (0, expected)
    assert f"{cut} is damaged or cut off (" in caplog.text
    assert f"): {expected} frames could be read." in caplog.text


# --- faces


@pytest.fixture
def seen(monkeypatch):
    """A detector that finds a face in those frames of `film` only."""

    def only_in(*frames):
        def detect(image):
            number = round((float(image.mean()) - 20) / 10)
            return (Face(Box(16, 16, 48, 48), 1.0),) if number in frames else ()

        monkeypatch.setattr(detectors, "make_detector", lambda *_: detect)

    return only_in


BY_HAND = ("--detector", "haar", "--reference-crop", "0,0,64,64")


@pytest.mark.usefixtures("not_loaded")
def test_no_face_in_the_reference(animate, seen):
    seen()
    refuses(animate("--detector", "haar"), 3, "no face in the reference picture: give --reference-box")


@pytest.mark.usefixtures("loaded")
def test_no_face_in_the_driving(animate, seen, tmp_path):
    seen()
    outcome = animate(*BY_HAND, driving=film(tmp_path / "film.mp4", 5))
    refuses(outcome, 3, "no face in any of the 5 driving frames: choose another detector, or give the face's box")


@pytest.mark.usefixtures("loaded")
def test_a_face_in_3_of_20_frames(animate, seen, tmp_path):
    seen(5, 6, 12)
    driving = film(tmp_path / "film.mp4", 20)
    outcome = animate(*BY_HAND, "--sheet", tmp_path / "made" / "out.png", driving=driving)
    result = json.loads(outcome.out)
    assert (outcome.code, result["frames"], result["filled"]) == (0, 20, 17)
    assert shown(tmp_path / "made" / "out.mp4") == 20
    assert "20 frames of 64x64" in outcome.err
    assert "17 without a face" in outcome.err


@pytest.mark.usefixtures("loaded")
def test_a_missing_face_may_be_an_error(animate, seen, tmp_path):
    seen(0, 1, 3)
    outcome = animate(*BY_HAND, "--missing-face", "error", driving=film(tmp_path / "film.mp4", 5))
    refuses(outcome, 3, "no face in driving frame 2: set missing faces to hold, or cut the frame")


# --- weights


@pytest.fixture
def weights(standin_folder, tmp_path):
    """A folder of links to the stand-in's files, and a function that puts another reference UNet into it."""
    folder = tmp_path / "weights"
    shutil.copytree(standin_folder, folder, copy_function=lambda source, target: Path(target).symlink_to(source))
    path = folder / "personalive" / "reference_unet.pth"

    def change(edit):
        content = edit(torch.load(path, weights_only=True, mmap=True))
        path.unlink()
        torch.save(content, path)
        return folder

    return change


def without(state):
    return {key: value for key, value in state.items() if key != "conv_in.bias"}


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (without, "the weights do not fit reference_unet: 1 missing keys: conv_in.bias: use the published files"),
        (lambda state: {**state, "surplus": torch.ones(2)}, "reference_unet: 1 extra keys: surplus"),
        (
            lambda state: {**state, "conv_in.bias": torch.ones(7)},
            "reference_unet: 1 misshapen keys: conv_in.bias (expected [32], came [7])",
        ),
        (lambda state: {"step": 3, **state}, "should hold tensors by name"),
        (lambda _: {"alien": torch.ones(2)}, "reference_unet lack the key"),
    ],
)
def test_keys_that_do_not_fit(animate, weights, edit, words):
    refuses(animate(weights=weights(edit)), 4, words)


def test_a_pickle_bomb_does_not_go_off(animate, weights, tmp_path):
    planted = tmp_path / "planted"
    folder = weights(lambda state: {**state, "conv_in.bias": Bomb(planted)})
    refuses(animate(weights=folder), 4, "is not a plain weights file (UnpicklingError), so it was refused and nothing")
    assert not planted.exists()
    torch.load(folder / "personalive" / "reference_unet.pth", weights_only=False)["conv_in.bias"].close()
    assert planted.exists()  # it was live


def test_a_cut_weights_file(animate, weights):
    folder = weights(without)
    path = folder / "personalive" / "reference_unet.pth"
    path.write_bytes(path.read_bytes()[:10_000])
    refuses(animate(weights=folder), 4, "is empty or cut short: delete it and download it again")


# --- a full disk


@pytest.fixture
def room():
    """Limits how long a file may become: what a full disk is, but for the message of the system."""
    resource = pytest.importorskip("resource", reason="the limit that stands in for a full disk is POSIX's")

    @contextlib.contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:  # before pytest reports: its own output may go to a file
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.mark.usefixtures("loaded")
def test_a_disk_too_full_for_the_video(animate, room):
    with room(2_000):
        outcome = animate()
    refuses(outcome, 5, "out.mp4 cannot be written, as ")
    assert "choose another folder or free space." in outcome.err


@pytest.mark.usefixtures("loaded")
def test_a_disk_too_full_for_the_sheet_keeps_the_video(animate, room, tmp_path):
    with room(100_000):
        outcome = animate(sheet=tmp_path / "made" / "out.png")
    assert (outcome.code, outcome.made) == (5, ["out.mp4"])
    assert "out.png was not written (" in outcome.err
    assert "Traceback" not in outcome.err
    assert shown(tmp_path / "made" / "out.mp4") == 5
