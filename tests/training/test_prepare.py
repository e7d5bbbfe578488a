"""Clips for training: cut from videos where a face is, cached once, the rest named; and `personalive train`."""

import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from personalive_core.animation.engine import Engine
from personalive_core.animation.pipeline import MotionOptions
from personalive_core.backends.personalive.motion import extract_motion
from personalive_core.errors import InputError, OutputError, WeightsError
from personalive_core.faces.crop import Box, Face, crop_image, portrait_crop
from personalive_core.media.tensors import to_signed
from personalive_core.training import prepare_videos as module
from personalive_core.training import presets
from personalive_core.training.data import open_dataset, read_clip
from personalive_core.training.prepare import Drawing, as_seen, drawn_clip
from personalive_core.training.prepare_videos import LEDGER, Cut, clips_of, prepare_videos
from tests.training.toy import row_of

SIZE = 64
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def pictures(count, height=SIZE, width=SIZE):
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def alike(clip, frames):
    return np.array_equal(clip.pictures.numpy(), np.stack(frames))


# One video


def test_clips_follow_one_another_and_the_rest_is_dropped(standin):
    frames = pictures(11)
    one, two = clips_of(standin, iter(frames), MotionOptions(size=SIZE), Cut(SIZE, frames=5))
    assert alike(one, frames[:5])
    assert alike(two, frames[5:10])


def test_a_clips_motion_is_what_inference_extracts_from_its_pictures(standin):
    (clip,) = clips_of(standin, iter(pictures(6)), MotionOptions(size=SIZE), Cut(SIZE, frames=6))
    again = extract_motion(standin, to_signed(clip.pictures.numpy()))
    for name in ("embedding", "keypoints", "box"):
        assert torch.allclose(getattr(clip.motion, name), getattr(again, name), atol=1e-4), name
    assert bool(clip.motion.valid.all())
    assert clip.canonical.shape == (6, 21, 3)
    assert not torch.allclose(clip.canonical, clip.motion.keypoints)


def test_stride_skips_frames(standin):
    frames = pictures(7)
    (clip,) = clips_of(standin, iter(frames), MotionOptions(size=SIZE), Cut(SIZE, frames=3, stride=3))
    assert alike(clip, frames[::3])


class Detector:
    """Sees one face, at the same place, in all frames but some."""

    def __init__(self, *missing):
        self.seen, self.missing = 0, missing

    def __call__(self, _):
        self.seen += 1
        return () if self.seen - 1 in self.missing else (Face(Box(40, 20, 80, 60), 1.0),)


def test_a_frame_without_a_face_ends_a_clip(standin):
    frames = pictures(9, height=90, width=160)
    options = MotionOptions(size=SIZE, detector=Detector(4))
    one, two = clips_of(standin, iter(frames), options, Cut(SIZE, frames=3))
    crop = portrait_crop(Box(40, 20, 80, 60), (90, 160))
    cut = [crop_image(frame, crop, SIZE) for frame in frames]
    assert alike(one, cut[:3])
    assert alike(two, cut[5:8])


def test_a_face_that_the_networks_cannot_see_ends_a_clip(standin, monkeypatch):
    extract, windows = module.extract_shape, []

    def blind(model, given):
        motion, canonical = extract(model, given)
        windows.append(len(given))
        valid = torch.tensor([sum(windows) - len(given) + i != 1 for i in range(len(given))])
        return replace(motion, valid=valid), canonical

    monkeypatch.setattr(module, "extract_shape", blind)
    frames = pictures(6)
    one, two = clips_of(standin, iter(frames), MotionOptions(size=SIZE), Cut(SIZE, frames=2))
    assert alike(one, frames[2:4])
    assert alike(two, frames[4:6])


def test_a_clip_is_given_as_soon_as_it_is_whole(standin):
    """So that the frames of a long video are never all in memory."""
    taken = []
    frames = (taken.append(1) or frame for frame in pictures(40))
    next(clips_of(standin, frames, MotionOptions(size=SIZE), Cut(SIZE, frames=5)))
    assert len(taken) == 8  # two windows of the networks


# A folder of videos


@pytest.fixture
def videos(tmp_path, sample):
    """Two videos of 5 frames, one of them in a folder below, a broken one, and a text."""
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    shutil.copy(sample[1], folder / "a.mp4")
    shutil.copy(sample[1], folder / "more" / "a.MP4")
    (folder / "broken.mp4").write_bytes(sample[1].read_bytes()[:300])
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def engine(standin_folder, loaded):  # noqa: ARG001 - a fixture that it needs
    return Engine(standin_folder, CPU, torch.float32, size=SIZE)


CUT = Cut(SIZE, frames=2)


def test_every_video_is_prepared_and_a_broken_one_is_named(videos, engine, tmp_path, caplog):
    made = prepare_videos(videos, engine, tmp_path / "clips", CUT, quiet=True)
    assert made.clips == {"a.mp4": 2, "more/a.MP4": 2}
    assert list(made.left_out) == ["broken.mp4"]
    assert "not a video that can be read" in made.left_out["broken.mp4"]
    assert "broken.mp4 is left out" in caplog.text
    assert f"{videos}: 1 file was left out: notes.txt (.txt is no video that can be read here)" in caplog.messages
    data = open_dataset([tmp_path / "clips"], 2, SIZE)
    assert len(data) == 4
    assert {bool(data.clip(i).motion.valid.all()) for i in range(4)} == {True}


