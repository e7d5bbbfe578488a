"""The command line: what it refuses, what it says, where it says it, and what it ends with."""

import errno
import json
import re
import shutil
import subprocess
import sys

import pytest

from personalive_core.backends.personalive.files import FILES
from personalive_core.cli import build_parser
from personalive_core.commands import download
from personalive_core.commands.result import Result
from personalive_core.errors import FaceError, InputError, NumericalError, OutputError, WeightsError

ANIMATE = ("animate", "--reference", "me.png", "--driving", "talk.mp4", "--output", "out.mp4")


def is_one_line(outcome):
    """One sentence on standard error, nothing else anywhere."""
    return outcome.out == "" and re.fullmatch(r"personalive: \S[^\n]+\n", outcome.err)


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--size 0", "argument --size: expected a number from 1 to 2048, got '0'"),
        ("--size 100", "argument --size: the picture size must be a multiple of 64"),
        ("--size 65536", "argument --size: expected a number from 1 to 2048"),
        ("--size big", "argument --size: expected a whole number, got 'big'"),
        ("--steps 3", "argument --steps: steps must be a multiple of the 4 windows in flight, got 3"),
        ("--steps 0", "argument --steps: expected a number 1 or more"),
        ("--steps 4000", "argument --steps: 4000 steps are more than the 1000 noise levels: use at most 1000"),
        ("--rotation 9", "argument --rotation: expected a number from 0 to 3, got '9'"),
        ("--expression nan", "argument --expression: expected a number from 0 to 3, got 'nan'"),
        ("--translation=-1", "argument --translation: expected a number from 0 to 3"),
        ("--rate 0", "argument --rate: expected frames a second, above 0 and up to 240, got '0'"),
        ("--rate 1/0", "argument --rate: expected frames a second"),
        ("--start inf", "argument --start: expected a number 0 or more"),
        ("--frames 0", "argument --frames: expected a number 1 or more"),
        ("--seed 1.5", "argument --seed: expected a whole number"),
        ("--face middle", "argument --face: the face to follow is"),
        ("--driving-box 1,2,3", "argument --driving-box: expected LEFT,TOP,RIGHT,BOTTOM in pixels, got '1,2,3'"),
        ("--driving-box 1,2,3,x", "argument --driving-box: expected LEFT,TOP,RIGHT,BOTTOM"),
        ("--reference-box 9,0,5,5", "argument --reference-box: a box is left, top, right, bottom"),
        ("--feather 0.7", "argument --feather: expected a number from 0 to 0.5"),
        ("--smooth 0", "argument --smooth: expected a number from 0.01"),
        ("--missing-face guess", "argument --missing-face: invalid choice: 'guess'"),
        ("--device abacus", "device 'abacus' cannot be used here"),
        ("--loud", "unrecognized arguments: --loud"),
    ],
)
def test_nonsense_is_refused_before_anything_is_looked_for(personalive, arguments, words):
    outcome = personalive(*ANIMATE, "--weights", "nowhere", *arguments.split())
    assert outcome.code == InputError.exit_code
    assert is_one_line(outcome)
    assert words in outcome.err


@pytest.mark.parametrize("arguments", [(), ("fly",), ("animate",)])
def test_an_incomplete_command_line_names_the_help(personalive, arguments):
    outcome = personalive(*arguments)
    assert outcome.code == InputError.exit_code
    assert is_one_line(outcome)
    assert f"`{' '.join(['personalive', *(arguments if arguments == ('animate',) else ())])} --help`" in outcome.err


def parsed(line):
    return build_parser(line).parse_args(line)


def test_values_are_read():
    arguments = "--size 128 --steps 8 --rate 30000/1001 --reference-box 1,2,30.5,40 --face 1 --smooth 2"
    a = parsed([*ANIMATE, *arguments.split()])
    assert (a.size, a.steps, a.face, a.smooth) == (128, 8, "1", 2.0)
    assert (float(a.rate), a.reference_box.right) == (pytest.approx(29.97, abs=0.001), 30.5)
    assert str(a.weights) == "pretrained_weights"


