"""8-bit products: which layers, what error, and that they follow the weights."""

import pytest
import torch
from torch import nn

from personalive_core.backends.personalive.speed.fp8 import (
    E4M3,
    Fp8Linear,
    fp8_linear,
    is_wide,
    product,
    quantise,
    settle,
)


@pytest.mark.parametrize(
    ("inputs", "outputs", "wide"),
    [
        (640, 5120, True),
        (2560, 640, True),
        (1280, 10240, True),
        (5120, 1280, True),
        (320, 2560, False),
        (1280, 1280, False),
        (640, 5112, False),
    ],
)
def test_wide_layers_are_those_of_the_feed_forward(inputs, outputs, wide):
    assert is_wide(inputs, outputs) == wide
    with torch.device("meta"):
        made = fp8_linear(nn.Linear)(inputs, outputs, bias=False)
    assert isinstance(made, Fp8Linear) == wide
    assert made.bias is None


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_quantised_to_the_whole_range():
    small, scale = quantise(drawn(64, 32) * 1e-3)
    assert small.dtype == E4M3
    assert small.float().abs().max() == 448
    assert torch.allclose(small.float() * scale, drawn(64, 32) * 1e-3, atol=1e-3 * 4 / 16)
    assert quantise(torch.zeros(2, 2))[0].float().abs().max() == 0


def test_product_is_that_of_the_quantised_numbers():
    (x, scale_x), (weight, scale_w) = quantise(drawn(5, 32)), quantise(drawn(16, 32, seed=1))
    bias = drawn(16, seed=2)
    made = product(x, weight, (scale_x, scale_w), bias, torch.float32)
    expected = (x.double() * scale_x) @ (weight.double() * scale_w).T + bias
    assert torch.allclose(made.double(), expected, atol=1e-4)


@torch.inference_mode()
def test_a_layer_is_exact_until_it_is_settled_and_then_off_by_three_percent():
    """e4m3 has 3 bits of mantissa: 2.6 % noise in each factor, which the sum over the inputs does not reduce."""
    layer, exact = Fp8Linear(256, 128), nn.Linear(256, 128)
    weights = {"weight": drawn(128, 256), "bias": drawn(128, seed=1)}
    layer.load_state_dict(weights)
    exact.load_state_dict(weights)
    x = drawn(2, 40, 256, seed=2)
    assert torch.equal(layer(x), exact(x))
    assert layer.state_dict().keys() == exact.state_dict().keys()
    settle(nn.Sequential(layer))
    error = (layer(x) - exact(x)).std() / exact(x).std()
    assert 0.02 < error < 0.05
    layer.weight.mul_(2)
    settle(layer)
    exact.weight.mul_(2)
    assert (layer(x) - exact(x)).std() / exact(x).std() < 0.05


@pytest.mark.gpu
@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensor_cores_give_the_emulated_numbers(dtype):
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs compute capability 8.9: run it on an Ada or Hopper card")
    (x, scale_x), (weight, scale_w) = quantise(drawn(64, 640)), quantise(drawn(2560, 640, seed=1))
    bias = drawn(2560, seed=2).to(dtype)
    emulated = product(x, weight, (scale_x, scale_w), bias, torch.float32)
    scales = scale_x.cuda(), scale_w.cuda()
    made = product(x.cuda(), weight.cuda(), scales, bias.cuda(), dtype).float().cpu()
    assert (made - emulated).std() / emulated.std() < 0.01