def test_what_is_prepared_stays_and_what_is_new_is_added(videos, engine, tmp_path, sample, monkeypatch):
    output = tmp_path / "clips"
    prepare_videos(videos, engine, output, CUT, quiet=True)
    times = {path: path.stat().st_mtime_ns for path in output.glob("*.clip.safetensors")}
    read = []
    open_driving = module.open_driving
    monkeypatch.setattr(
        module, "open_driving", lambda clip, *rest: read.append(clip.path.name) or open_driving(clip, *rest)
    )
    shutil.copy(sample[1], videos / "broken.mp4")
    made = prepare_videos(videos, engine, output, CUT, quiet=True)
    assert read == ["broken.mp4"]
    assert made.clips == {"a.mp4": 2, "broken.mp4": 2, "more/a.MP4": 2}
    assert not made.left_out
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_an_interrupted_video_is_prepared_again(videos, engine, tmp_path, monkeypatch):
    output, save, saved = tmp_path / "clips", module.save_clip, []

    def interrupted(path, clip):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(path)
        save(path, clip)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_clip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_videos(videos, engine, output, CUT, quiet=True)
    assert json.loads((output / LEDGER).read_text())["clips"] == {"a.mp4": 2}
    assert prepare_videos(videos, engine, output, CUT, quiet=True).clips == {"a.mp4": 2, "more/a.MP4": 2}
    assert len(list(output.glob("*.clip.safetensors"))) == 4


def test_nothing_is_left_of_an_interrupted_call_of_another_kind(videos, engine, tmp_path, monkeypatch):
    output = tmp_path / "clips"

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_ledger", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_videos(videos, engine, output, CUT, quiet=True)
    assert len(list(output.glob("*.clip.safetensors"))) == 2
    assert prepare_videos(videos, engine, output, replace(CUT, frames=4), quiet=True).clips["a.mp4"] == 1
    data = open_dataset([output], 2, SIZE)
    assert [len(data.clip(i)) for i in range(len(data))] == [4, 4]


def test_a_video_too_short_for_a_clip_is_named(videos, engine, tmp_path):
    with pytest.raises(InputError, match="none of the videos in .*; the first of them, a.mp4: no 9 frames in a row"):
        prepare_videos(videos, engine, tmp_path / "clips", Cut(SIZE, frames=9), quiet=True)


def test_one_folder_holds_one_kind_of_clips(videos, engine, tmp_path):
    prepare_videos(videos, engine, tmp_path / "clips", CUT, quiet=True)
    with pytest.raises(InputError, match=r"holds clips of Cut\(size=64, frames=2.*give another --output"):
        prepare_videos(videos, engine, tmp_path / "clips", replace(CUT, stride=2), quiet=True)
    (tmp_path / "clips" / LEDGER).write_text("{}")
    with pytest.raises(InputError, match="is damaged: delete it"):
        prepare_videos(videos, engine, tmp_path / "clips", CUT, quiet=True)


def test_a_missing_detector_stops_at_once(videos, engine, tmp_path):
    cut = replace(CUT, detector="yunet")
    with pytest.raises(WeightsError, match="needs YuNet, which is not in"):
        prepare_videos(videos, engine, tmp_path / "clips", cut, quiet=True)


@pytest.mark.skipif(sys.platform not in ("linux", "cygwin"), reason="names are UTF-8 or UTF-16 here")
def test_names_that_are_no_utf_8(engine, tmp_path, sample):
    folder = tmp_path / "videos"
    folder.mkdir()
    film = os.fsdecode(b"caf\xe9 a:b\n.mp4")
    shutil.copy(sample[1], folder / film)
    for _ in range(2):  # the second time the ledger is read
        assert prepare_videos(folder, engine, tmp_path / "clips", CUT, quiet=True).clips == {film: 2}
    assert len(open_dataset([tmp_path / "clips"], 2, SIZE)) == 2
    with pytest.raises(
        OutputError, match="has a name that is no UTF-8, from which nothing can be read: choose another"
    ):
        prepare_videos(folder, engine, tmp_path / os.fsdecode(b"caf\xe9"), CUT, quiet=True)


def test_a_folder_without_videos_is_refused(tmp_path, engine):
    with pytest.raises(InputError, match="holds no videos"):
        prepare_videos(tmp_path, engine, tmp_path / "clips", CUT, quiet=True)


def test_a_full_disk_leaves_no_half_clip(videos, engine, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(OutputError, match="was not written"):
            prepare_videos(videos, engine, tmp_path / "clips", CUT, quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "clips").iterdir())


# Drawn people


def test_a_drawn_clip_takes_every_nth_frame():
    whole = drawn_clip("train", 3, Drawing(SIZE, frames=7))
    strided = drawn_clip("train", 3, Drawing(SIZE, frames=3, stride=3))
    assert torch.equal(strided.pictures, whole.pictures[::3])
    assert torch.equal(strided.motion.keypoints, whole.motion.keypoints[::3])
    assert strided.landmarks.shape[0] == 3


