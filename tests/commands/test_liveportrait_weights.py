"""`personalive download`, `convert` and `info` for LivePortrait's weights of people and animals."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

from personalive_core.backends.liveportrait.files import BASE_NETWORKS, LIVE_NETWORKS, require_live
from personalive_core.backends.liveportrait.loader import load_live
from personalive_core.commands import download
from personalive_core.errors import InputError, WeightsError
from tests.backends.liveportrait.tiny import (
    ANIMAL,
    CPU,
    HUMAN,
    OLD_ANIMAL,
    shifted,
    tiny_states,
    write_hub,
    write_repack,
)

SYSTEM = ("--system", "liveportrait")
STITCHING = "liveportrait/retargeting_models/stitching_retargeting_module.pth"
YUNET = "face_detection_yunet/face_detection_yunet_2026may.onnx"


@pytest.fixture(scope="module")
def states(synth):
    return tiny_states(synth)


@pytest.fixture
def hub(tmp_path, states):
    return write_hub(tmp_path / "weights", states)


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def bases(folder, suffix="pth"):
    return {f"{folder}/{name}.{suffix}" for name in BASE_NETWORKS}


# --- download


@pytest.fixture
def fetched(monkeypatch):
    """Stands for the hub; lists what was asked of it."""
    asked = []

    def fetch(folder, files, *, endpoint, offline, progress):  # noqa: ARG001
        for file in files:
            asked.append((file.repo, file.place))
            progress(file, 1, 1)

    monkeypatch.setattr(download, "download", fetch)
    return asked


def fetch_all(personalive, fetched, folder, *more):
    fetched.clear()
    outcome = personalive("download", *SYSTEM, "--weights", folder, "--quiet", *more)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{folder}: {len(fetched)} file{'s' * (len(fetched) != 1)} fetched, nothing is missing\n"
    return {place for _, place in fetched}


def test_download_fetches_a_set_and_the_landmark_network(personalive, fetched, tmp_path):
    people = fetch_all(personalive, fetched, tmp_path)
    assert people == bases(HUMAN) | {STITCHING, "liveportrait/landmark.onnx"}
    assert {repo for repo, _ in fetched} == {"KlingTeam/LivePortrait"}
    assert fetch_all(personalive, fetched, tmp_path, "--animal", "--detector") == bases(ANIMAL) | {STITCHING, YUNET}


def test_download_completes_what_is_there(personalive, fetched, hub):
    assert fetch_all(personalive, fetched, hub) == {"liveportrait/landmark.onnx"}
    (hub / HUMAN / "spade_generator.pth").unlink()
    (hub / "landmark.onnx").touch()
    assert fetch_all(personalive, fetched, hub) == {f"{HUMAN}/spade_generator.pth"}
    assert fetch_all(personalive, fetched, hub, "--animal") == bases(ANIMAL)


def test_download_leaves_a_repack_as_it_is(personalive, fetched, states, tmp_path):
    folder = write_repack(tmp_path, states)
    assert fetch_all(personalive, fetched, folder) == {"liveportrait/landmark.onnx"}
    assert fetch_all(personalive, fetched, folder, "--animal") == bases(ANIMAL)


def test_download_leaves_the_animals_first_version_as_it_is(personalive, fetched, states, tmp_path):
    folder = write_hub(tmp_path, states, OLD_ANIMAL)
    assert fetch_all(personalive, fetched, folder, "--animal") == set()
    (folder / OLD_ANIMAL / "warping_module.pth").unlink()
    assert fetch_all(personalive, fetched, folder, "--animal") == bases(ANIMAL)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("download", *SYSTEM, "--decoder", "tiny"), "--decoder belongs to personalive, got --system liveportrait"),
        (
            ("download", "--animal"),
            "--animal belongs to liveportrait, got --system personalive: leave it out",
        ),
        (("info", "--system", "other"), "argument --system: invalid choice: 'other'"),
    ],
)
def test_options_of_another_system_are_refused(personalive, arguments, words):
    outcome = personalive(*arguments)
    assert outcome.code == InputError.exit_code
    assert words in outcome.err


@pytest.mark.parametrize("command", ["info", "convert"])
def test_without_a_weights_folder(personalive, command, tmp_path):
    outcome = personalive(command, *SYSTEM, "--weights", tmp_path / "none")
    assert outcome.code == WeightsError.exit_code
    assert f"run `personalive download --system liveportrait --weights {tmp_path / 'none'}` to fetch" in outcome.err


def test_what_is_missing_is_named_with_the_command(hub):
    require_live(hub)
    with pytest.raises(WeightsError) as error:
        require_live(hub, "animal")
    assert f"run `personalive download --system liveportrait --animal --weights {hub}`, or name" in str(error.value)
    assert f"- {ANIMAL}/spade_generator.pth for spade_generator" in str(error.value)


def test_a_command_to_run_has_a_folder_with_a_space_in_quotes(tmp_path):
    (tmp_path / "my weights").mkdir()
    with pytest.raises(WeightsError, match=f'--system liveportrait --weights "{tmp_path / "my weights"}"`, or name'):
        require_live(tmp_path / "my weights")


# --- convert


def converted(personalive, folder, *more):
    outcome = personalive("convert", *SYSTEM, "--weights", folder, *more)
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()


def test_convert_takes_people_and_animals(personalive, hub, states):
    write_hub(hub, states, ANIMAL, shifted)
    expected = {
        (subject, dtype): load_live(hub, CPU, dtype, subject)
        for subject in ("human", "animal")
        for dtype in (torch.float32,)
    }
    written = converted(personalive, hub, "--precision", "fp32")
    assert len(written) == len({*written}) == len(LIVE_NETWORKS) + len(BASE_NETWORKS)
    for path in hub.rglob("*.pth"):
        path.unlink()
    for (subject, dtype), model in expected.items():
        for ours, other in zip(load_live(hub, CPU, dtype, subject).networks, model.networks, strict=True):
            for key, tensor in ours.state_dict().items():
                assert torch.equal(tensor, other.state_dict()[key]), key


def test_convert_in_half_precision_keeps_what_must_be_exact(personalive, hub):
    converted(personalive, hub)
    types = {
        name: {tensor.dtype for tensor in load_file(path).values() if tensor.is_floating_point()}
        for path in hub.rglob("*.safetensors")
        for name in [path.stem]
    }
    both = {torch.float16, torch.float32}
    assert types == {name: {torch.float32} if "stitching" in name else both for name in LIVE_NETWORKS}
    assert load_live(hub, CPU, torch.bfloat16).dtype == torch.bfloat16


def test_convert_makes_a_whole_folder(personalive, hub, states, tmp_path):
    write_hub(hub, states, ANIMAL, shifted)
    (hub / "liveportrait" / "landmark.onnx").write_bytes(b"onnx")
    before = names(hub)
    converted(personalive, hub, "--output", tmp_path / "out")
    assert names(hub) == before
    expected = bases(HUMAN, "safetensors") | bases(ANIMAL, "safetensors")
    expected |= {STITCHING.replace(".pth", ".safetensors"), "liveportrait/landmark.onnx"}
    assert names(tmp_path / "out") == expected
    for subject in ("human", "animal"):
        require_live(tmp_path / "out", subject)


def test_convert_takes_what_is_there(personalive, hub, tmp_path):
    for path in hub.rglob("*.pth"):
        if path.stem != "spade_generator":
            path.unlink()
    assert converted(personalive, hub) == [str(hub / HUMAN / "spade_generator.safetensors")]
    (tmp_path / "empty").mkdir()
    assert "nothing to convert" in converted(personalive, tmp_path / "empty")[0]


def test_convert_never_takes_people_for_animals(personalive, hub, tmp_path):
    """Files that lie in the folder itself are people's."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in hub.rglob("*.pth"):
        shutil.copy(path, flat)
    converted(personalive, flat, "--output", tmp_path / "out")
    assert names(tmp_path / "out") == bases(HUMAN, "safetensors") | {STITCHING.replace(".pth", ".safetensors")}


