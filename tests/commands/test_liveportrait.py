"""animate, motion and check with --system liveportrait, and which options belong to whom."""

import json
from functools import cache

import numpy as np
import pytest
from PIL import Image

from personalive_core.animation import driving as animation_driving
from personalive_core.animation import liveportrait_engine
from personalive_core.backends.liveportrait.motion_files import IMPLICIT
from personalive_core.commands import animate as animate_command
from personalive_core.commands.motion import plot_of
from personalive_core.commands.result import Result
from personalive_core.errors import FaceError, InputError, OutputError, WeightsError
from personalive_core.faces.crop import Box, Face
from personalive_core.media.picture import read_image
from personalive_core.media.video import probe, read_frames, read_label
from personalive_core.motion.files import read_kind, save_motion
from tests.backends.liveportrait.onnx_file import landmark_onnx
from tests.backends.liveportrait.tiny import ANIMAL, tiny_states, write_hub
from tests.media.films import decode_sound, encode_sound, moving, write
from tests.motion.samples import motion as hybrid

LIVE = ("--system", "liveportrait", "--device", "cpu", "--precision", "fp32", "--quiet")
BOX = "20,12,46,46"


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory, synth, live_cases):
    folder, states = tmp_path_factory.mktemp("weights"), tiny_states(synth)
    write_hub(write_hub(folder, states), states, ANIMAL)
    face = (0.5 + 0.3 * live_cases.unit_face(203, 0.3, 0.2)).astype(np.float32)
    (folder / "liveportrait" / "landmark.onnx").write_bytes(landmark_onnx(face))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _loaded_once():
    """Folding the networks takes most of a short run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveportrait_engine, "load_live", cache(liveportrait_engine.load_live))
        yield


@pytest.fixture
def animate(personalive, sample, weights, tmp_path):
    """Animates the drawn portrait; what was said, and the path of the result."""

    def run(*more, reference=sample[0], driving=sample[1], name="out.mkv"):
        files = ("--reference", reference, "--driving", driving, "--output", tmp_path / name)
        outcome = personalive("animate", *files, "--weights", weights, "--json", "--lossless", *LIVE, *more)
        return outcome, tmp_path / name

    return run


def frames_of(path):
    return np.stack([frame.image for frame in read_frames(path)])


def test_a_portrait_is_animated(animate, sample, tmp_path):
    outcome, path = animate("--reference-box", BOX, "--sheet", tmp_path / "sheet.png")
    assert outcome.code == 0, outcome.err
    told, count = json.loads(outcome.out), len(frames_of(sample[1]))
    assert (told["frames"], told["size"], told["filled"]) == (count, [512, 512], 0)
    assert "keyframe" not in outcome.err
    assert frames_of(path).shape == (count, 512, 512, 3)
    assert probe(path).rate == probe(sample[1]).rate
    assert probe(path).has_audio
    assert read_label(path)["region"] == "all"
    assert (tmp_path / "sheet.png").stat().st_size


def test_pasted_back_nothing_but_the_face_changes(animate, sample):
    outcome, path = animate("--reference-box", "24,20,40,38", "--paste-back", "--frames", "2")
    assert outcome.code == 0, outcome.err
    still, frames = read_image(sample[0]), frames_of(path)
    assert frames.shape[1:] == still.shape
    assert np.array_equal(frames[:, 0], np.broadcast_to(still[0], frames[:, 0].shape))
    assert not np.array_equal(frames[1], still)


def test_a_face_by_hand_is_in_pixels_of_the_reference(animate, sample, tmp_path):
    """A photograph is made smaller before it is animated: its box and points are still those of the photograph."""
    still = read_image(sample[0])
    Image.fromarray(still.repeat(4, 0).repeat(4, 1)).save(tmp_path / "photograph.png")
    points = [22, 26, 30, 26, 38, 26, 44, 26, 33, 34, 28, 42, 38, 42, 33, 40, 33, 44]
    limit = ("--reference-limit", str(max(still.shape)), "--frames", "1")
    for option, numbers in (("--reference-box", [20, 12, 46, 46]), ("--reference-points", points)):
        pictures = []
        for by, reference in ((1, sample[0]), (4, tmp_path / "photograph.png")):
            text = ",".join(str(number * by) for number in numbers)
            outcome, path = animate(option, text, *limit, reference=reference)
            assert outcome.code == 0, outcome.err
            pictures.append(frames_of(path))
        assert np.array_equal(*pictures)
        outcome, _ = animate(option, ",".join(str(number + 999) for number in numbers))
        assert outcome.code == InputError.exit_code
        assert f"{option} lies outside the" in outcome.err


def test_a_driving_box_outside_the_driving_is_refused(animate):
    outcome, path = animate("--reference-box", BOX, "--driving-box", "900,900,990,990")
    assert outcome.code == InputError.exit_code
    assert "lies outside the" in outcome.err
    assert not path.exists()


def test_options_change_the_result(animate):
    ways = [
        (),
        ("--region", "pose"),
        ("--absolute",),
        ("--multiplier", "0.5"),
        ("--no-stitching",),
        ("--kj-mode", "off"),
        ("--kj-mode", "single_frame", "--pose-friendly"),
        ("--lips",),
        ("--animal",),
    ]
    results = []
    for way in ways:
        outcome, path = animate("--detector", "none", "--frames", "2", *way)
        if "--lips" in way:
            assert outcome.code == InputError.exit_code
            assert "how open the source's lips are is read from 203 landmarks" in outcome.err
            continue
        assert outcome.code == 0, outcome.err
        results.append(frames_of(path)[1].tobytes())
    assert len(set(results)) == len(results)


def test_a_source_video_is_animated_at_its_own_rate(animate, sample):
    outcome, path = animate("--reference-box", BOX, "--frames", "3", reference=sample[1], driving=sample[1])
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["frames"] == 3
    assert probe(path).rate == probe(sample[1]).rate
    outcome, path = animate("--reference-box", BOX, "--paste-back", reference=sample[1], driving=sample[0])
    assert outcome.code == 0, outcome.err
    assert len(frames_of(path)) == len(frames_of(sample[1]))
    assert frames_of(path).shape == frames_of(sample[1]).shape


def test_a_source_videos_sound_begins_with_it_wherever_a_silent_driving_does(animate, tmp_path):
    spoken, silent = encode_sound(tmp_path / "spoken.mkv", 0.4, "pcm_s16le", 10, click=0.2), tmp_path / "silent.mkv"
    write(silent, moving(20))
    for start in ("0", "0.4"):
        outcome, path = animate("--detector", "none", "--start", start, reference=spoken, driving=silent)
        assert outcome.code == 0, outcome.err
        wave, rate = decode_sound(path)
        assert np.abs(wave).argmax() / rate == pytest.approx(0.2, abs=0.01)


def test_a_picture_driven_by_a_picture_is_a_picture(animate, sample):
    outcome, path = animate("--reference-box", BOX, driving=sample[0], name="film.mkv")
    assert outcome.code == InputError.exit_code
    assert "expected a name that ends with .png or .jpg or .jpeg, got film.mkv: rename --output" in outcome.err
    assert not path.exists()
    shapes = []
    for name, more in (("a.png", ("--mark",)), ("b.jpg", ("--paste-back",)), ("c.png", ())):
        outcome, path = animate("--reference-box", BOX, *more, driving=sample[0], name=name)
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["frames"] == 1
        shapes.append(read_image(path).shape)
    assert shapes == [(512, 512, 3), read_image(sample[0]).shape, (512, 512, 3)]
    marked, plain = (read_image(path.with_name(name)).astype(int) for name in ("a.png", "c.png"))
    assert np.abs(marked - plain)[:400].max() == 0
    assert np.abs(marked - plain)[400:].max() > 0
    with Image.open(path) as file:
        told = json.loads(file.text["Description"])
    assert (told["system"], told["region"]) == ("liveportrait", "all")
    outcome, _ = animate("--reference-box", BOX, "--crf", "20", driving=sample[0], name="d.png")
    assert "which has no codec: leave --codec and --crf out" in outcome.err


def test_a_film_is_never_written_into_a_picture(animate):
    outcome, path = animate("--reference-box", BOX, name="out.png")
    assert outcome.code == OutputError.exit_code
    assert not path.exists()


@pytest.fixture
def faces(monkeypatch):
    """What a detector finds in every frame of a driving; the tests fill it."""
    found = []
    monkeypatch.setattr(animation_driving, "find_detector", lambda *_: lambda _: tuple(found))
    return found


@pytest.mark.usefixtures("faces")
def test_a_driving_without_a_face_is_refused_before_the_networks_load(
    animate, personalive, sample, weights, monkeypatch, tmp_path
):
    monkeypatch.setattr(liveportrait_engine, "load_live", lambda *_: pytest.fail("loaded"))
    outcome, path = animate("--reference-box", BOX)
    assert outcome.code == FaceError.exit_code
    assert "no face in any driving frame" in outcome.err
    assert not list(tmp_path.iterdir())
    files = ("--driving", sample[1], "--output", path.with_suffix(".safetensors"))
    outcome = personalive("motion", *files, "--weights", weights, *LIVE)
    assert outcome.code == FaceError.exit_code


def test_faces_are_found_before_anything_is_drawn(personalive, sample, weights, faces, tmp_path):
    """One progress bar after the other."""
    faces.append(Face(Box(20, 12, 46, 46), 0.9))
    files = ("--reference", sample[0], "--driving", sample[1], "--output", tmp_path / "out.mkv", "--weights", weights)
    outcome = personalive("animate", *files, *LIVE[:-1], "--reference-box", BOX, "--frames", "3")
    assert outcome.code == 0, outcome.err
    assert 0 <= outcome.err.rindex("faces 3/") < outcome.err.index("animate 0/")


def test_motion_is_extracted_once_and_used_again(animate, personalive, sample, weights, tmp_path):
    file, plot = tmp_path / "talk.safetensors", tmp_path / "talk.png"
    given = ("--driving", sample[1], "--output", file, "--weights", weights, "--plot", plot)
    outcome = personalive("motion", *given, *LIVE)
    assert outcome.code == 0, outcome.err
    assert f"{plot}: plot" in outcome.out
    assert np.array_equal(read_image(plot), plot_of(file, "liveportrait"))
    assert len(read_kind(IMPLICIT, file).motion) == len(frames_of(sample[1]))
    few = ("--detector", "none", "--frames", "4")
    one, other = animate(*few, name="a.mkv"), animate(*few, driving=file, name="b.mkv")
    assert other[0].code == 0, other[0].err
    assert np.array_equal(frames_of(one[1]), frames_of(other[1]))


def test_a_pictures_motion_moves_as_the_picture_does(animate, personalive, sample, weights, tmp_path):
    """Its expression counts by itself; there is no first frame since which it could have changed."""
    file, whole = tmp_path / "smile.safetensors", ("--detector", "none")
    outcome = personalive("motion", "--driving", sample[0], "--output", file, "--weights", weights, *whole, *LIVE)
    assert outcome.code == 0, outcome.err
    (_, picture), (outcome, film) = animate(*whole, driving=sample[0], name="a.png"), animate(*whole, driving=file)
    assert outcome.code == 0, outcome.err
    assert np.array_equal(frames_of(film), read_image(picture)[None])
    outcome, film = animate(*whole, reference=sample[1], driving=file)
    assert len(frames_of(film)) == len(frames_of(sample[1])), "all of a source video"


def test_motion_of_the_other_system_gives_its_head_alone(animate, tmp_path):
    file = tmp_path / "talk.safetensors"
    save_motion(file, hybrid(3), {"rate": "25"})
    outcome, _ = animate("--detector", "none", driving=file)
    assert outcome.code == InputError.exit_code
    assert "holds the motion of personalive" in outcome.err
    outcome, path = animate("--detector", "none", "--region", "pose", driving=file)
    assert outcome.code == 0, outcome.err
    assert len(frames_of(path)) == 3


def test_a_template_is_never_read(animate, tmp_path):
    file = tmp_path / "talk.pkl"
    file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    outcome, _ = animate(driving=file)
    assert outcome.code == InputError.exit_code
    assert "is a pickle, which can run programs and is never read" in outcome.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            "--steps 8",
            "--steps belongs to personalive and hunyuan, got --system liveportrait: leave it out",
        ),
        ("--size 256", "--size belongs to personalive and hunyuan"),
        ("--accept-hunyuan-licence", "--accept-hunyuan-licence belongs to hunyuan"),
        ("--reference-crop 0,0,9,9", "--reference-crop belongs to personalive"),
        ("--expression 0", "--expression belongs to personalive"),
        ("--multiplier 3", "argument --multiplier/--driving-multiplier: expected a number from 0 to 2, got '3'"),
        (
            "--kj-mode off --region lip",
            "off takes over all of the face in its own way: leave the region at all",
        ),
        ("--kj-mode off --animal", "leave --region, --absolute and --kj-mode out"),
        ("--close-lips --animal --detector none", "how open an animal's eyes and lips are is not known: leave them as"),
        ("--kj-mode fast", "argument --kj-mode: invalid choice: 'fast'"),
        ("--kj-mode source_video_smoothed --detector none", "is for a source video, and the source is a picture"),
        ("--system personalive --kj-mode off", "--kj-mode belongs to liveportrait, got --system personalive"),
        ("--region nose", "argument --region: invalid choice: 'nose'"),
        ("--reference-points 1,2,3,4", "argument --reference-points: expected X,Y,... in pixels of 5, 9, 68"),
        ("--system personalive --absolute", "--absolute belongs to liveportrait, got --system personalive"),
        ("--system personalive --region lip", "--region belongs to liveportrait"),
    ],
)
def test_options_of_the_other_system_are_refused(animate, more, words):
    outcome, _ = animate(*more.split())
    assert outcome.code == InputError.exit_code
    assert words in outcome.err


def test_what_is_missing_is_said_before_any_work(animate, personalive, sample, tmp_path):
    files = ("--reference", sample[0], "--driving", sample[1], "--output", tmp_path / "out.mp4")
    outcome = personalive("animate", *files, "--weights", tmp_path, *LIVE)
    assert outcome.code == WeightsError.exit_code
    assert "appearance_feature_extractor" in outcome.err
    outcome, path = animate()  # square as it is, a source picture is cropped to its face
    assert outcome.code == WeightsError.exit_code
    assert "needs YuNet" in outcome.err
    assert not path.exists()


def test_an_animals_nine_points(animate):
    nine = "40,24,36,24,28,24,24,24,32,32,28,38,36,38,32,37,32,41"
    outcome, path = animate("--animal", "--reference-points", nine, "--frames", "2", "--paste-back")
    assert outcome.code == 0, outcome.err
    assert len(frames_of(path)) == 2


def test_an_animals_box_places_its_crop_alone(animate, weights, live_cases):
    """The network of 203 landmarks knows people: on an animal's face it would move the crop."""
    path, made = weights / "liveportrait" / "landmark.onnx", []
    usual = path.read_bytes()
    wide = (0.5 + 0.5 * live_cases.unit_face(203, 0.3, 0.2)).astype(np.float32)
    try:
        for network in (usual, landmark_onnx(wide)):
            path.write_bytes(network)
            outcome, result = animate("--animal", "--reference-box", BOX, "--driving-box", BOX, "--frames", "1")
            assert outcome.code == 0, outcome.err
            made.append(frames_of(result))
    finally:
        path.write_bytes(usual)
    assert np.array_equal(*made)