def test_a_drawn_clip_can_have_the_motion_that_networks_see(standin):
    true = drawn_clip("train", 3, Drawing(SIZE, frames=3))
    seen = as_seen(true, standin)
    again = extract_motion(standin, to_signed(true.pictures.numpy()))
    assert torch.equal(seen.pictures, true.pictures)
    assert torch.equal(seen.landmarks, true.landmarks)
    assert torch.allclose(seen.motion.keypoints, again.keypoints, atol=1e-5)
    assert torch.allclose(seen.motion.embedding, again.embedding, atol=1e-4)
    assert not torch.allclose(seen.canonical, true.canonical, atol=0.01)


# The command line


@pytest.fixture
def twin_presets(monkeypatch):
    """Presets of seconds, for the smallest networks."""
    for stage in ("vae", "1", "2"):
        row = row_of(steps=50, clips=1, frames=1, trains=("vae",) if stage == "vae" else ("pose_guider",))
        monkeypatch.setitem(presets.PRESETS, ("twin", stage), row)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("twin_presets")
def test_from_drawn_people_to_weights(personalive, tmp_path):
    clips = tmp_path / "clips"
    drawn = ("train", "prepare", "--drawn", 2, "--size", SIZE, "--frames", 3)
    outcome = personalive(*drawn, "--output", clips)
    assert outcome.out == f"{clips}: 2 drawn clips of 3 frames\n"
    common = ("--preset", "twin", "--data", clips, "--steps", 2, "--quiet")
    assert personalive("train", "--stage", "vae", *common, "--output", tmp_path / "vae").code == 0
    weights = tmp_path / "vae" / "weights"
    outcome = personalive("train", "--stage", "1", *common, "--output", tmp_path / "one", "--start", weights)
    assert outcome.out == f"{tmp_path / 'one' / 'weights'}: the weights of stage 1 after 2 steps\n"
    info = personalive("info", "--weights", tmp_path / "one" / "weights", "--json")
    assert info.code == 0


@pytest.mark.usefixtures("loaded")
def test_drawn_people_as_networks_see_them_by_the_command_line(personalive, standin_folder, tmp_path):
    drawn = ("train", "prepare", "--drawn", 1, "--size", SIZE, "--frames", 2)
    assert personalive(*drawn, "--output", tmp_path / "true").code == 0
    outcome = personalive(
        *drawn, "--seen", "--weights", standin_folder, "--device", "cpu", "--output", tmp_path / "seen"
    )
    assert outcome.code == 0
    true, seen = (read_clip(next((tmp_path / name).iterdir())) for name in ("true", "seen"))
    assert torch.equal(seen.pictures, true.pictures)
    assert not torch.allclose(seen.motion.keypoints, true.motion.keypoints, atol=0.01)
    lacking = personalive(*drawn, "--seen", "--weights", tmp_path / "none", "--output", tmp_path / "other")
    assert lacking.code != 0
    assert "personalive download" in lacking.err


@pytest.mark.usefixtures("loaded")
def test_videos_by_the_command_line(personalive, videos, standin_folder, tmp_path):
    clips = tmp_path / "clips"
    outcome = personalive(
        *("train", "prepare", "--videos", videos, "--weights", standin_folder, "--device", "cpu"),
        *("--size", SIZE, "--frames", 2, "--quiet", "--output", clips),
    )
    assert outcome.code == 0
    first, second, third = outcome.out.splitlines()
    assert first == f"{clips}: 4 clips of 2 frames from 2 videos"
    assert second == "1 video gave none:"
    assert third.startswith("  broken.mp4: ")
    assert read_clip(next(clips.glob("*.clip.safetensors"))).pictures.shape == (2, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "x", "--output", "y"), "the argument --stage is missing"),
        (("--stage", "1", "--output", "y"), "the argument --data is missing"),
        (("--stage", "1", "--data", "x"), "the argument --output is missing"),
        (("--stage", "4"), "invalid choice: '4'"),
        (("--stage", "1", "--data", "x", "--output", "y"), "x holds no prepared clip of 2 frames or more"),
        (("--stage", "1", "--data", "x", "--output", "y", "--preset", "vast"), "there is no preset 'vast'"),
        (("--stage", "1", "--data", "x", "--output", "y", "--preset", "published"), "name their folder with --start"),
        (("--stage", "1", "--steps", "0"), "expected a number 1 or more, got '0'"),
        (("--stage", "1", "--rate", "fast"), "expected a number 0 or more, got 'fast'"),
        (("prepare",), "the following arguments are required: --output"),
        (("prepare", "--output", "y"), "one of the arguments --videos --drawn is required"),
        (("prepare", "--output", "y", "--drawn", "1", "--videos", "x"), "not allowed with argument"),
        (("prepare", "--output", "y", "--drawn", "1", "--stride", "99"), "expected a number from 1 to 12"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(personalive, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    outcome = personalive("train", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