# --- results and errors


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of `personalive info`."""
    return lambda work: monkeypatch.setattr("personalive_core.commands.info.run", work)


def raising(error):
    def work(_):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("the sentence"), 2, "personalive: the sentence\n"),
        (FaceError("the sentence"), 3, "personalive: the sentence\n"),
        (WeightsError("the sentence"), 4, "personalive: the sentence\n"),
        (OutputError("the sentence"), 5, "personalive: the sentence\n"),
        (NumericalError("the sentence"), 6, "personalive: the sentence\n"),
        (MemoryError(), 7, "out of memory: try --decoder tiny"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 7, "out of memory: try --decoder tiny"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 7, "out of memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), 1, "this is a bug"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/sheet.png"), 5, "/a/sheet.png cannot be read or written"),
        (OSError("odd"), 5, "a file cannot be read or written (odd)"),
        (
            ZeroDivisionError("division by zero\nmore"),
            1,
            "(ZeroDivisionError: division by zero): run it again with --d",
        ),
        (AssertionError(), 1, "this is a bug (AssertionError: no message)"),
        (KeyboardInterrupt(), 130, "personalive: interrupted\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(personalive, command, error, code, words):
    command(raising(error))
    outcome = personalive("info")
    assert outcome.code == code
    assert is_one_line(outcome)
    assert words in outcome.err
    debugged = personalive("info", "--debug")
    assert debugged.code == code
    assert "Traceback" in debugged.err
    assert words in debugged.err


def test_what_a_library_prints_is_not_the_result(personalive, command):
    def work(_):
        sys.stdout.write("find model: somewhere\n")
        return Result("the words", {"a": 1}, 1)

    command(work)
    assert personalive("info") == (1, "the words\n", "find model: somewhere\n")
    assert personalive("info", "--json") == (1, '{"a": 1}\n', "find model: somewhere\nthe words\n")


def test_as_a_program(repository, tmp_path):
    """The one test in a process of its own: the module runs, the exit code arrives, no traceback."""
    (tmp_path / "me.png").write_text("not a picture")
    (tmp_path / "pretrained_weights").mkdir()
    command = [sys.executable, "-m", "personalive_core", "check", "--reference", "me.png", "--device", "cpu"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(repository)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == WeightsError.exit_code
    assert done.stdout == ""
    assert done.stderr.startswith("personalive: weights are missing: run `personalive download --weights pretrained_w")
    assert "Traceback" not in done.stderr


# --- weights


@pytest.mark.parametrize("line", [ANIMATE, ("motion", *ANIMATE[3:-1], "out.safetensors"), ("info",), ("convert",)])
def test_without_a_weights_folder(personalive, line, tmp_path, monkeypatch, sample):
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample[0], "me.png")
    outcome = personalive(*line)
    assert outcome.code == WeightsError.exit_code
    assert is_one_line(outcome)
    assert "the weights folder pretrained_weights does not exist: run `personalive download" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["me.png"]


@pytest.fixture
def lacking(standin_folder, tmp_path):
    """The stand-in's folder without the pose guider and the tiny decoder."""
    folder = tmp_path / "weights"
    shutil.copytree(standin_folder, folder, symlinks=True, copy_function=lambda a, b: folder.joinpath(b).symlink_to(a))
    (folder / "personalive" / "pose_guider.pth").unlink()
    (folder / "taesd" / "diffusion_pytorch_model.safetensors").unlink()
    return folder


def test_missing_weights_are_named_with_their_places(personalive, lacking):
    outcome = personalive(*ANIMATE, "--weights", lacking)
    assert outcome.code == WeightsError.exit_code
    assert f"`personalive download --weights {lacking}`" in outcome.err
    assert f"looked for {lacking}/personalive/pose_guider.safetensors, " in outcome.err
    assert "taesd" not in outcome.err
    outcome = personalive(*ANIMATE, "--weights", lacking, "--decoder", "tiny")
    assert f"--weights {lacking} --decoder tiny`" in outcome.err
    assert "taesd" in outcome.err


def test_a_command_to_run_has_a_folder_with_a_space_in_quotes(personalive, tmp_path):
    (tmp_path / "my weights").mkdir()
    for folder in (tmp_path / "my weights", tmp_path / "no weights"):
        outcome = personalive(*ANIMATE, "--weights", folder)
        assert f'`personalive download --weights "{folder}"`' in outcome.err


def test_info_says_what_is_there_and_what_is_not(personalive, lacking):
    outcome = personalive("info", "--weights", lacking)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(
        r"reference_unet +\d+\.\d MiB float32 +\S+reference_unet.pth  \[non-commercial: .*Apache-2.0", outcome.out
    )
    assert re.search(r"pose_guider +missing +personalive/pose_guider.pth", outcome.out)
    needed, optional = outcome.out.split("missing, but needed:")[1].split("needed only for some options:")
    assert f"looked for {lacking}/personalive/pose_guider.safetensors" in needed
    assert "taesd" in optional
    assert "base_unet" in optional
    assert re.search(r"memory for these weights: [1-9]\d* MiB in fp16 or bf16, [1-9]\d* MiB in fp32", outcome.out)


def test_info_as_json(personalive, lacking, standin_folder):
    values = json.loads(personalive("info", "--weights", lacking, "--json").out)
    assert [entry["place"] for entry in values["missing"] if entry["needed"]] == ["personalive/pose_guider.pth"]
    assert len(values["files"]) == len([file for file in FILES if not file.is_config])
    assert values["memory"]["float32"] == 2 * values["memory"]["half"]
    whole = json.loads(personalive("info", "--weights", standin_folder, "--json").out)
    assert whole["memory"]["half"] > values["memory"]["half"]
    assert not [entry for entry in whole["missing"] if entry["needed"]]


