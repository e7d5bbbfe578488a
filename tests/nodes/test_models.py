"""What ComfyUI sees of the model: patchers of its own choice; and pictures of any number type."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

NETWORKS = {"small": nn.Linear(2, 2), "large": nn.Linear(9, 9)}


class Patcher:
    """ComfyUI's ModelPatcher."""

    def __init__(self, network, load_device, offload_device):
        self.network, self.devices = network, (load_device, offload_device)

    def model_size(self):
        return sum(parameter.numel() for parameter in self.network.parameters())


class DynamicPatcher(Patcher):
    """Newer ComfyUI's, with dynamic VRAM."""

    def is_dynamic(self):
        return True


@pytest.fixture
def load(node_module, monkeypatch):
    """LoadedModel of two networks, in a ComfyUI whose comfy.model_patcher has `names`."""
    memory, sockets = node_module("host.memory"), node_module("host.sockets")

    def load(**names):
        monkeypatch.setattr(memory, "ModelPatcher", Patcher)
        monkeypatch.setattr(memory.comfy, "model_patcher", SimpleNamespace(**names))
        placement = memory.place(NETWORKS, torch.float32)
        return sockets.LoadedModel(SimpleNamespace(placement=placement), Path("weights"))

    return load


def test_the_patcher_is_the_one_comfyui_chose(load):
    assert {type(patcher) for patcher in load(CoreModelPatcher=DynamicPatcher).get_models()} == {DynamicPatcher}
    assert {type(patcher) for patcher in load().get_models()} == {Patcher}, "ComfyUI 0.3.64 has no choice"


def test_comfyui_finds_the_patchers_of_a_model_it_caches(load):
    model = load(CoreModelPatcher=DynamicPatcher)
    assert model.patcher.network is NETWORKS["large"]
    assert [patcher.network for patcher in model.get_models()] == list(NETWORKS.values())
    assert model.is_dynamic()
    assert not load().is_dynamic()


def test_a_layer_by_itself_has_a_parent(node_module, monkeypatch):
    """ModelPatcher sets a weight of the module before its name's last point."""
    memory = node_module("host.memory")
    monkeypatch.setattr(memory, "ModelPatcher", Patcher)
    monkeypatch.setattr(memory.comfy, "model_patcher", SimpleNamespace())
    patchers = memory.place(NETWORKS, torch.float32, bare=("small",)).bring.of
    assert next(key for key, _ in patchers[id(NETWORKS["small"])].network.named_parameters()) == "network.weight"
    assert patchers[id(NETWORKS["large"])].network is NETWORKS["large"]


def test_a_model_outside_of_comfyuis_memory_management_has_none(node_module):
    model = node_module("host.sockets").LoadedModel(SimpleNamespace(placement=None), Path("weights"))
    assert (model.patcher, model.get_models(), model.is_dynamic()) == (None, (), False)


def test_pictures_in_half_precision_are_read_as_exactly_as_others(node_module):
    to_picture = node_module("host.sockets").to_picture
    levels = torch.arange(256) / 255
    assert to_picture(levels.half()[:, None, None])[:, 0, 0].tolist() == list(range(256))
    grid = torch.stack(torch.meshgrid(levels, levels, indexing="ij"), -1).half()  # grey with alpha
    assert (to_picture(grid) == to_picture(grid.float())).all()
