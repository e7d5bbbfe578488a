"""`personalive batch` without a cluster: what the rows are, what a worker makes, and what is refused."""

import json
import shutil
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from personalive_core.animation import engine as engine_module
from personalive_core.animation.liveportrait_engine import LivePortraitEngine
from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.batch.board import BAD, MADE, OUTPUT, READ, SHORT_OF_MEMORY, TROUBLE, Row
from personalive_core.batch.drive import Event
from personalive_core.batch.ray_pool import Cluster
from personalive_core.commands import batch as batch_command
from personalive_core.commands import batch_worker
from personalive_core.commands.batch_options import base_of, own_suffix, row_arguments, row_options
from personalive_core.commands.batch_worker import RowWorker, outcome_of
from personalive_core.errors import FaceError, InputError, OutputError, WeightsError
from personalive_core.media.video import read_frames
from tests.backends.liveportrait.tiny import tiny_states, write_hub
from tests.live.toy_liveportrait import ToyLive


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture
def files(tmp_path, sample):
    """Two references and two drivings."""
    portrait, film = sample
    for folder, source, names in (("refs", portrait, ("anna", "bert")), ("drvs", film, ("nod", "talk"))):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(source, tmp_path / folder / f"{name}{source.suffix}")
    return tmp_path


def pairs(files, *more):
    return ("batch", "--references", files / "refs", "--drivings", files / "drvs", "--output", files / "out", *more)


def frames(path):
    return np.stack([frame.image for frame in read_frames(path)])


@pytest.fixture
def parsed():
    """The arguments of a batch, parsed."""
    from personalive_core.cli import build_parser

    return lambda *words: build_parser(["batch"]).parse_args([str(word) for word in words])


@pytest.fixture
def in_process(monkeypatch):
    """The command's actors are two workers in this process, one after the other."""

    class Pool:
        def __init__(self, _cluster, kind, arguments, *_):
            self.workers = {"one": kind(**arguments), "two": kind(**arguments)}
            self.events = []

        def free(self):
            return [*self.workers]

        def alive(self):
            return [*self.workers]

        def start(self, worker, task, place):
            call = {"reference": task.row.reference, "driving": task.row.driving, "options": task.row.options}
            if task.reads:
                outcome, motion = self.workers[worker].read(call)
                outcome = outcome.__class__(**{**vars(outcome), "motion": motion})
            else:
                outcome = self.workers[worker].make(call, str(place), task.motion, task.lean)
            self.events.append(Event(worker, outcome))

        def wait(self, _):
            events, self.events = self.events, []
            return events

        def close(self):
            pass

    monkeypatch.setattr(batch_command, "RayPool", Pool)
    monkeypatch.setattr(batch_command, "connect", lambda _: Cluster(None, "", 0, 2))


# --- rows


def test_every_reference_with_every_driving(personalive, files):
    outcome = personalive(*pairs(files, "--dry-run"))
    assert [line.split() for line in outcome.out.splitlines()[1:]] == [
        [f"{face}__{film}", "5"] for film in ("nod", "talk") for face in ("anna", "bert")
    ]


def test_a_row_has_its_own_options(personalive, files):
    table = files / "rows.csv"
    table.write_text(
        "reference,driving,seed,paste-back,frames\nrefs/anna.png,drvs/nod.mp4,7,yes,2\nrefs/anna.png,drvs/nod.mp4,8,no,\n"
    )
    outcome = personalive("batch", "--csv", table, "--output", files / "out", "--dry-run")
    names = [line.split() for line in outcome.out.splitlines()[1:]]
    assert names[0] == ["anna__nod", "2"]
    assert names[1][0].startswith("anna__nod_")
    assert names[1][1] == "5"


def test_a_manifest_says_the_same(personalive, files):
    manifest = files / "rows.jsonl"
    manifest.write_text('{"reference": "refs/anna.png", "driving": "drvs/nod.mp4", "seed": 7, "mark": true}\n\n')
    assert "anna__nod" in personalive("batch", "--manifest", manifest, "--output", files / "out", "--dry-run").out


