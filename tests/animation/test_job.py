"""The animate and motion commands on the stand-in networks: what comes out, and what stays when they end early."""

import contextlib
import io
import json
import logging
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core import cli
from personalive_core.animation import portrait
from personalive_core.animation.driving import MOST_SHOWN, Thumbnails
from personalive_core.animation.job import make, progress
from personalive_core.animation.pipeline import AnimatedFrame
from personalive_core.animation.sheet import SheetCollector, thumbnail
from personalive_core.backends.personalive.model import PersonaLive
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, RATE, SITTER, sample_motion
from personalive_core.faces.crop import Box, Crop, portrait_crop
from personalive_core.media.picture import read_image, write_image
from personalive_core.media.video import probe, read_frames, read_label
from personalive_core.media.write import VideoWriter, WriteOptions
from personalive_core.motion.files import load_motion, motion_rate, motion_times
from personalive_core.text import plural

LOSSLESS = ("--lossless", "--no-audio", "--quiet")


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def pictures(path):
    return np.stack([frame.image for frame in read_frames(path)])


@pytest.fixture
def animate(personalive, loaded, standin_folder, sample):  # noqa: ARG001 - the networks are there
    """Animates the sample, or what `options` say instead, at 64 pixels."""

    def run(output, *options, reference=sample[0], driving=sample[1]):
        files = ("--reference", reference, "--driving", driving, "--output", output)
        return personalive("animate", *files, "--weights", standin_folder, "--size", 64, *options)

    return run


# --- a whole run, networks loaded from their files


@pytest.fixture(scope="module")
def whole(tmp_path_factory, standin_folder, sample):
    """(folder, exit code, standard output, standard error) of one run with a sheet and JSON."""
    folder, out, err = tmp_path_factory.mktemp("whole"), io.StringIO(), io.StringIO()
    line = f"animate --reference {sample[0]} --driving {sample[1]} --output {folder}/out.mp4 --sheet {folder}/sheet.png"
    options = f"--weights {standin_folder} --size 64 --precision fp32 --device cpu --seed 7 --json"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(f"{line} {options}".split())
    torch.set_num_threads(threads)
    return SimpleNamespace(folder=folder, code=code, out=out.getvalue(), err=err.getvalue())


def test_frames_rate_duration_and_sound_are_the_drivings(whole, sample):
    ours, theirs = probe(whole.folder / "out.mp4"), probe(sample[1])
    assert whole.code == 0
    assert len(pictures(whole.folder / "out.mp4")) == len(pictures(sample[1])) == 5
    assert (ours.rate, ours.duration) == (theirs.rate, theirs.duration) == (25, Fraction(1, 5))
    assert ours.has_audio
    assert (ours.width, ours.height) == (64, 64)
    assert sorted(path.name for path in whole.folder.iterdir()) == ["out.mp4", "sheet.png"]


def test_the_label_is_on_by_default(whole):
    for name in ("out.mp4", "sheet.png"):
        assert "artificial intelligence" in read_label(whole.folder / name)["generated"]
    assert read_label(whole.folder / "out.mp4")["seed"] == "7"


def test_the_json_line_is_alone_and_tells_all(whole):
    assert whole.out.count("\n") == 1
    result = json.loads(whole.out)
    assert (result["frames"], result["filled"], result["keyframes"], result["size"]) == (5, 0, [], [64, 64])
    assert (result["output"], result["sheet"]) == (f"{whole.folder}/out.mp4", f"{whole.folder}/sheet.png")
    seconds = result["seconds"]
    assert 0 < seconds["first_frame"] <= seconds["animation"]
    assert seconds["load"] + seconds["reference"] + seconds["animation"] <= seconds["total"]
    assert result["fps"] == pytest.approx(5 / seconds["animation"])
    assert result["peak_memory"] > 10**8
    assert list(result)[-1] == "detector"
    assert result["detector"] == "none"


