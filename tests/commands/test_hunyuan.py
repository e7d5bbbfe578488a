"""animate, motion, check, convert, info and download with --system hunyuan, of networks that stand in for it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.animation import driving as animation_driving
from personalive_core.animation import hunyuan_engine, hunyuan_job
from personalive_core.backends.hunyuan.files import HUNYUAN_FILES
from personalive_core.backends.hunyuan.motion_files import HUNYUAN_MOTION
from personalive_core.backends.hunyuan.types import HunyuanMotion
from personalive_core.batch.board import MADE, READ, SHORT_OF_MEMORY
from personalive_core.cli import build_parser
from personalive_core.commands import check
from personalive_core.commands.batch_options import base_of
from personalive_core.commands.batch_worker import RowWorker
from personalive_core.commands.motion import plot_of
from personalive_core.errors import FaceError, InputError, WeightsError
from personalive_core.faces.crop import Box, Face
from personalive_core.media.files import partial_path
from personalive_core.media.picture import read_image, write_image
from personalive_core.media.video import probe, read_frames, read_label
from personalive_core.media.write import VideoWriter, WriteOptions
from personalive_core.motion.files import read_kind, save_motion
from personalive_core.motion.types import concat_motion
from tests.backends.hunyuan.people import FILM, HEIGHT, LEFT, PORTRAIT, RIGHT, WIDTH, detect, picture_of
from tests.backends.hunyuan.standin import FACE, standin
from tests.motion.samples import motion as hybrid

ACCEPTED = "--accept-hunyuan-licence"
SYSTEM = ("--system", "hunyuan", "--device", "cpu", "--precision", "fp32", "--size", "64")
SAID = "for academic, research and education purposes only: never for commercial use, and never in production"
FORBIDDEN = f"{SAID}; it was not accepted: accept the licence (--accept-hunyuan-licence"


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def vivid(**others):
    """The stand-in, whose motion shows how bright the face is."""
    whole = standin()

    def read(faces, heads):
        expression, angles = whole.read(faces, heads)
        return 20 * (expression - 0.5), angles

    return SimpleNamespace(**{**vars(whole), "read": read, **others})


@pytest.fixture
def weights(tmp_path):
    """Files that are there, and are never read."""
    folder = tmp_path / "weights"
    for file in HUNYUAN_FILES:
        (folder / file.place).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.place).touch()
    return folder


@pytest.fixture
def found():
    """What the detector finds in one picture after the other; then always FACE."""
    return []


@pytest.fixture
def loads(monkeypatch, found):
    """Counts what is loaded; networks and detector are stand-ins."""
    made = []

    def detect(_):
        return found.pop(0) if found else FACE

    def load(*_):
        made.append(vivid())
        return made[-1]

    monkeypatch.setattr(hunyuan_engine, "load_hunyuan", load)
    for module in (animation_driving, hunyuan_job):
        monkeypatch.setattr(module, "find_detector", lambda name, *_: None if name == "none" else detect)
    return made


@pytest.fixture
def animate(personalive, sample, weights, tmp_path, loads):  # noqa: ARG001 - nothing is loaded from the files
    def run(*more, driving=sample[1], name="out.mkv", accepted=(ACCEPTED,)):
        files = ("--reference", sample[0], "--driving", driving, "--output", tmp_path / name)
        given = ("--weights", weights, "--json", "--lossless", "--steps", "2", *SYSTEM, *accepted)
        return personalive("animate", *files, *given, *more), tmp_path / name

    return run


def frames_of(path):
    return np.stack([frame.image for frame in read_frames(path)])


def test_a_portrait_is_animated(animate, sample, tmp_path):
    outcome, path = animate("--sheet", tmp_path / "sheet.png")
    assert outcome.code == 0, outcome.err
    told, count = json.loads(outcome.out), len(frames_of(sample[1]))
    assert (told["frames"], told["size"], told["filled"]) == (count, [64, 64], 0)
    assert frames_of(path).shape == (count, 64, 64, 3)
    assert probe(path).rate == probe(sample[1]).rate
    assert probe(path).has_audio
    label = read_label(path)
    assert (label["system"], label["steps"], label["seed"], label["paste"]) == ("hunyuan", "2", "0", "square")
    assert (tmp_path / "sheet.png").stat().st_size
    assert "step 2/2" in outcome.err
    assert "segment 1/1" in outcome.err


def test_pasted_back_the_rest_stays(animate, sample):
    outcome, path = animate("--paste-back", "--frames", "2")
    assert outcome.code == 0, outcome.err
    still, frames = read_image(sample[0]), frames_of(path)
    assert frames.shape[1:] == still.shape
    assert np.array_equal(frames[:, 0], np.broadcast_to(still[0], frames[:, 0].shape))
    assert not np.array_equal(frames[1], still)
    assert read_label(path)["paste"] == "matched"


def test_options_change_the_result(animate):
    ways = [
        (),
        ("--seed", "1"),
        ("--steps", "3"),
        ("--guidance", "90,2"),
        ("--motion-guidance", "3,1"),
    ]
    results = []
    for way in ways:
        outcome, path = animate(*way)
        assert outcome.code == 0, outcome.err
        results.append(frames_of(path).tobytes())
    assert len(set(results)) == len(results)
    outcome, path = animate("--segment", "4")  # of five frames: with stand-ins no seam is seen
    assert "segment 2/2" in outcome.err
    assert frames_of(path).tobytes() == results[0]


def test_frames_without_a_face_are_filled_as_asked(animate, found):
    results = []
    lower = (Face(Box(22, 30, 42, 54), 1.0, tuple((x, y + 10) for x, y in FACE[0].points)),)
    for policy in ("hold", "interpolate", "neutral"):
        # three times the reference, once more as its own motion; then the driving: a face, a gap of two, another face
        found[:] = [FACE] * (4 if policy == "neutral" else 3) + [FACE, (), (), lower]
        outcome, path = animate("--frames", "4", "--missing-face", policy)
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["filled"] == 2
        results.append(frames_of(path)[1].tobytes())
    assert len(set(results)) == 3
    found[:] = [FACE] * 4 + [()]
    outcome, _ = animate("--frames", "4", "--missing-face", "error")
    assert outcome.code == FaceError.exit_code
    assert "no face in driving frame 1" in outcome.err


def test_what_was_made_stays_when_it_is_stopped(animate, monkeypatch):
    calls = []
    whole = standin().velocity

    def stopped(*given):
        calls.append(given)
        if len(calls) > 2 * 2:  # two windows hold 4 + 30 frames: the second segment is at work
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(hunyuan_engine, "load_hunyuan", lambda *_: vivid(velocity=stopped))
    outcome, path = animate("--segment", "4", "--frames", "5")
    assert outcome.code == 130
    assert not path.exists()
    assert 0 < len(frames_of(partial_path(path))) < 5


def test_motion_is_extracted_once_and_used_again(animate, personalive, sample, weights, tmp_path):
    file, plot = tmp_path / "talk.safetensors", tmp_path / "talk.png"
    given = ("--driving", sample[1], "--output", file, "--weights", weights, "--plot", plot)
    outcome = personalive("motion", *given, *SYSTEM)
    assert outcome.code == InputError.exit_code
    assert FORBIDDEN in outcome.err
    outcome = personalive("motion", *given, *SYSTEM, ACCEPTED)
    assert outcome.code == 0, outcome.err
    assert np.array_equal(read_image(plot), plot_of(file, "hunyuan"))
    assert len(read_kind(HUNYUAN_MOTION, file).motion) == len(frames_of(sample[1]))
    one, other = animate(name="a.mkv"), animate(driving=file, name="b.mkv")
    assert other[0].code == 0, other[0].err
    assert np.array_equal(frames_of(one[1]), frames_of(other[1]))
    save_motion(file, hybrid(3), {"rate": "25"})
    outcome, _ = animate(driving=file)
    assert "holds the motion of personalive, expected that of hunyuan" in outcome.err


def test_nothing_loads_without_the_licence(animate, personalive, weights, loads, tmp_path):
    outcome, path = animate(accepted=())
    assert outcome.code == InputError.exit_code
    assert FORBIDDEN in outcome.err
    for command in ("check", "convert"):
        size = SYSTEM if command == "check" else SYSTEM[:2]
        outcome = personalive(command, "--weights", weights, *size)
        assert outcome.code == InputError.exit_code
        assert FORBIDDEN in outcome.err
    assert not loads
    assert not list(tmp_path.glob("*.safetensors"))
    assert not path.exists()


def test_the_switch_says_what_may_not_be_done(personalive, capsys):
    for command in ("animate", "motion", "check", "convert"):
        with pytest.raises(SystemExit):
            personalive(command, "--help")
        assert SAID in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--decoder tiny", "--decoder belongs to personalive, got --system hunyuan"),
        ("--lora x", "--lora belongs to personalive, got --system hunyuan"),
        ("--expression 0", "--expression belongs to personalive"),
        ("--region lip", "--region belongs to liveportrait, got --system hunyuan"),
        ("--driving-box 0,0,9,9", "--driving-box belongs to personalive and liveportrait, got --system hunyuan: leave"),
        ("--reference-face 1", "the portrait shows 1 face, and face 1 from the left, 0 first, is not among them"),
        ("--reference-box 0,0,9,9", "--reference-box belongs to personalive and liveportrait"),
        ("--speed compiled", "HunyuanPortrait runs at speed auto, plain, fp8, got compiled: choose one of these"),
        ("--detector none", "around five points of the face: leave --detector out, or name yunet"),
        ("--guidance 2", "argument --guidance: expected 2 numbers with commas between, got '2'"),
        ("--guidance 2,-1", "argument --guidance: expected a number 0 or more, got '-1'"),
        ("--segment 1", "argument --segment: expected a number 2 or more, got '1'"),
        ("--system personalive --segment 9", "--accept-hunyuan-licence belongs to hunyuan, got --system personalive"),
    ],
)
def test_options_of_other_systems_are_refused(animate, loads, more, words):
    outcome, path = animate(*more.split())
    assert outcome.code in (InputError.exit_code, FaceError.exit_code)
    assert words in outcome.err
    assert not loads
    assert not path.exists()


@pytest.fixture
def crowd(animate, monkeypatch, tmp_path):
    """Animates a portrait of two people by a film of two, whose motion shows which face was read."""
    for module in (animation_driving, hunyuan_job):
        monkeypatch.setattr(module, "find_detector", lambda *_: detect)
    portrait, film = tmp_path / "two.png", tmp_path / "two.mkv"
    write_image(portrait, PORTRAIT)
    with VideoWriter(film, (WIDTH, HEIGHT), WriteOptions(lossless=True)) as writer:
        for frame in FILM:
            writer.write(frame)

    def run(*more):
        return animate("--reference", portrait, *more, driving=film)

    return SimpleNamespace(portrait=portrait, film=film, run=run)


def boxes_in(path):
    read = read_kind(HUNYUAN_MOTION, path).motion
    return [tuple(box) for box, seen in zip(read.box.tolist(), read.valid.tolist(), strict=True) if seen]


def test_a_face_is_chosen_in_the_portrait_and_in_the_driving(crowd):
    outcome, path = crowd.run("--reference-face", "1", "--face", "left", "--paste-back", "--frames", "3")
    assert outcome.code == 0, outcome.err
    changed = abs(frames_of(path).astype(int) - PORTRAIT).max((0, 3))
    own, other = Box(*RIGHT[0]).centre, Box(*LEFT[0]).centre
    assert changed[int(own[1]), int(own[0])] > 20
    assert changed[int(other[1]), int(other[0])] < 8
    squares = [frames_of(crowd.run("--face", choice, "--frames", "3")[1]) for choice in ("left", "1")]
    assert not np.array_equal(*squares)


def test_the_chosen_person_is_followed_into_a_motion_file(crowd, personalive, weights, tmp_path):
    for choice, person in (("largest", LEFT), ("1", [box for box in RIGHT if box])):
        file = tmp_path / f"{choice}.safetensors"
        given = ("--driving", crowd.film, "--output", file, "--weights", weights, "--face", choice)
        outcome = personalive("motion", *given, *SYSTEM, ACCEPTED)
        assert outcome.code == 0, outcome.err
        assert boxes_in(file) == person


def test_the_references_own_motion_is_that_of_its_face(crowd, monkeypatch):
    """Whatever face of the driving is followed: the reference may show one alone."""
    own, fill = [], hunyuan_job.fill_missing
    monkeypatch.setattr(hunyuan_job, "fill_missing", lambda *given: own.append(given[2]) or fill(*given))
    write_image(crowd.portrait, picture_of(LEFT[0], None))
    outcome, _ = crowd.run("--face", "1", "--missing-face", "neutral")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["filled"] == 2
    assert own[0].box.tolist() == [list(LEFT[0])]


def test_rows_of_a_batch_have_their_own_faces(crowd, weights, tmp_path):
    words = ("--references", tmp_path, "--drivings", tmp_path, "--output", tmp_path, "--weights", weights)
    a = build_parser(["batch"]).parse_args(["batch", *map(str, (*words, *SYSTEM, ACCEPTED, "--steps", "2"))])
    worker, films = RowWorker(base_of(a), str(tmp_path)), []
    for choice in ("left", "1"):
        options = (("face", choice), ("reference-face", choice))
        call = {"reference": crowd.portrait, "driving": crowd.film, "options": options}
        outcome, film = worker.read(call)
        assert outcome.kind == READ, outcome.reason
        films.append(film)
        made = worker.make(call, str(tmp_path / f"{choice}.mkv"), film)
        assert (made.kind, made.faces) == (MADE, len(films)), made
    seen = [concat_motion(film.pieces(HunyuanMotion)).box[0].tolist() for film in films]
    assert seen == [list(LEFT[0]), list(RIGHT[0])]


def test_live_sessions_do_not_have_it(personalive):
    outcome = personalive("live", "--system", "hunyuan")
    assert outcome.code == InputError.exit_code
    assert "argument --system: invalid choice: 'hunyuan'" in outcome.err


def test_a_batch_reads_a_driving_once_and_keeps_the_networks(weights, sample, tmp_path, loads):
    words = ("--references", tmp_path, "--drivings", tmp_path, "--output", tmp_path, "--weights", weights)
    given = (*words, *SYSTEM, ACCEPTED, "--steps", "2", "--lossless", "--missing-face", "neutral")
    a = build_parser(["batch"]).parse_args(["batch", *map(str, given)])
    worker, call = RowWorker(base_of(a), str(tmp_path)), {"reference": sample[0], "driving": sample[1], "options": ()}
    outcome, film = worker.read(call)
    assert outcome.kind == READ, outcome.reason
    made = [worker.make(call, str(tmp_path / f"{name}.mkv"), read) for name, read in (("alone", None), ("read", film))]
    assert [one.kind for one in made] == [MADE, MADE], made
    assert np.array_equal(frames_of(tmp_path / "alone.mkv"), frames_of(tmp_path / "read.mkv"))
    assert len(loads) == 1


def test_a_row_that_lacks_memory_names_options_of_its_system(weights, sample, tmp_path, loads, monkeypatch):  # noqa: ARG001
    def lacking(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr(hunyuan_engine, "load_hunyuan", lacking)
    words = ("--references", tmp_path, "--drivings", tmp_path, "--output", tmp_path, "--weights", weights)
    a = build_parser(["batch"]).parse_args(["batch", *map(str, words), "--device", "cpu", "--size", "64", ACCEPTED])
    row = {"reference": sample[0], "driving": sample[1], "options": (("system", "hunyuan"),)}
    worker = RowWorker(base_of(a), str(tmp_path))
    for outcome in (worker.read(row)[0], worker.make(row, str(tmp_path / "x.mkv"), None)):
        assert outcome.kind == SHORT_OF_MEMORY, outcome.reason
        assert "try --speed fp8, --precision fp16 or a smaller --size (CUDA" in outcome.reason


def test_a_batch_needs_the_licence_before_it_begins(personalive, weights, sample, tmp_path, loads):
    table = tmp_path / "rows.csv"
    table.write_text(f"reference,driving\n{sample[0]},{sample[1]}\n")
    outcome = personalive("batch", "--csv", table, "--output", tmp_path / "out", "--weights", weights, *SYSTEM)
    assert outcome.code == InputError.exit_code
    assert FORBIDDEN in outcome.err
    assert not loads


def test_a_portrait_without_a_face_is_refused_before_the_networks_load(animate, found, loads):
    found[:] = [()]
    outcome, path = animate()
    assert outcome.code == FaceError.exit_code
    assert "no face was found in the portrait" in outcome.err
    assert not loads
    assert not path.exists()


def test_weights_are_placed_by_the_user(personalive, sample, tmp_path):
    files = ("--reference", sample[0], "--driving", sample[1], "--output", tmp_path / "out.mp4")
    outcome = personalive("animate", *files, "--weights", tmp_path, *SYSTEM, ACCEPTED)
    assert outcome.code == WeightsError.exit_code
    assert f"get these files from huggingface.co under their licences and put them into {tmp_path}" in outcome.err
    for file in HUNYUAN_FILES:
        assert f"{file.path} of {file.repo} as {file.place}" in outcome.err
    outcome = personalive("download", "--system", "hunyuan", "--weights", tmp_path)
    assert outcome.code == WeightsError.exit_code
    assert "HunyuanPortrait's weights are never downloaded" in outcome.err
    assert SAID in outcome.err
    assert f"put them into {tmp_path}: unet.pth of tencent/HunyuanPortrait as hyportrait/unet.pth" in outcome.err
    for command in ("info", "convert"):
        given = (ACCEPTED,) if command == "convert" else ()
        outcome = personalive(command, "--system", "hunyuan", "--weights", tmp_path / "none", *given)
        assert outcome.code == WeightsError.exit_code
        assert f"the weights folder {tmp_path / 'none'} does not exist: make it, and get these files" in outcome.err


def test_info_lists_files_and_licences(personalive, tmp_path):
    (tmp_path / "hyportrait").mkdir()
    torch.save({"weight": torch.zeros(16, 261), "bias": torch.zeros(16)}, tmp_path / "hyportrait/image_proj.pth")
    outcome = personalive("info", "--system", "hunyuan", "--weights", tmp_path, "--json")
    told = json.loads(outcome.out)
    assert told["memory"]["float32"] == 4 * (16 * 261 + 16)
    rows = {row["network"]: row for row in told["files"]}
    assert rows["image_proj"]["found"]
    assert not rows["unet"]["found"]
    assert "academic, research and education use only" in rows["unet"]["licence"]
    assert "non-commercial research only" in rows["arcface"]["licence"]
    assert {file["place"] for file in told["missing"] if file["needed"]} >= {"hyportrait/unet.pth", "arcface.onnx"}


def test_convert_reads_tensors_alone(personalive, tmp_path):
    (tmp_path / "hyportrait").mkdir()
    path = tmp_path / "hyportrait/image_proj.pth"
    torch.save({"weight": torch.zeros(16, 261), "bias": torch.zeros(16)}, path)
    outcome = personalive("convert", "--system", "hunyuan", "--weights", tmp_path, ACCEPTED)
    assert outcome.code == 0, outcome.err
    assert outcome.out.split() == [str(path.with_suffix(".safetensors"))]


def test_check_measures_the_networks(personalive, weights, tmp_path, monkeypatch, loads):
    networks = (torch.nn.Linear(1, 1),)
    monkeypatch.setattr(hunyuan_engine, "load_hunyuan", lambda *_: vivid(networks=networks))
    monkeypatch.setattr(check, "required_yunet", lambda _: None)
    monkeypatch.setattr(check, "YuNetDetector", lambda _: lambda _: FACE)
    sheet = tmp_path / "check.png"
    outcome = personalive("check", "--weights", weights, "--sheet", sheet, "--json", *SYSTEM, ACCEPTED)
    figures = {finding["name"]: finding for finding in json.loads(outcome.out)["findings"]}
    assert outcome.code == 1  # stand-ins paint no portrait
    assert figures["networks loaded"]["figure"] == 1
    assert figures["faces found"]["good"]
    assert not figures["driven by itself, dB"]["good"]
    assert sheet.stat().st_size
    assert not loads
