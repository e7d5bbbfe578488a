"""What a host program such as ComfyUI needs of the core: placement, layers, fp8 storage, decoding in parts."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.backends.personalive.loader import Host, load_model
from personalive_core.backends.placement import Placement, in_parts
from personalive_core.errors import WeightsError
from personalive_core.modules.layers import with_ops
from personalive_core.weights.fill import hold_in

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


class Cast(nn.Linear):
    """A layer whose weights follow its input's type, as a host's do."""

    def forward(self, x):
        return functional.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class CastConv(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class CastNorm(nn.GroupNorm):
    def forward(self, x):
        return functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class CastLayerNorm(nn.LayerNorm):
    def forward(self, x):
        weight, bias = (None if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
        return functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


CASTING = SimpleNamespace(
    Linear=Cast, Conv2d=CastConv, GroupNorm=CastNorm, LayerNorm=CastLayerNorm, Conv1d=nn.Conv1d, Conv3d=nn.Conv3d
)


@pytest.fixture
def casting(standin):
    """The namespace, with whatever else the networks ask for taken from torch."""
    del standin
    return SimpleNamespace(**{**vars(nn), **vars(CASTING)})


def test_placement_says_where_and_in_what_type(standin):
    placed = replace(standin, placement=Placement(torch.device("meta"), torch.bfloat16, lambda _: None))
    assert placed.device == torch.device("meta")
    assert placed.dtype == torch.bfloat16
    assert standin.device == CPU


def test_every_network_is_brought_before_it_runs(standin):
    brought = []
    placed = replace(standin, placement=Placement(CPU, torch.float32, brought.append))
    latent, clip = torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, standin.denoising_unet.config.image_dim)
    with torch.no_grad():
        placed.project_tokens(latent, clip)
        placed.project_image(clip)
        placed.encode(torch.zeros(1, 3, 64, 64))
        placed.decode(latent[None])
        placed.embed_image(torch.zeros(1, 3, 224, 224))
        placed.detect_keypoints(torch.zeros(1, 3, 256, 256))
        placed.embed_faces(torch.zeros(1, 3, 224, 224))
    expected = ["reference_unet denoising_unet", "denoising_unet", "vae", "tiny_vae", "image_encoder"]
    expected += ["motion_extractor", "motion_encoder"]
    wanted = [tuple(getattr(standin, name) for name in names.split()) for names in expected]
    assert brought == wanted


def test_libraries_networks_take_the_hosts_layers(standin_folder, casting):
    model = load_model(standin_folder, CPU, torch.float32, "tiny", Host(ops=casting))
    for network in (model.vae, model.tiny_vae, model.denoising_unet):
        kinds = {type(module) for module in network.modules()}
        assert CastConv in kinds
        assert not kinds & {nn.Linear, nn.Conv2d, nn.GroupNorm}


@pytest.mark.slow
def test_the_hosts_layers_change_no_result(standin, standin_folder, casting):
    model = load_model(standin_folder, CPU, torch.float32, "full", Host(ops=casting))
    picture = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(picture), standin.encode(picture))
        latents = standin.encode(picture)[None]
        full = replace(standin, tiny_vae=None)
        torch.testing.assert_close(model.decode(latents), full.decode(latents))


def test_with_ops_leaves_torchs_own_layers_alone():
    network = nn.Sequential(nn.Linear(2, 3))
    assert type(with_ops(network, nn)[0]) is nn.Linear
    assert type(with_ops(nn.Sequential(nn.Sequential(nn.Linear(2, 3))), CASTING)[0][0]) is Cast


@pytest.mark.slow
def test_fp8_holds_the_unets_matrices_and_nothing_else(standin, standin_folder, casting):
    model = load_model(standin_folder, CPU, torch.float32, "full", Host(ops=casting, storage=torch.float8_e4m3fn))
    for unet in (model.denoising_unet, model.reference_unet):
        types = {value.dim() > 1: value.dtype for value in unet.parameters()}
        assert types == {True: torch.float8_e4m3fn, False: torch.float32}
    assert {value.dtype for value in model.motion_encoder.parameters()} == {torch.float32}
    latent, clip = torch.ones(1, 4, 8, 8), torch.ones(1, 1, standin.denoising_unet.config.image_dim)
    placed = replace(model, placement=Placement(CPU, torch.float32, lambda _: None))
    with torch.no_grad():
        (exact, _), *_ = standin.project_tokens(latent, clip)
        (close, _), *_ = placed.project_tokens(latent, clip)
    error = (close - exact).norm() / exact.norm()
    assert 0 < error < 0.2


def test_hold_in_keeps_values_that_fp8_can_hold():
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.fill_(0.5)
    assert torch.equal(hold_in(network, torch.float8_e4m3fn).weight.float(), torch.full((2, 2), 0.5))


def test_what_the_host_brings_is_not_asked_of_the_folder(standin_folder, tmp_path):
    for name in ("personalive",):
        (tmp_path / name).symlink_to(standin_folder / name)
    with pytest.raises(WeightsError, match="vae"):
        load_model(tmp_path, CPU, torch.float32)
    vae, encoder = SimpleNamespace(), SimpleNamespace()
    model = load_model(tmp_path, CPU, torch.float32, "full", Host(vae=vae, image_encoder=encoder))
    assert model.vae is vae
    assert model.image_encoder is encoder


@pytest.mark.parametrize("room", [1, 2, 3, 8])
def test_decoding_in_parts_gives_all_frames_in_order(room):
    sizes = []

    def decode(frames):
        sizes.append(len(frames))
        if len(frames) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return frames * 2

    frames = torch.arange(8.0)
    assert torch.equal(in_parts(decode, frames), frames * 2)
    assert sizes[0] == 8


def test_one_frame_that_does_not_fit_is_an_error():
    def decode(_frames):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_parts(decode, torch.arange(4.0))