def test_check_measures_the_networks(personalive, weights, tmp_path):
    sheet = tmp_path / "check.png"
    outcome = personalive("check", "--weights", weights, "--sheet", sheet, "--json", *LIVE)
    told = json.loads(outcome.out)
    figures = {finding["name"]: finding for finding in told["findings"]}
    assert outcome.code == 1  # stand-in weights paint no portrait
    assert figures["networks loaded"]["figure"] == 5
    assert figures["networks loaded"]["good"]
    assert not figures["reconstruction, dB"]["good"]
    assert figures["answer to another pose, dB"]["good"]
    assert sheet.stat().st_size
    outcome = personalive("check", "--weights", weights, "--sheet", sheet, "--size", "256", *LIVE)
    assert "--size belongs to personalive" in outcome.err


@pytest.mark.parametrize(("given", "alone"), [(("--expression", "0"), True), ((), False)])
def test_without_expression_the_first_system_needs_a_head_alone(personalive, monkeypatch, sample, given, alone):
    jobs = []
    monkeypatch.setattr(animate_command, "result_of", lambda job: jobs.append(job) or Result("done"))
    files = ("--reference", sample[0], "--driving", sample[1], "--output", "out.mp4")
    assert personalive("animate", *files, "--device", "cpu", *given).code == 0
    assert jobs[0].clip.head_alone is alone
