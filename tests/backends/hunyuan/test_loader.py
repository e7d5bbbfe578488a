"""Nothing loads without the licence; every key must fit; types of the networks; conversion."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from personalive_core.animation.hunyuan_engine import HunyuanEngine
from personalive_core.backends.hunyuan.files import HUNYUAN_FILES, OWN_NETWORKS, convert_hunyuan, locate_hunyuan
from personalive_core.backends.hunyuan.loader import load_hunyuan, open_arcface
from personalive_core.backends.hunyuan.networks import BUILDERS, build_video_vae
from personalive_core.errors import InputError, WeightsError
from personalive_core.weights.index import read_state
from tests.backends.hunyuan.published import identity_numbers, load_cases, small_networks, write_hunyuan
from tests.backends.liveportrait.onnx_file import landmark_onnx

CPU = torch.device("cpu")
FACE = identity_numbers()


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture
def _by_opencv(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


@pytest.fixture(scope="module")
def folder(synth, tmp_path_factory):
    """The weights as published, small."""
    return write_hunyuan(tmp_path_factory.mktemp("hunyuan"), load_cases(synth))


@pytest.mark.usefixtures("_by_opencv")
def test_it_loads_what_is_published(folder):
    model = load_hunyuan(folder, CPU, torch.float16, license_accepted=True)
    assert model.dtype == torch.float16
    kinds = {network: next(network.parameters()).dtype for network in model.networks}
    assert list(kinds.values()) == [torch.float16] * 2 + [torch.float32] * 6
    assert model.vae.decoder.conv_in.weight.dtype == torch.float16
    assert model.unet.config.widths == (64, 128, 128, 128)
    assert model.dino.config.adapters == (1, 3)
    assert not any(module.training for network in model.networks for module in network.modules())
    tokens = torch.zeros(1, 2, 16, 64)
    answer = model.velocity(torch.ones(1, 2, 8, 8, 8), torch.tensor(1.6), tokens, tokens, model.pose(64, 64))
    assert answer.dtype == torch.float32
    assert model.decode(model.encode(torch.zeros(1, 3, 64, 64))[None]).shape == (1, 3, 64, 64)
    face = np.full((1, 3, 112, 112), 0.25, np.float32)
    assert np.abs(model.identify(face) - (FACE + np.array([0.25, 0], np.float32)).ravel()).max() < 1e-3


@pytest.mark.usefixtures("_by_opencv")
def test_the_unet_may_be_stored_in_8_bits(folder):
    plain, small = (
        HunyuanEngine(folder, CPU, torch.float32, license_accepted=True, speed=speed).load()
        for speed in ("plain", "fp8")
    )
    kinds = {value.dtype for value in small.unet.parameters() if value.dim() > 1}
    assert kinds == {torch.float8_e4m3fn}
    assert {value.dtype for value in small.dino.parameters()} == {torch.float32}
    tokens = torch.ones(1, 2, 16, 64)
    x, pose = torch.linspace(-1, 1, 1024).reshape(1, 2, 8, 8, 8), plain.pose(64, 64)
    whole, stored = (model.velocity(x, torch.tensor(1.6), tokens, tokens, pose) for model in (plain, small))
    off = (stored - whole).std() / whole.std()
    assert 0 < off < 0.2
    assert not torch.equal(whole, torch.zeros_like(whole))


@pytest.mark.parametrize("accepted", [False, None, 0])
def test_nothing_loads_without_the_licence(folder, accepted, monkeypatch):
    def read(*_):
        raise AssertionError("a file was read")

    monkeypatch.setattr("personalive_core.weights.index.read_infos", read)
    said = "academic, research and education purposes only: never for commercial use.*accept the licence"
    for where in (folder, folder / "missing"):
        with pytest.raises(InputError, match=said):
            load_hunyuan(where, CPU, torch.float32, accepted)
        with pytest.raises(InputError, match=said):
            convert_hunyuan(where, None, torch.float16, accepted)


def test_missing_files_are_named_with_their_places(tmp_path):
    with pytest.raises(WeightsError, match="weights are missing") as raised:
        load_hunyuan(tmp_path, CPU, torch.float32, True)
    for file in HUNYUAN_FILES:
        assert file.place in str(raised.value)


@pytest.mark.usefixtures("_by_opencv")
def test_another_key_is_refused(folder, tmp_path):
    for file in folder.rglob("*.*"):
        (tmp_path / file.relative_to(folder)).parent.mkdir(exist_ok=True)
        (tmp_path / file.relative_to(folder)).symlink_to(file)
    path = tmp_path / "hyportrait/image_proj.pth"
    path.unlink()
    torch.save({"weight": torch.zeros(16, 261), "bias": torch.zeros(16), "more": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="the weights do not fit image_proj: 1 extra keys: more"):
        load_hunyuan(tmp_path, CPU, torch.float32, True)


def test_converted_weights_are_a_whole_folder(folder, tmp_path):
    written = convert_hunyuan(folder, tmp_path, torch.float16, True)
    assert len(written) == 9
    assert not list(tmp_path.rglob("*.pth"))
    after = locate_hunyuan(tmp_path)
    for network in (*OWN_NETWORKS, "vae"):
        before, state = read_state(locate_hunyuan(folder), network), read_state(after, network)
        assert before.shapes == state.shapes
        kept = network in ("motion_proj", "image_proj", "pose_guider", "expression", "headpose")
        kinds = {info.dtype for key, info in state.entries.items() if "num_batches" not in key}
        assert kinds == {torch.float32} if kept else torch.float16 in kinds
    mixer = [read_state(index, "image_proj")["weight"] for index in (after, locate_hunyuan(folder))]
    assert torch.equal(*mixer)


@pytest.mark.usefixtures("_by_opencv")
def test_another_network_than_arcface_is_refused(tmp_path):
    path = tmp_path / "arcface.onnx"
    path.write_bytes(landmark_onnx(FACE, (214,), 112))
    with pytest.raises(WeightsError, match="gives 0 outputs of 512 numbers, expected one"):
        open_arcface(path)(np.zeros((1, 3, 112, 112), np.float32))
    path.write_bytes(b"not ONNX")
    with pytest.raises(WeightsError, match="cannot use .*arcface.onnx as ArcFace: delete it"):
        open_arcface(path)


def test_every_layer_is_of_the_host(synth):
    """What a host casts and offloads: all but a few vectors."""
    kinds = ("Linear", "Conv2d", "Conv3d", "GroupNorm", "LayerNorm")
    ops = SimpleNamespace(**{kind: type(kind, (getattr(nn, kind),), {}) for kind in kinds})
    case = load_cases(synth)
    with torch.device("meta"):
        shapes = {name: network.state_dict() for name, network in small_networks(case, (32, 32, 64, 64)).items()}
        made = [BUILDERS[name]({k: tuple(v.shape) for k, v in shapes[name].items()}, ops) for name in OWN_NETWORKS]
        made.append(build_video_vae(case.VAE, ops))
    plain = {
        type(part).__name__ for network in made for part in network.modules() if type(part).__module__[:8] == "torch.nn"
    }
    assert not plain & set(kinds)
