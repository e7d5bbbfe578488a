"""The plain-torch functions between layers against formulas written out in float64."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.modules.kernels import PLAIN

DOUBLE = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(5)
    return lambda *shape: torch.randn(shape, generator=generator, **DOUBLE)


def varied(norm, draw):
    """`norm` with weights that show."""
    norm.weight.copy_(draw(*norm.weight.shape))
    norm.bias.copy_(draw(*norm.bias.shape))
    return norm


def attended(queries, keys, values):
    """Attention of lists of vectors, one head."""
    found = []
    for query in queries:
        weights = [math.exp(float(query @ key) / math.sqrt(len(query))) for key in keys]
        found.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return torch.stack(found)


def test_group_norm_adds_bias_and_shift_before_and_silu_after(draw):
    norm, x, shift, bias = varied(nn.GroupNorm(2, 6, **DOUBLE), draw), draw(2, 6, 3, 4), draw(2, 6), draw(6)
    y = PLAIN.group_norm(x, norm, silu=True, shift=shift, bias=bias)
    for item in range(2):
        for group in range(2):
            rows = slice(3 * group, 3 * group + 3)
            moved = x[item, rows] + (shift[item] + bias)[rows, None, None]
            scaled = (moved - moved.mean()) / (moved.var(correction=0) + norm.eps).sqrt()
            scaled = scaled * norm.weight[rows, None, None] + norm.bias[rows, None, None]
            torch.testing.assert_close(y[item, rows], scaled / (1 + (-scaled).exp()))


def test_group_norm_alone_is_the_layer(draw):
    norm, x = varied(nn.GroupNorm(3, 6, **DOUBLE), draw), draw(2, 6, 5)
    assert torch.equal(PLAIN.group_norm(x, norm), norm(x))


def test_add_norm_returns_the_sum_and_its_norm(draw):
    norm, x, delta = varied(nn.LayerNorm(5, **DOUBLE), draw), draw(4, 3, 5), draw(4, 3, 5)
    token, positions = draw(2, 1, 5), draw(2, 1, 5)
    total, tokens = PLAIN.add_norm(x, delta, norm, token, positions)
    for item in range(4):
        # two batch items of two frames each: the token goes with the first, the position with the second
        expected = x[item] + delta[item] + token[item // 2, 0]
        torch.testing.assert_close(total[item], expected)
        centred = expected - expected.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
        torch.testing.assert_close(tokens[item], scaled * norm.weight + norm.bias + positions[item % 2, 0])


def test_add_norm_of_nothing_keeps_the_stream(draw):
    x = draw(2, 3, 5)
    assert PLAIN.add_norm(x, None, nn.LayerNorm(5, **DOUBLE))[0] is x


def test_geglu_is_value_times_gelu_of_gate(draw):
    x = draw(3, 8)
    erf = torch.tensor([[math.erf(g / math.sqrt(2)) for g in row] for row in x[:, 4:].tolist()], **DOUBLE)
    torch.testing.assert_close(PLAIN.geglu(x), x[:, :4] * 0.5 * x[:, 4:] * (1 + erf))


def test_frames_see_their_own_position_and_group(draw):
    q, k, v = draw(6, 2, 4), draw(6, 2, 4), draw(6, 2, 4)
    y = PLAIN.frames(q, k, v, 2, 3, functional.scaled_dot_product_attention)
    for group in (slice(0, 3), slice(3, 6)):
        for position in range(2):
            for head in (slice(0, 2), slice(2, 4)):
                parts = (a[group, position, head] for a in (q, k, v))
                torch.testing.assert_close(y[group, position, head], attended(*parts))


def test_attention_is_per_item_and_head(draw):
    q, k, v = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4)
    y = PLAIN.attention(q, k, v, 2, functional.scaled_dot_product_attention)
    for item in range(2):
        for head in (slice(0, 2), slice(2, 4)):
            torch.testing.assert_close(y[item, :, head], attended(q[item, :, head], k[item, :, head], v[item, :, head]))


def test_beside_appends_the_batch_items_tokens_to_each_frame(draw):
    linear, x, shared = nn.Linear(3, 4, bias=False, **DOUBLE), draw(4, 2, 3), draw(2, 5, 4)
    both = PLAIN.beside(x, linear, shared)
    for frame in range(4):
        torch.testing.assert_close(both[frame, :2], x[frame] @ linear.weight.T)
        assert torch.equal(both[frame, 2:], shared[frame // 2])


def test_convolution_and_its_lacking_bias_make_the_convolution(draw):
    layer, x, residual = nn.Conv2d(3, 4, 3, padding=1, **DOUBLE), draw(2, 3, 5, 5), draw(2, 4, 5, 5)
    y, bias = PLAIN.convolution(x, layer)
    torch.testing.assert_close(PLAIN.add(y, residual, bias), layer(x) + residual)
    assert bias is None
    bias = draw(4)
    torch.testing.assert_close(PLAIN.add(y, None, bias, relu=True), (layer(x) + bias[:, None, None]).clamp(min=0))


def test_pointwise_mixes_channels(draw):
    layer, x = nn.Conv2d(3, 4, 1, **DOUBLE), draw(2, 3, 5, 5)
    expected = torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], x) + layer.bias[:, None, None]
    torch.testing.assert_close(PLAIN.pointwise(x, layer), expected)


def test_upsample_repeats_pixels_before_the_convolution(draw):
    layer, x = nn.Conv2d(3, 4, 3, padding=1, **DOUBLE), draw(2, 3, 5, 4)
    torch.testing.assert_close(PLAIN.upsample(x, layer), layer(x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