def test_progress_and_summary_are_for_people(whole):
    assert "animate 5/5 frames |" in whole.err
    assert " frames/s, " in whole.err
    assert " left" in whole.err
    assert f"{whole.folder}/out.mp4: 5 frames of 64x64 in " in whole.err
    assert "0 keyframes, 0 without a face\n" in whole.err


def test_plural():
    assert [plural(count, "frame") for count in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]


# --- options


def test_the_seed_decides(animate, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert animate(tmp_path / f"{name}.mkv", "--seed", seed, "--frames", 2, *LOSSLESS).code == 0
    a, b, c = (pictures(tmp_path / f"{name}.mkv") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_label_sound_and_progress_can_be_left_out(animate, tmp_path):
    outcome = animate(tmp_path / "a.mp4", "--no-label", "--no-audio", "--quiet", "--frames", 1)
    assert (outcome.code, outcome.err) == (0, "")
    assert "a.mp4: 1 frame of 64x64 in" in outcome.out
    assert read_label(tmp_path / "a.mp4") == {}
    assert not probe(tmp_path / "a.mp4").has_audio


def test_a_motion_file_gives_the_same_pictures_as_its_video(animate, personalive, tmp_path, standin_folder, sample):
    saved = tmp_path / "talk.safetensors"
    outcome = personalive(
        "motion", "--driving", sample[1], "--output", saved, "--weights", standin_folder, "--size", 64, "--json"
    )
    assert json.loads(outcome.out) == {"output": str(saved), "frames": 5, "filled": 0}
    assert "motion 5/5 frames" in outcome.err
    assert len(load_motion(saved)) == 5
    assert animate(tmp_path / "video.mkv", *LOSSLESS).code == 0
    assert animate(tmp_path / "motion.mkv", *LOSSLESS, "--sheet", tmp_path / "a.png", driving=saved).code == 0
    assert np.array_equal(pictures(tmp_path / "video.mkv"), pictures(tmp_path / "motion.mkv"))
    assert probe(tmp_path / "motion.mkv").rate == 25
    later = animate(tmp_path / "later.mkv", "--start", 0.08, "--frames", 2, "--json", *LOSSLESS, driving=saved)
    assert json.loads(later.out)["frames"] == 2
    assert animate(tmp_path / "x.mp4", "--start", 9, driving=saved).code == 2
    assert "leave --rate out" in animate(tmp_path / "x.mp4", "--rate", 5, driving=saved).err


def test_a_motion_file_plays_at_the_times_of_its_film(personalive, loaded, tmp_path, standin_folder):  # noqa: ARG001
    """A film with a pause of 3 minutes, whose average rate is 0.03: no file could say that rate."""
    film, saved = tmp_path / "pause.mkv", tmp_path / "pause.safetensors"
    times = [Fraction(milliseconds, 1000) for milliseconds in (0, 40, 80, 180_080, 180_120, 180_200)]
    with VideoWriter(film, (64, 64), WriteOptions()) as writer:
        for index, time in enumerate(times):
            writer.write(draw_portrait(DRIVER, sample_motion(index, RATE), 64), time)
    files = ("--weights", standin_folder, "--size", 64, "--quiet")
    assert personalive("motion", "--driving", film, "--output", saved, "--smooth", 1, *files).code == 0
    kept = motion_times(saved)
    assert kept[:-1].tolist() == [round(time * 10**9) for time in times]
    assert kept[-1] > kept[-2]
    assert 1 <= motion_rate(saved) <= 1000
    line = ("animate", "--reference", film, "--driving", saved, *files, *LOSSLESS[:2])
    assert personalive(*line, "--output", tmp_path / "a.mkv", "--sheet", tmp_path / "a.png").code == 0
    assert [frame.time for frame in read_frames(tmp_path / "a.mkv")] == times
    for start, frames in ((0.04, 3), (0.041, 2)):  # at or after: the frame at 0.04 s itself, or the next one
        assert personalive(*line, "--output", tmp_path / "b.mkv", "--start", start, "--frames", frames).code == 0
        shown = times[4 - frames : 4]
        assert [frame.time for frame in read_frames(tmp_path / "b.mkv")] == [time - shown[0] for time in shown]
    late = personalive(*line, "--output", tmp_path / "b.mkv", "--start", 181)
    assert (late.code, "pause.safetensors has no frame at 181 s: start earlier" in late.err) == (2, True)


def test_motion_refuses_before_it_loads(personalive, tmp_path, standin_folder, sample, monkeypatch):
    monkeypatch.setattr("personalive_core.animation.engine.load_model", lambda *_: pytest.fail("loaded"))
    line = ("motion", "--driving", sample[1], "--weights", standin_folder, "--output")
    neutral = personalive(*line, tmp_path / "a.safetensors", "--missing-face", "neutral")
    assert (neutral.code, "use hold, interpolate or error" in neutral.err) == (2, True)
    named = personalive(*line, tmp_path / "a.mp4")
    assert (named.code, "must end with .safetensors" in named.err) == (5, True)
    assert list(tmp_path.iterdir()) == []


# --- faces in wide pictures


@pytest.fixture
def wide(tmp_path):
    """A reference of odd size and a driving film, both 320 pixels wide and with the face on the right."""
    reference, driving = tmp_path / "wide.png", tmp_path / "wide.mp4"
    canvas = np.full((241, 321, 3), 190, np.uint8)
    canvas[:240, 81:] = draw_portrait(SITTER, FaceMotion(), 240)
    write_image(reference, canvas)
    with VideoWriter(driving, (320, 240), WriteOptions()) as writer:
        for frame in range(3):
            canvas = np.full((240, 320, 3), 130, np.uint8)
            canvas[:, 80:] = draw_portrait(DRIVER, sample_motion(frame, RATE), 240)
            writer.write(canvas)
    return reference, driving


def test_without_yunet_a_wide_driving_is_refused_before_loading(animate, tmp_path, wide, standin_folder, monkeypatch):
    monkeypatch.setattr("personalive_core.animation.engine.load_model", lambda *_: pytest.fail("loaded"))
    outcome = animate(tmp_path / "a.mp4", driving=wide[1])
    assert outcome.code == 4
    assert f"finding the face in a 320x240 picture needs YuNet, which is not in {standin_folder}: run " in outcome.err
    assert f'`personalive download --only detector --weights "{standin_folder}"`, or give the face box' in outcome.err
    assert "haar" not in outcome.err
    assert "in a 321x241 picture needs YuNet" in animate(tmp_path / "a.mp4", reference=wide[0]).err
    assert not (tmp_path / "a.mp4").exists()


@pytest.fixture(params=["haar", "yunet"])
def detecting(request, tmp_path, standin_folder):
    """(name, options that choose it): Haar, or what auto is in wide pictures."""
    if request.param == "haar":
        request.getfixturevalue("haar")  # skips where OpenCV has none
        return "haar", ("--detector", "haar")
    weights = shutil.copytree(standin_folder, tmp_path / "weights", copy_function=os.link)
    shutil.copy(request.getfixturevalue("yunet_model"), weights / "face_detection_yunet_2026may.onnx")
    return "yunet", ("--weights", weights)


def test_a_found_face_is_pasted_back_into_an_odd_sized_picture(animate, tmp_path, wide, detecting):
    name, options = detecting
    line = (*options, "--paste-back", "--quiet", "--json")
    files = {"reference": wide[0], "driving": wide[1]}
    outcome = animate(tmp_path / "a.mkv", *line, "--lossless", **files)
    assert outcome.code == 0
    result = json.loads(outcome.out)
    assert (result["frames"], result["filled"], result["size"]) == (3, 0, [321, 241])
    assert result["detector"] == name
    assert f"0 without a face, faces found by {name}" in outcome.err
    made, original = pictures(tmp_path / "a.mkv"), read_image(wide[0])
    assert made.shape == (3, 241, 321, 3)
    assert animate(tmp_path / "a.mp4", *line, "--frames", 1, **files).code == 0
    assert pictures(tmp_path / "a.mp4").shape == (1, 242, 322, 3)  # ordinary H.264 has even sizes only
    changed = (made != original).any((0, 3))
    rows, columns = np.nonzero(changed)
    assert columns.min() > 80  # left of the face nothing changes
    assert np.ptp(rows) > 120
    assert np.ptp(columns) > 120


def test_boxes_by_hand_need_no_detector(animate, tmp_path, wide):
    boxes = ("--reference-crop", "121,40,281,200", "--driving-box", "120,40,280,200")
    outcome = animate(tmp_path / "a.mp4", *boxes, "--frames", 1, reference=wide[0], driving=wide[1])
    assert outcome.code == 0
    assert (probe(tmp_path / "a.mp4").width, probe(tmp_path / "a.mp4").height) == (64, 64)


def test_a_reference_box_is_the_faces_and_a_reference_crop_the_square(animate, tmp_path, wide, monkeypatch):
    """As in the node Prepare Reference; a box that must be a whole crop, as the option once meant, is refused."""
    crops = []
    cut = portrait.crop_image

    def noted(image, crop, size):
        crops.append(crop)
        return cut(image, crop, size)

    monkeypatch.setattr(portrait, "crop_image", noted)

    def run(*options):
        crops.clear()
        line = ("--detector", "none", "--frames", 1, *options)
        outcome = animate(tmp_path / "a.mp4", *line, reference=wide[0], driving=wide[1])
        return outcome, crops[0] if crops else None

    outcome, crop = run("--reference-box", "161,60,241,160")
    assert (outcome.code, crop) == (0, portrait_crop(Box(161, 60, 241, 160), (241, 321)))
    outcome, crop = run("--reference-crop", "121,40,281,200")
    assert (outcome.code, crop) == (0, Crop(121, 40, 160))
    outcome, crop = run("--reference-crop", "121,40,281,200", "--crop-scale", "1.25")
    assert (outcome.code, crop) == (0, Crop(101, 20, 200))
    outcome, _ = run("--reference-box", "121,40,281,200")
    assert outcome.code == 2
    assert "the square itself with --reference-crop" in outcome.err
    outcome, _ = run("--reference-box", "400,40,480,100")
    assert outcome.code == 2
    assert "--reference-box lies outside the 321x241 picture" in outcome.err


# --- what the sheet shows


def test_driving_pictures_are_bounded_and_the_right_ones():
    """A film that has no face for 1500 frames, then for 100 has."""
    shown, collector, most = Thumbnails(), SheetCollector(), 0
    for index in range(1500):
        shown.note(index, numbered(index))
        most = max(most, len(shown))
    for index in range(1600):
        if index >= 1500:
            shown.note(index, numbered(index))
        collector = collector.then(index, shown.take(index), numbered(index))
    assert most == MOST_SHOWN
    assert len(shown) == 1
    assert len(collector.rows()) == 8
    for row in collector.rows():
        assert np.array_equal(row.driving, thumbnail(numbered(row.index)))


def test_driving_pictures_may_be_stored_while_they_are_taken():
    """As where a thread looks for faces ahead of the networks."""
    shown, usual = Thumbnails(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            noted = pool.submit(lambda: [shown.note(index, numbered(index)) for index in range(3000)])
            index = 0
            while not noted.done():
                shown.take(index)
                index += 1
        noted.result()
    finally:
        sys.setswitchinterval(usual)
    assert 1 <= len(shown) <= MOST_SHOWN


def numbered(index):
    return np.full((8, 8, 3), [index % 251, index // 251, 7], np.uint8)


def test_keyframes_and_filled_frames_are_noted(tmp_path):
    seconds = [Fraction(i) for i in (0, 1, 2, 30, 31, 32)]
    frames = [AnimatedFrame(i, seconds[i], numbered(i), i == 4, i != 2, Fraction(i, 7)) for i in range(6)]
    job = SimpleNamespace(sheet=tmp_path / "sheet.png")
    portrait = SimpleNamespace(paste=None, picture=numbered(99))
    written = []
    writer = SimpleNamespace(write=lambda picture, *shown: written.append((picture[0, 0, 0], *shown)))
    shown = Thumbnails()
    for i in range(6):
        shown.note(i, numbered(10 + i))
    made = make(job, progress(frames, 6, "animate", True), portrait, shown, writer)
    assert (made.keyframes, made.filled) == ((4,), 1)
    assert written == [(i, seconds[i], Fraction(i, 7)) for i in range(6)]
    assert [row.time for row in made.collector.rows()] == seconds
    assert [(row.index, row.is_keyframe) for row in made.collector.rows() if row.is_keyframe] == [(4, True)]
    assert [row.driving[0, 0, 0] for row in made.collector.rows()] == [10 + i for i in range(6)]
    made = make(job, progress(frames, 6, "animate", True), portrait, Thumbnails(), writer)
    assert {row.driving[0, 0, 0] for row in made.collector.rows()} == {99}


# --- what is never overwritten, and what stays


@pytest.mark.parametrize(
    ("output", "option"),
    [
        ("drive.mp4", ()),
        ("alias.mp4", ()),
        ("link.mp4", ()),
        ("cut.mp4", ("--driving", "cut.partial.mp4")),
        ("me.mp4", ("--reference", "me.mp4")),
        ("new.mp4", ("--sheet", "me.png")),
        ("new.mp4", ("--driving", "frames", "--sheet", "frames/sheet.png")),
    ],
)
def test_an_output_that_is_an_input_is_refused(animate, tmp_path, monkeypatch, sample, output, option):
    monkeypatch.chdir(tmp_path)
    for name in ("drive.mp4", "cut.partial.mp4", "me.mp4"):
        (tmp_path / name).write_bytes(sample[1].read_bytes())
    (tmp_path / "me.png").write_bytes(sample[0].read_bytes())
    (tmp_path / "alias.mp4").symlink_to("drive.mp4")
    (tmp_path / "link.mp4").hardlink_to("drive.mp4")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.png").write_bytes(sample[0].read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    outcome = animate(output, *option, reference="me.png", driving="drive.mp4")
    assert outcome.code == 2
    assert "give the output another name" in outcome.err or "write the sheet to another folder" in outcome.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.fixture
def decode_breaks(monkeypatch):
    """The decoder's second call, the one for frames 4 to 7, ends as `second` says."""
    decode, calls = PersonaLive.decode, []

    def broken(second):
        def decode_once(self, latents):
            calls.append(1)
            return decode(self, latents) if len(calls) == 1 else second(decode(self, latents))

        monkeypatch.setattr(PersonaLive, "decode", decode_once)

    return broken


def interrupt(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (lambda pixels: pixels * torch.nan, (6, "gave NaN in float32: check the weights with `personalive check`")),
        (lambda pixels: pixels * 0, (6, "gave only black in float32: check the weights")),
        (interrupt, (130, "personalive: interrupted\n")),
    ],
)
def test_what_was_made_is_kept_and_an_older_output_stays(animate, tmp_path, caplog, decode_breaks, second, said):
    decode_breaks(second)
    output, partial = tmp_path / "a.mp4", tmp_path / "a.partial.mp4"
    output.write_bytes(b"older")
    with caplog.at_level(logging.WARNING):
        outcome = animate(output, "--sheet", tmp_path / "a.png")
    assert outcome.code == said[0]
    assert said[1] in outcome.err
    assert "Traceback" not in outcome.err
    assert f"Stopped early: 4 frames are in {partial}, which plays." in caplog.text
    assert len(pictures(partial)) == 4
    assert output.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.partial.mp4"]


def test_an_older_output_is_replaced_by_a_whole_one(animate, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"older")
    assert animate(tmp_path / "a.mp4", "--frames", 1).code == 0
    assert len(pictures(tmp_path / "a.mp4")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