def test_a_name_in_a_manifest_may_hold_what_ends_lines_elsewhere(personalive, files):
    odd = files / "refs" / "an\u2028na.png"
    odd.write_bytes((files / "refs" / "anna.png").read_bytes())
    line = '{"reference": "refs/an\u2028na.png", "driving": "drvs/nod.mp4"}'
    manifest = files / "rows.jsonl"
    manifest.write_bytes(f"{line}\r\n{line.replace('nod', 'talk')}\r{line}".encode())
    outcome = personalive("batch", "--manifest", manifest, "--output", files / "out", "--dry-run")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no json", "line 1: no JSON object"),
        ('{"reference": "refs/anna.png", "driving": "drvs/nod.mp4", "sede": 1}', "'sede' is no option"),
        ('{"reference": "refs/none.png", "driving": "drvs/nod.mp4"}', "no such file as the reference"),
        ('{"reference": "refs/anna.png"}', "names no driving"),
        ('{"reference": "refs/anna.png", "driving": "drvs/nod.mp4", "steps": 3}', "steps"),
        ('{"reference": "refs/anna.png", "driving": "drvs/nod.mp4", "mark": "maybe"}', "is yes or no"),
        ('{"reference": "refs/anna.png", "driving": "drvs/nod.mp4", "eyes": true}', "--eyes belongs to liveportrait"),
        ("", "has no rows"),
    ],
)
def test_a_bad_manifest_is_refused_in_words(personalive, files, line, said):
    manifest = files / "rows.jsonl"
    manifest.write_text(line + "\n")
    outcome = personalive("batch", "--manifest", manifest, "--output", files / "out", "--dry-run")
    assert outcome.code == InputError.exit_code
    assert said in outcome.err


def test_what_is_not_clear_is_refused(personalive, files):
    assert personalive("batch", "--output", files / "out").code == InputError.exit_code
    assert personalive("batch", "--references", files / "refs", "--output", files / "o").code == InputError.exit_code
    assert "--sheet is one file" in personalive(*pairs(files, "--sheet", "x.png")).err


def test_missing_weights_are_said_before_anything_starts(personalive, files):
    outcome = personalive(*pairs(files, "--weights", files / "none", "--quiet"))
    assert outcome.code == WeightsError.exit_code
    assert not (files / "out").exists()