def test_info_verifies(personalive, lacking):
    assert "verified: 0 downloaded files" in personalive("info", "--weights", lacking, "--verify").out


def test_a_damaged_file_does_not_stop_info(personalive, lacking):
    (lacking / "personalive" / "pose_guider.pth").write_text("damaged")
    outcome = personalive("info", "--weights", lacking)
    assert outcome.code == 0
    assert re.search(r"pose_guider .* unreadable", outcome.out)


@pytest.fixture
def fetched(monkeypatch, standin_folder):
    """Stands for the hub; lists what was asked of it. `missing` gives back what a folder lacks."""
    asked = []

    def fetch(folder, files, *, endpoint, offline, progress):  # noqa: ARG001
        for file in files:
            asked.append(file.place)
            progress(file, 1, 1)
            if (standin_folder / file.place).exists():
                shutil.copy(standin_folder / file.place, folder / file.place)

    monkeypatch.setattr(download, "download", fetch)
    return asked


def test_download_fetches_only_what_is_missing(personalive, lacking, fetched):
    outcome = personalive("download", "--weights", lacking)
    assert (outcome.code, fetched) == (0, ["personalive/pose_guider.pth"])
    assert "1 file fetched, nothing is missing" in outcome.out
    assert "pose_guider.pth: 100%" in outcome.err
    fetched.clear()
    personalive("download", "--weights", lacking, "--decoder", "tiny", "--detector", "--quiet")
    assert fetched == [
        "face_detection_yunet/face_detection_yunet_2026may.onnx",
        "taesd/diffusion_pytorch_model.safetensors",
    ]


def test_the_detector_alone_needs_no_networks(personalive, fetched, tmp_path):
    outcome = personalive("download", "--weights", tmp_path / "weights", "--only", "detector", "--quiet")
    assert (outcome.code, fetched) == (0, ["face_detection_yunet/face_detection_yunet_2026may.onnx"])
    assert "weights: 1 file fetched, the face detector is there" in outcome.out
    fetched.clear()
    (tmp_path / "weights" / "face_detection_yunet_2023mar.onnx").touch()
    outcome = personalive("download", "--weights", tmp_path / "weights", "--only", "detector", "--quiet")
    assert (outcome.code, fetched) == (0, [])
    assert "0 files fetched, the face detector is there" in outcome.out


def test_download_fetches_the_base_network_where_keys_are_missing(personalive, lacking, fetched):
    import torch

    path = lacking / "personalive" / "denoising_unet.pth"
    state = torch.load(path, weights_only=True, mmap=True)
    del state["conv_out.bias"]
    path.unlink()
    torch.save(state, path)
    assert personalive("download", "--weights", lacking, "--quiet").code == 0
    assert [place for place in fetched if "unet/" in place] == [
        file.place for file in FILES if file.network == "base_unet"
    ]


def test_download_into_a_file_is_refused(personalive, tmp_path):
    (tmp_path / "weights").write_text("")
    outcome = personalive("download", "--weights", tmp_path / "weights")
    assert outcome.code == OutputError.exit_code
    assert is_one_line(outcome)


def test_convert_names_what_it_wrote(personalive, standin_folder, tmp_path):
    folder = tmp_path / "weights" / "personalive"
    folder.mkdir(parents=True)
    assert "nothing to convert" in personalive("convert", "--weights", folder.parent).out
    shutil.copy(standin_folder / "personalive" / "motion_extractor.pth", folder)
    assert personalive("convert", "--weights", folder.parent) == (0, f"{folder}/motion_extractor.safetensors\n", "")


# --- bench and demo


def test_bench_refuses_before_it_measures(personalive, tmp_path, monkeypatch):
    monkeypatch.setattr("personalive_core.bench.run.run_bench", lambda *_: pytest.fail("measured"))
    outcome = personalive("bench", "--compare", tmp_path / "none.json")
    assert (outcome.code, bool(is_one_line(outcome))) == (InputError.exit_code, True)
    outcome = personalive("bench", "--json", tmp_path / "no" / "such" / "folder.json")
    assert (outcome.code, bool(is_one_line(outcome))) == (OutputError.exit_code, True)
    assert personalive("bench", "--widths", "32,x").code == InputError.exit_code


@pytest.mark.usefixtures("loaded", "one_thread")
def test_demo_needs_nothing_that_is_not_shipped(personalive, tmp_path):
    output, sheet = tmp_path / "output" / "demo.mp4", tmp_path / "output" / "demo.png"
    outcome = personalive("demo", "--seconds", 0.04, "--output", output, "--sheet", sheet, "--quiet", "--json")
    assert outcome.code == 0
    assert "has learned drawn people alone" in outcome.err
    assert json.loads(outcome.out)["frames"] == 1
    assert output.exists()
    assert sheet.exists()
