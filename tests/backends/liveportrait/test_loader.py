"""Loading LivePortrait: every layout of the same weights, strictly, for people and animals."""

import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from personalive_core.backends.liveportrait import loader
from personalive_core.backends.liveportrait.files import (
    LIVE_FACTS,
    LIVE_MEGABYTES,
    LIVE_NETWORKS,
    LIVE_TABLES,
    RETARGETING,
    landmark_file,
    locate_live,
)
from personalive_core.backends.liveportrait.loader import load_live
from personalive_core.backends.liveportrait.motion import read_implicit, unit_pictures
from personalive_core.backends.liveportrait.networks import build_live
from personalive_core.backends.liveportrait.reference import live_source
from personalive_core.errors import WeightsError
from personalive_core.modules.winograd import WinogradConv2d, WinogradConv3d, winograd_ops
from personalive_core.weights.convert import convert
from tests.backends.liveportrait.tiny import (
    ANIMAL,
    CPU,
    HUMAN,
    OLD_ANIMAL,
    SIZES,
    shifted,
    tiny_states,
    write_hub,
    write_repack,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def states(synth):
    return tiny_states(synth)


def weights_of(model):
    return torch.cat([p.float().flatten() for network in model.networks for p in network.state_dict().values()])


@pytest.fixture(scope="module")
def hub(tmp_path_factory, states):
    return write_hub(tmp_path_factory.mktemp("hub"), states)


@pytest.fixture(scope="module")
def model(hub):
    return load_live(hub, CPU, torch.float32)


def test_sizes_are_read_from_shapes(model):
    built = build_live(replace(SIZES, warping=replace(SIZES.warping, fourier=True)), winograd_ops())
    for ours, network in zip(model.networks, built.networks, strict=True):
        shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
        assert shapes == {key: tensor.shape for key, tensor in network.state_dict().items()}


def test_every_layout_holds_the_same_weights(hub, states, model, tmp_path):
    expected = weights_of(model)
    assert expected.std() > 0
    repack = write_repack(tmp_path / "repack", states)
    assert torch.equal(weights_of(load_live(repack, CPU, torch.float32)), expected)
    parent = tmp_path / "parent"
    shutil.copytree(hub, parent / "pretrained_weights")
    assert torch.equal(weights_of(load_live(parent, CPU, torch.float32)), expected)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in hub.rglob("*.pth"):
        shutil.copy(path, flat)
    assert torch.equal(weights_of(load_live(flat, CPU, torch.float32)), expected)


def test_our_conversion_is_read(hub, model, tmp_path):
    folder = shutil.copytree(hub, tmp_path / "hub")
    table = LIVE_TABLES["human"][0]
    written = convert(folder, table, LIVE_FACTS, dtype=torch.float32)
    assert len(written) == len(LIVE_NETWORKS)
    for path in folder.rglob("*.pth"):
        path.unlink()
    assert torch.equal(weights_of(load_live(folder, CPU, torch.float32)), weights_of(model))


def test_the_old_name_of_the_repository(hub, model, tmp_path):
    shutil.copytree(hub, tmp_path / "models--KwaiVGI--LivePortrait" / "snapshots" / "0")
    assert torch.equal(weights_of(load_live(tmp_path, CPU, torch.float32)), weights_of(model))


def test_animals_have_their_own_weights(states, model, tmp_path):
    write_hub(tmp_path, states)
    write_hub(tmp_path, states, OLD_ANIMAL, shifted)
    old = weights_of(load_live(tmp_path, CPU, torch.float32, "animal"))
    assert not torch.equal(old, weights_of(model))
    write_hub(tmp_path, states, ANIMAL, lambda name, state: shifted(name, shifted(name, state)))
    assert not torch.equal(weights_of(load_live(tmp_path, CPU, torch.float32, "animal")), old)
    assert ANIMAL in str(locate_live(tmp_path, "animal").of("spade_generator")[0].paths[0])


def test_the_repack_has_animals_in_a_folder(states, model, tmp_path):
    write_repack(write_repack(tmp_path, states), states, "animal")
    assert torch.equal(weights_of(load_live(tmp_path, CPU, torch.float32, "animal")), weights_of(model))


def test_weights_of_people_are_never_taken_for_an_animals(states, tmp_path):
    write_repack(tmp_path, states)
    with pytest.raises(WeightsError, match=f"- {ANIMAL}/appearance_feature_extractor.pth for appearance"):
        load_live(tmp_path, CPU, torch.float32, "animal")


def test_an_unknown_subject_is_refused(hub):
    with pytest.raises(WeightsError, match="has weights for human and animal, got 'car': choose one"):
        load_live(hub, CPU, torch.float32, "car")


def test_what_is_missing_is_named(states, tmp_path):
    write_hub(tmp_path, states)
    (tmp_path / HUMAN / "spade_generator.pth").unlink()
    with pytest.raises(WeightsError, match="spade_generator.pth for spade_generator, from the hub's KlingTeam"):
        load_live(tmp_path, CPU, torch.float32)


@pytest.mark.parametrize(
    ("network", "key", "kind"),
    [
        ("spade_generator", "up_0.conv_s.weight_u", "missing"),
        ("warping_module", "third.norm.running_var", "missing"),
        ("appearance_feature_extractor", "more.weight", "extra"),
        (RETARGETING, "retarget_eye.mlp.2.bias", "missing"),
        ("motion_extractor", "detector.fc_exp.weight", "missing"),
    ],
)
def test_keys_that_do_not_fit_are_named(network, key, kind, states, tmp_path):
    def change(name, state):
        if name == network:
            state.pop(key, None) if kind == "missing" else state.update({key: torch.zeros(1)})
        return state

    write_hub(tmp_path, states, change=change)
    with pytest.raises(WeightsError, match=f"the weights do not fit {network}: 1 {kind} keys: {key}"):
        load_live(tmp_path, CPU, torch.float32)


def test_transforms_are_for_float32_on_a_cpu_without_a_host(hub, monkeypatch):
    class Hosted(nn.Conv3d):
        pass

    monkeypatch.setattr(loader, "winograd_ops", partial(winograd_ops, narrowest=4))
    host = SimpleNamespace(Linear=nn.Linear, Conv2d=nn.Conv2d, Conv3d=Hosted)
    for dtype, ops, expected in ((torch.float32, nn, True), (torch.bfloat16, nn, False), (torch.float32, host, False)):
        found = load_live(hub, CPU, dtype, ops=ops)
        assert found.warping.config.fourier is expected
        for network in (found.appearance_extractor, found.warping, found.decoder):
            assert any(isinstance(one, (WinogradConv2d, WinogradConv3d)) for one in network.modules()) is expected


def test_transforms_do_not_change_the_picture(hub, model, monkeypatch):
    monkeypatch.setattr(loader, "winograd_ops", partial(winograd_ops, narrowest=1))
    fast, generator = load_live(hub, CPU, torch.float32), torch.Generator().manual_seed(0)
    volume, points = torch.rand(1, 4, 4, 16, 16, generator=generator), torch.rand(3, 21, 3, generator=generator) - 0.5
    assert (
        fast.render(volume, points[:1], points[1:]) - model.render(volume, points[:1], points[1:])
    ).abs().max() < 1e-5


def test_half_precision_keeps_perceptrons_in_float32(hub):
    half = load_live(hub, CPU, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert {p.dtype for p in half.retargeting.parameters()} == {torch.float32}
    assert half.motion_extractor.detector.norm.weight.dtype == torch.float32
    assert half.stitch(torch.zeros(1, 126)).dtype == torch.float32


def test_a_model_reads_and_renders(model, synth):
    pictures = (255 * synth.synth_input("picture", (2, 64, 64, 3), 0, 1)).byte().numpy()
    source = live_source(model, pictures[:1])
    driving = read_implicit(model, unit_pictures(pictures))
    assert source.volume.shape == (1, 4, 4, 16, 16)
    assert len(driving) == 2
    assert driving.valid.all()
    assert driving.eyes.isnan().all()
    frames = model.render(source.volume, source.motion.keypoints, driving.keypoints)
    assert frames.shape == (2, 3, 128, 128)
    one = model.render(source.volume, source.motion.keypoints, driving.keypoints[1:])
    assert (frames[1:] - one).abs().max() < 1e-5
    video = model.render(
        source.volume.repeat(2, 1, 1, 1, 1), source.motion.keypoints.repeat(2, 1, 1), driving.keypoints
    )
    assert (video - frames).abs().max() < 1e-5


def test_the_landmark_network_is_found(hub, tmp_path):
    assert landmark_file(hub) is None
    (tmp_path / "liveportrait").mkdir()
    (tmp_path / "liveportrait" / "landmark.onnx").write_bytes(b"onnx")
    assert landmark_file(tmp_path).name == "landmark.onnx"


def test_every_network_says_size_and_licence():
    assert set(LIVE_MEGABYTES) == set(LIVE_NETWORKS) == set(LIVE_FACTS)
    assert all("MIT" in file.licence for tables in LIVE_TABLES.values() for table in tables for file in table)
