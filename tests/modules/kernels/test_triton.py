"""The Triton functions against their twins: on a CUDA device, or with TRITON_INTERPRET=1 in Triton's interpreter.

Triton 3.6 interprets loops with NumPy below 2.4 alone.
"""

import copy
import os

import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.kernels import PLAIN, triton_kernels
from personalive_core.modules.unet import UNet, UNetConfig

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [] if INTERPRETED else [pytest.mark.gpu]

# Relative errors. Half precision: of the twin's own roundings between the steps, which the kernels do not have.
BOUNDS = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
TYPES = pytest.mark.parametrize("dtype", BOUNDS, ids=lambda dtype: str(dtype).removeprefix("torch."))
# the interpreter multiplies the bits of bfloat16 matrices as if they were whole numbers
MATRIX_TYPES = pytest.mark.parametrize("dtype", list(BOUNDS)[: 2 if INTERPRETED else 3], ids=str)


@pytest.fixture(autouse=True)
def _poisoned():
    """New tensors are full of NaN, so that an element that is not written shows; no gradients."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.no_grad():
        yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def fused():
    pytest.importorskip("triton", reason="needs Triton: pip install triton")
    return triton_kernels(DEVICE)


@pytest.fixture
def draw(dtype):
    generator = torch.Generator().manual_seed(7)
    return lambda *shape: torch.randn(shape, generator=generator).to(DEVICE, dtype)


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


def varied(layer, draw):
    """`layer` with weights that show."""
    for parameter in layer.parameters():
        parameter.data = parameter.data.to(DEVICE, draw(1).dtype)
        parameter.copy_(draw(*parameter.shape) / max(parameter[0].numel(), 1) ** 0.5)
    return layer


def assert_agrees(found, inputs, function):
    """`found` is what the twin gives for the `inputs`, computed in float64."""
    bound = BOUNDS[found.dtype]
    expected = function(*(copy.deepcopy(a).double() if isinstance(a, (torch.Tensor, nn.Module)) else a for a in inputs))
    assert found.shape == expected.shape
    error = (found.double() - expected).norm() / expected.norm()
    assert error < bound, f"relative error {float(error):.1e}"


GROUPED = [(32, 32, (2, 3)), (3, 60, (9, 7)), (32, 320, (8, 9)), (32, 640, (1, 1)), (1, 24, (40, 30))]


@TYPES
@pytest.mark.parametrize(("groups", "channels", "size"), GROUPED)
def test_group_norm(fused, draw, groups, channels, size):
    norm = varied(nn.GroupNorm(groups, channels, eps=1e-3), draw)
    x = channels_last(3 * draw(2, channels, *size) + 5)
    shift, bias = draw(2, channels), draw(channels)
    given = [fused.group_norm(x, norm, True, shift, bias), fused.group_norm(x, norm, bias=bias)]
    wanted = [(x, norm, True, shift, bias), (x, norm, False, None, bias)]
    for found, inputs in zip(given, wanted, strict=True):
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert_agrees(found, inputs, PLAIN.group_norm)


@TYPES
def test_group_norm_of_tokens_and_of_channels_first(fused, draw):
    norm, x = varied(nn.GroupNorm(4, 16), draw), draw(2, 16, 6, 5)
    inputs = (x.flatten(2), norm)
    assert_agrees(fused.group_norm(x.flatten(2), norm), inputs, PLAIN.group_norm)
    assert_agrees(fused.group_norm(x, norm), (x, norm), PLAIN.group_norm)


@pytest.mark.parametrize("dtype", [torch.float32])
def test_group_norm_keeps_its_digits_beside_a_large_mean(fused, draw):
    """Squares of the values themselves would leave nothing of this variance."""
    norm, x = varied(nn.GroupNorm(2, 8), draw), channels_last(draw(1, 8, 30, 30) + 3000)
    exact = PLAIN.group_norm(x.double(), copy.deepcopy(norm).double())
    assert (fused.group_norm(x, norm) - exact).abs().max() < 2e-3  # the input's own rounding


@TYPES
@pytest.mark.parametrize(("items", "length", "channels"), [(4, 5, 20), (6, 3, 64), (2, 7, 320), (2, 1, 1280)])
def test_add_norm(fused, draw, items, length, channels):
    norm, x, delta = varied(nn.LayerNorm(channels), draw), draw(items, length, channels), draw(items, length, channels)
    token, positions = draw(2, 1, channels), draw(items // 2, 1, channels)
    cases = [(None, None, None), (delta, None, None), (delta, token, None), (delta, None, positions)]
    cases += [(None, None, positions), (None, token, positions)]
    for added, shared, places in cases:
        inputs = (x, added, norm, shared, places)
        total, tokens = fused.add_norm(x, added, norm, shared, places)
        for part, found in enumerate((total, tokens)):
            assert_agrees(found, inputs, lambda *a, part=part: PLAIN.add_norm(*a)[part])


@TYPES
@pytest.mark.parametrize("shape", [(3, 5, 2 * 72), (1, 7, 2 * 1280), (2, 2)])
def test_geglu(fused, draw, shape):
    x = 2 * draw(*shape)
    assert_agrees(fused.geglu(x), (x,), PLAIN.geglu)


TEMPORAL = [
    (16, 1, 7, 8, 40),
    (4, 3, 9, 8, 4),
    (12, 2, 5, 2, 20),
    (32, 1, 3, 4, 80),
    (16, 1, 2, 2, 160),
    (1, 2, 3, 1, 8),
]


@MATRIX_TYPES
@pytest.mark.parametrize("sizes", TEMPORAL)
def test_frames(fused, draw, sizes):
    frames, groups, length, heads, dim = sizes
    q, k, v = (draw(frames * groups, length, heads * dim) for _ in range(3))
    found = fused.frames(q, k, v, heads, frames, functional.scaled_dot_product_attention)
    assert_agrees(found, (q, k, v, heads, frames, functional.scaled_dot_product_attention), PLAIN.frames)


@MATRIX_TYPES
@pytest.mark.parametrize(("length", "keys", "heads", "dim"), [(33, 32, 8, 4), (150, 20, 2, 40), (3, 64, 1, 160)])
def test_attention_to_few_keys(fused, draw, length, keys, heads, dim):
    q, k, v = draw(2, length, heads * dim), draw(2, keys, heads * dim), draw(2, keys, heads * dim)
    inputs = (q, k, v, heads, functional.scaled_dot_product_attention)
    assert_agrees(fused.attention(*inputs), inputs, PLAIN.attention)


@TYPES
def test_beside(fused, draw):
    linear, x, shared = varied(nn.Linear(24, 40, bias=False), draw), draw(6, 10, 24), draw(2, 14, 40)
    found = fused.beside(x, linear, shared)
    assert_agrees(found, (x, linear, shared), PLAIN.beside)


@TYPES
@pytest.mark.parametrize("channels", [3, 40, 64])
def test_convolutions(fused, draw, channels):
    layer, x = varied(nn.Conv2d(24, channels, 3, stride=2, padding=1), draw), channels_last(draw(2, 24, 7, 6))
    y, bias = fused.convolution(x, layer)
    residual = draw(*y.shape)
    found = fused.add(y, residual, bias, relu=True)
    assert_agrees(found, (x, layer, residual), lambda x, layer, r: functional.relu(layer(x) + r))
    point = varied(nn.Conv2d(24, channels, 1), draw)
    assert_agrees(fused.pointwise(x, point), (x, point), PLAIN.pointwise)


@TYPES
@pytest.mark.parametrize(("channels", "out", "bias"), [(24, 40, True), (16, 3, True), (64, 64, False)])
@pytest.mark.parametrize("last", [True, False])
def test_upsample(fused, draw, channels, out, bias, last):
    layer, x = varied(nn.Conv2d(channels, out, 3, padding=1, bias=bias), draw), draw(2, channels, 5, 6)
    if last:
        layer, x = channels_last(layer), channels_last(x)
    found = fused.upsample(x, layer)
    assert_agrees(found, (x, layer), PLAIN.upsample)


@pytest.mark.parametrize("dtype", [torch.float32])
@pytest.mark.parametrize("chunk", [0, 2])
def test_whole_unet(fused, draw, chunk, fused_ops):
    """With a keyframe, at widths that are no powers of two; a second run gives the same numbers."""
    config = UNetConfig((24, 40), layers=1, heads=2, groups=2, image_dim=12, motion_dim=8, chunk_frames=chunk)
    plain = varied(UNet(config), draw).to(DEVICE).eval()
    ours = channels_last(UNet(config, fused_ops(fused)).to(DEVICE).eval())
    ours.load_state_dict(plain.state_dict())
    tokens = (draw(1, 2 * 16, 24), draw(1, 2 * 4, 40), draw(1, 2 * 16, 24), draw(1, 2 * 16, 24))
    image, features = plain.project_image(draw(1, 1, 12)), plain.project_reference(tokens)
    motion = MotionFeatures(draw(1, 4, 6, 8), draw(1, 4, 24, 4, 4))
    inputs = (draw(1, 4, 4, 4, 4), torch.arange(4, device=DEVICE) * 100, image, motion, features)
    expected, found = plain(*inputs), ours(*inputs)
    assert (found - expected).norm() / expected.norm() < 1e-5
    assert torch.equal(ours(*inputs), found)