def test_without_ray_it_says_how_to_install_it(personalive, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = personalive(*pairs(files, "--quiet", "--weights", SHIPPED["small"]))
    assert outcome.code == InputError.exit_code
    assert "pip install .[cluster]" in outcome.err


def test_a_row_names_its_face_in_its_own_way(parsed, files):
    """Where all rows have a square by hand, a row with a face's box is not animated in that square."""
    base = base_of(parsed(*pairs(files, "--reference-crop", "0,0,30,30")))
    box, face, other = (
        row_arguments(base, row, ("r.png", "d.mp4", "o.mp4"))
        for row in ((("reference-box", "1,2,30,31"),), (("reference-face", "left"),), (("seed", "9"),))
    )
    assert (box.reference_crop, box.reference_box.right) == (None, 30)
    assert (face.reference_crop, face.reference_face) == (None, "left")
    assert other.reference_crop.right == 30


def test_a_row_overrides_what_all_rows_have(parsed, files):
    base = base_of(parsed(*pairs(files, "--seed", "3", "--mark", "--rotation", "0.5")))
    a = row_arguments(base, (("seed", "9"), ("mark", "no"), ("driving-box", "1,2,30,31")), ("r.png", "d.mp4", "o.mp4"))
    assert (a.seed, a.mark, a.rotation, a.driving_box.left, str(a.output)) == (9, False, 0.5, 1.0, "o.mp4")
    assert "crop-scale" in row_options()
    assert "device" not in row_options()


# --- what a worker makes


@pytest.fixture(scope="module")
def small():
    """The small model is loaded once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "load_model", cache(engine_module.load_model))
        yield


@pytest.fixture
def worker(parsed, files, small):  # noqa: ARG001 - the networks are there
    """A worker with the small model's networks."""
    a = parsed(
        *pairs(files, "--weights", SHIPPED["small"], "--size", 64, "--lossless", "--device", "cpu", "--no-audio")
    )
    (files / "out").mkdir()
    return RowWorker(base_of(a), str(files / "out"))


def call(files, face="anna", film="nod", *options):
    return {"reference": files / "refs" / f"{face}.png", "driving": files / "drvs" / f"{film}.mp4", "options": options}


@pytest.mark.parametrize("option", [("smooth", "2"), ("missing-face", "neutral")])
def test_a_shared_motion_gives_the_same_frames_to_the_bit(worker, files, option):
    outcome, film = worker.read(call(files, "bert", "nod", option))
    assert (outcome.kind, len(film)) == (READ, outcome.frames)
    alone = worker.make(call(files, "anna", "nod", option), str(files / "alone.mkv"), None)
    shared = worker.make(call(files, "anna", "nod", option), str(files / "shared.mkv"), film)
    assert alone.kind == shared.kind == MADE
    np.testing.assert_array_equal(frames(files / "alone.mkv"), frames(files / "shared.mkv"))
    assert shared.frames == outcome.frames


def test_networks_are_loaded_and_a_reference_is_encoded_once(worker, files, monkeypatch):
    loads = []
    real = engine_module.load_model
    monkeypatch.setattr(engine_module, "load_model", lambda *a: loads.append(a) or real(*a))
    for number, (face, film, seed) in enumerate([("anna", "nod", 1), ("anna", "talk", 2), ("bert", "nod", 3)]):
        made = worker.make(
            call(files, face, film, ("seed", str(seed)), ("frames", "1")), str(files / f"{number}.mkv"), None
        )
    assert (len(loads), made.loads, made.faces) == (1, 1, 2)
    lean = worker.make(call(files, "bert", "nod", ("frames", "1")), str(files / "lean.mkv"), None, lean=True)
    assert (len(loads), lean.faces) == (2, 3)


def test_the_peak_is_that_of_the_device_that_works(parsed, files, small, monkeypatch):  # noqa: ARG001 - as above
    """On doubles of two cards: the second works."""
    asked = []
    monkeypatch.setattr(batch_worker, "pick_device", torch.device)
    monkeypatch.setattr(batch_worker, "peak_memory", lambda device: asked.append(device) or 5)
    a = parsed(*pairs(files, "--device", "cuda:1"))
    figures = RowWorker(base_of(a), str(files))._figures(a)
    assert (figures["peak_memory"], asked) == (5, [torch.device("cuda:1")])


def test_a_failed_row_leaves_no_file(worker, files):
    (files / "refs" / "anna.png").write_bytes(b"not a picture")
    outcome = worker.make(call(files), str(files / "out" / "x.mkv"), None)
    assert (outcome.kind, outcome.exit_code) == (BAD, InputError.exit_code)
    (files / "drvs" / "nod.mp4").write_bytes(b"not a film")
    assert worker.read(call(files))[0].kind == BAD
    assert not [*(files / "out").iterdir()]


def test_a_machine_without_the_folder_gets_no_work(worker, files):
    assert "CPU (3)" in worker.hello(3)
    (files / "out").rmdir()
    with pytest.raises(InputError, match="mount the same folders"):
        worker.hello(3)


def test_errors_by_what_may_be_done():
    assert outcome_of(RuntimeError("CUDA out of memory. Tried to allocate")).kind == SHORT_OF_MEMORY
    assert "--decoder" not in outcome_of(RuntimeError("CUDA out of memory. Tried"), "hunyuan").reason
    assert outcome_of(OutputError("x cannot be written: free space")).kind == OUTPUT
    assert outcome_of(OSError(28, "No space left on device", "x.mp4")).kind == OUTPUT
    assert outcome_of(OSError(5, "Input/output error", "x.mp4")).kind == TROUBLE
    assert outcome_of(FaceError("no face: x")).exit_code == FaceError.exit_code
    assert "this is a bug (KeyError" in outcome_of(KeyError("x")).reason


def test_liveportrait_shares_motion_too(parsed, files, synth, tmp_path):
    weights = write_hub(tmp_path / "weights", tiny_states(synth))
    options = ("--system", "liveportrait", "--precision", "fp32", "--device", "cpu", "--detector", "none")
    a = parsed(*pairs(files, "--weights", weights, *options, "--lossless", "--frames", 1))
    (files / "out").mkdir()
    worker = RowWorker(base_of(a), str(files / "out"))
    outcome, film = worker.read(call(files, "bert"))
    assert outcome.kind == READ, outcome.reason
    made = [worker.make(call(files), str(files / f"{name}.mkv"), shared) for name, shared in (("a", None), ("b", film))]
    assert [one.kind for one in made] == [MADE, MADE]
    np.testing.assert_array_equal(frames(files / "a.mkv"), frames(files / "b.mkv"))


@pytest.mark.usefixtures("in_process")
def test_a_picture_that_a_picture_drives_gives_a_picture(personalive, files, synth, tmp_path, monkeypatch):
    """With LivePortrait; a film, motion, or a reference that is a film gives a film."""
    monkeypatch.setattr(LivePortraitEngine, "load", lambda _: ToyLive())
    weights = write_hub(tmp_path / "weights", tiny_states(synth))
    shutil.copy(files / "refs" / "bert.png", files / "drvs" / "smile.png")
    table = files / "rows.csv"
    table.write_text("reference,driving,frames\nrefs/anna.png,drvs/smile.png,\nrefs/anna.png,drvs/nod.mp4,1\n")
    words = ("--weights", weights, "--system", "liveportrait", "--device", "cpu", "--detector", "none", "--json")
    outcome = personalive("batch", "--csv", table, "--output", files / "out", *words)
    result = json.loads(outcome.out)
    assert [row["files"] for row in result["rows"]] == [["anna__smile.png"], ["anna__nod.mp4"]], result
    assert next(read_frames(files / "out" / "anna__smile.png")).image.shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("system", "reference", "driving", "suffix"),
    [
        ("liveportrait", "refs/anna.png", "refs/bert.png", ".png"),
        ("personalive", "refs/anna.png", "refs/bert.png", ""),
        ("liveportrait", "drvs/nod.mp4", "refs/bert.png", ""),
        ("liveportrait", "refs/anna.png", "drvs/nod.mp4", ""),
        ("liveportrait", "refs/anna.png", "nod.safetensors", ""),
        ("liveportrait", "refs/anna.png", "broken.png", ""),
    ],
)
def test_only_a_picture_that_liveportrait_makes_has_its_own_suffix(files, system, reference, driving, suffix):
    for name in ("nod.safetensors", "broken.png"):
        (files / name).write_bytes(b"nothing")
    row = Row("row", "key", files / reference, files / driving, (("system", system),), None, "face", "motion")
    assert own_suffix({"system": "personalive"}, row) == suffix
    assert own_suffix({"system": system}, replace(row, options=())) == suffix


# --- the whole command


@pytest.mark.usefixtures("in_process", "small")
def test_the_command_makes_every_row_and_says_what_failed(personalive, files):
    (files / "refs" / "bert.png").write_bytes(b"not a picture")
    words = pairs(files, "--weights", SHIPPED["small"], "--size", 64, "--device", "cpu", "--frames", 1, "--json")
    outcome = personalive(*words)
    assert outcome.code == 1
    result = json.loads(outcome.out)
    assert {row["row"]: row["files"] for row in result["rows"]} == {
        "anna__nod": ["anna__nod.mp4"],
        "bert__nod": [],
        "anna__talk": ["anna__talk.mp4"],
        "bert__talk": [],
    }
    assert result["failed"] == 2
    assert sum(worker["motions"] for worker in result["workers"].values()) == 2
    assert result["frames"] == 2
    assert "bert__nod" in outcome.err
    left = sorted(path.name for path in (files / "out").iterdir() if path.name != ".lock")
    assert left == ["anna__nod.mp4", "anna__talk.mp4", "batch.jsonl"]
    again = json.loads(personalive(*words).out)
    assert (again["frames"], again["failed"]) == (0, 2)
