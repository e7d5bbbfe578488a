"""The small number that each normalisation adds to a variance, by its effect on activations that hardly vary.

The stand-in weights of tests/parity make activations of large variance, which cannot tell 1e-6 from 1e-5.
"""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from personalive_core.modules.face_encoder import FaceEncoder, FaceEncoderConfig
from personalive_core.modules.keypoints import ChannelNorm, KeypointConfig, KeypointExtractor, ResponseNorm
from personalive_core.modules.layers import BatchNorm2d, Float32LayerNorm, with_ops
from personalive_core.modules.unet import UNet, UNetConfig

# For each network the published numbers, by the end of a layer's name.
UNET = {
    r"resnets\.\d+\.norm[12]": 1e-5,
    r"conv_norm_out": 1e-5,
    r"attentions\.\d+\.norm": 1e-6,
    r"motion_modules\.\d+\.temporal_transformer\.norm": 1e-6,
    r"temporal_modules\.\d+\.temporal_transformer\.norm": 1e-6,
    r"attentions\.\d+\.transformer_blocks\.0\.norm[123]": 1e-5,
    r"motion_modules\.\d+\.temporal_transformer\.transformer_blocks\.0\.(norms\.\d+|ff_norm)": 1e-5,
    r"temporal_modules\.\d+\.temporal_transformer\.transformer_blocks\.0\.(norms\.\d+|ff_norm)": 1e-5,
}
FACE = {
    r"bn\w*\d": 1e-5,
    r"downsample\.0": 1e-4,
    r"att_\d\.norm": 1e-6,
    r"att_\d\.transformer_blocks\.0\.(norms\.0|ff_norm)": 1e-5,
}
KEYPOINTS = {
    r"downsample_layers\.0\.1": 1e-6,
    r"downsample_layers\.[123]\.0": 1e-6,
    r"stages\.\d\.\d\.norm": 1e-6,
    r"stages\.\d\.\d\.grn": 1e-6,
    r"detector\.norm": 1e-6,
}
NETWORKS = {
    "denoising_unet": (lambda: UNet(UNetConfig((32, 32), layers=1, groups=8)), UNET),
    "motion_encoder": (lambda: FaceEncoder(FaceEncoderConfig(64, 64)), FACE),
    "motion_extractor": (lambda: KeypointExtractor(KeypointConfig((8, 8, 8, 8), (1, 1, 1, 1))), KEYPOINTS),
}
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d, Float32LayerNorm, ResponseNorm)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def standardised(x, axes, eps):
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt()


def faint(*shape, scale):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(3))


def ends(layer, eps):
    """Activations of a variance near `eps` as the layer normalises them, and as the formula does with `eps`."""
    scale = math.sqrt(eps)
    if isinstance(layer, nn.GroupNorm):
        x = faint(2, layer.num_channels, 4, 4, scale=scale)
        grouped = standardised(x.double().reshape(2, layer.num_groups, -1), 2, eps)
        return layer(x), grouped.reshape(x.shape)
    if isinstance(layer, nn.BatchNorm2d):
        x = faint(2, layer.num_features, 4, 4, scale=scale)
        layer.running_var.fill_(eps)
        return layer(x), x.double() / math.sqrt(2 * eps)
    if isinstance(layer, ResponseNorm):
        width = layer.gamma.shape[-1]
        layer.gamma.data.fill_(1)
        x = faint(2, 3, 3, width, scale=eps)
        response = x.double().square().sum((1, 2), keepdim=True).sqrt()
        return layer(x) / eps, (x * response / (response.mean(-1, keepdim=True) + eps) + x) / eps
    axis = 1 if isinstance(layer, ChannelNorm) else -1
    width = layer.weight.shape[0]
    x = faint(2, width, width, width, scale=scale)
    return layer(x), standardised(x.double(), axis, eps)


def agrees(layer, eps):
    found, expected = ends(layer, eps)
    return bool((found.double() - expected).abs().max() < 1e-3)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_published_epsilon_of_every_norm(name):
    build, table = NETWORKS[name]
    network, met = build().eval(), set()
    for place, layer in network.named_modules():
        if not isinstance(layer, NORMS):
            continue
        (pattern,) = (pattern for pattern in table if re.search(rf"(^|\.){pattern}$", place))
        assert agrees(layer, table[pattern]), f"{place} is not of {table[pattern]}"
        met.add(pattern)
    assert met == set(table)


@pytest.mark.parametrize(
    ("layer", "eps"),
    [
        (nn.GroupNorm(2, 8, eps=1e-5), 1e-6),
        (nn.LayerNorm(8, eps=1e-6), 1e-5),
        (BatchNorm2d(8, eps=1e-5), 1e-4),
        (Float32LayerNorm(8, eps=1e-5), 1e-6),
        (ChannelNorm(8, eps=1e-5), 1e-6),
        (ResponseNorm(8), 1e-5),
    ],
)
@torch.no_grad()
def test_another_epsilon_is_seen(layer, eps):
    assert not agrees(layer.eval(), eps)


@torch.no_grad()
def test_a_librarys_norm_keeps_its_epsilon():
    class Own(nn.GroupNorm):
        pass

    library = nn.Sequential(nn.GroupNorm(2, 8, eps=1e-6), nn.GroupNorm(2, 8, eps=1e-4))
    network = with_ops(library, SimpleNamespace(GroupNorm=Own))
    assert [type(layer) for layer in network] == [Own, Own]
    assert agrees(network[0], 1e-6)
    assert agrees(network[1], 1e-4)