def test_convert_a_repack_to_another_precision(personalive, states, tmp_path):
    folder = write_repack(write_repack(tmp_path / "in", states), states, "animal")
    assert "nothing to convert" in converted(personalive, folder)[0]
    converted(personalive, folder, "--output", tmp_path / "out", "--precision", "bf16")
    for subject in ("human", "animal"):
        assert load_live(tmp_path / "out", CPU, torch.bfloat16, subject).dtype == torch.bfloat16


# --- info


def test_info_lists_both_sets_with_their_licences(personalive, hub):
    outcome = personalive("info", *SYSTEM, "--weights", hub)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"\nspade_generator +0\.\d MiB float32 +\S+/spade_generator.pth  \[MIT\]", outcome.out)
    assert re.search(rf"\nanimal spade_generator +missing +{ANIMAL}/spade_generator.pth  \[MIT\]", outcome.out)
    assert re.search(r"\nlandmark +missing .*origin is not stated\]", outcome.out)
    assert outcome.out.count("stitching_retargeting_module ") == 1
    assert "missing, but needed" not in outcome.out
    optional = outcome.out.split("needed only for some options:")[1]
    assert all(place in optional for place in (f"- {ANIMAL}/", "- liveportrait/landmark.onnx", f"- {YUNET}"))
    assert re.search(r"memory for these weights: \d+ MiB in fp16", outcome.out)


def test_info_as_json(personalive, hub, states):
    def told():
        return json.loads(personalive("info", *SYSTEM, "--weights", hub, "--json").out)

    def needed(values):
        return {entry["place"] for entry in values["missing"] if entry["needed"]}

    people = told()
    count = sum(tensor.numel() for state in states.values() for tensor in state.values())
    assert people["memory"] == {"half": 2 * count, "float32": 4 * count}
    assert not needed(people)
    (hub / HUMAN / "spade_generator.pth").unlink()
    assert needed(told()) == {f"{HUMAN}/spade_generator.pth"}
    write_hub(hub, states, ANIMAL)
    (hub / HUMAN / "warping_module.pth").unlink()
    animals = told()
    assert not needed(animals)  # animals can be animated
    assert animals["memory"] == people["memory"]
    missing = {entry["place"] for entry in animals["missing"]}
    assert missing == {
        f"{HUMAN}/spade_generator.pth",
        f"{HUMAN}/warping_module.pth",
        "liveportrait/landmark.onnx",
        YUNET,
    }
