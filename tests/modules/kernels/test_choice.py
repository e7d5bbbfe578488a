"""Where fused functions may stand in for layers, how they are chosen, and the decoders that use them."""

import copy
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from personalive_core.backends.personalive.networks import build_tiny_vae, build_vae, vae_config
from personalive_core.modules.kernels import PLAIN, Kernels, fast_ops, is_fused, kernels_of
from personalive_core.modules.kernels.compiler import Compiler, is_readable, split_width
from personalive_core.modules.layers import FeedForward

X = torch.ones(2, 8)


class Hosted(nn.Linear):
    """A layer as a host's, which may change its weights at each use."""

    weight_function, bias_function = (), ()


class Unknown(nn.Linear):
    pass


@dataclass(frozen=True)
class Other(Kernels):
    """The plain functions as another set."""


def patched(**functions):
    layer = Hosted(8, 8)
    for name, value in functions.items():
        layer.__dict__[name] = value
    return layer


def test_a_layer_is_read_if_its_tensors_are_what_it_uses():
    assert is_readable(nn.Linear(8, 8), X)
    assert is_readable(nn.Conv2d(8, 8, 1, bias=False), X)
    assert is_readable(Hosted(8, 8), X)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(8, 8, dtype=torch.bfloat16),
        nn.Linear(8, 8, device="meta"),
        nn.LayerNorm(8, elementwise_affine=False),
        Unknown(8, 8),
        patched(weight_function=[lambda weight: weight + 1]),
        patched(bias_function=[lambda bias: bias + 1]),
    ],
    ids=["other type", "other device", "no weights", "unknown class", "patched weight", "patched bias"],
)
def test_a_layer_is_not_read_if_its_forward_would_use_another_tensor(layer):
    assert not is_readable(layer, X)


def test_a_quantised_weight_is_not_read():
    class Quantised(torch.Tensor):
        pass

    layer = nn.Linear(8, 8)
    del layer.weight
    layer.weight = torch.ones(8, 8).as_subclass(Quantised)
    assert not is_readable(layer, X)


def test_gradients_and_other_devices_and_types_are_left_to_the_twins():
    here = Compiler("cpu")
    with torch.no_grad():
        assert here.takes(X, nn.Linear(8, 8), None)
        assert not here.takes(X.long())
        assert not here.takes(X[:0])
        assert not Compiler().takes(X)
    assert not here.takes(X)


@pytest.mark.parametrize(
    ("channels", "width"), [(320, 64), (640, 128), (1280, 256), (2560, 256), (30, 32), (3, 4), (1, 1)]
)
def test_no_lane_idles_where_the_channels_allow_it(channels, width):
    assert split_width(channels) == width


def test_the_cpu_keeps_its_layers_and_hears_why():
    ops, reason = fast_ops(torch.device("cpu"))
    assert ops is nn
    assert reason == "The fused kernels are for NVIDIA GPUs, and the device is cpu."


def test_a_namespace_without_a_set_has_the_plain_one(fused_ops):
    other = Other()
    assert kernels_of(nn) is PLAIN
    assert kernels_of(fused_ops(other)) is other
    assert FeedForward(4, fused_ops(other)).kernels is other


def test_a_copied_network_is_fused_if_the_first_was(fused_ops):
    """As a LoRA copies it: its set of functions is copied too."""
    for network, fused in ((FeedForward(4), False), (FeedForward(4, fused_ops(Other())), True)):
        assert is_fused(network) is is_fused(copy.deepcopy(network)) is fused


class Held:
    """A tensor on cuda:`index`, which holds nothing."""

    is_cuda = True

    def __init__(self, index):
        self.index = index

    def get_device(self):
        return self.index


@pytest.fixture
def launches(monkeypatch):
    """(current device, grid, values, sizes) of each launch, on doubles of Triton and of two devices."""
    current, seen = [0], []

    class Jitted:
        def __init__(self, _kernel, do_not_specialize):
            self.varying = do_not_specialize

        def __getitem__(self, grid):
            return lambda *values, **sizes: seen.append((current[-1], grid, values, sizes))

    @contextmanager
    def device_of(tensor):
        current.append(tensor.get_device())
        yield
        current.pop()

    language = ModuleType("triton.language")
    triton = SimpleNamespace(jit=Jitted, language=language)
    monkeypatch.setitem(sys.modules, "triton", triton)
    monkeypatch.setitem(sys.modules, "triton.language", language)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    return seen


def _kernel(x, rows):
    """Is never compiled."""


@pytest.mark.parametrize("index", [0, 1])
def test_a_kernel_is_launched_on_the_device_of_its_tensors(launches, index):
    """Triton launches on the thread's current device, for which memory of another is none."""
    x = Held(index)
    Compiler()(_kernel, "rows")[(3,)](x, 5, WIDTH=4)
    assert launches == [(index, (3,), (x, 5), {"WIDTH": 4})]
    assert torch.cuda.current_device() == 0


@pytest.mark.usefixtures("launches")
def test_with_one_device_triton_launches_by_itself(monkeypatch):
    """The host's time bounds a stream: nothing is asked at a launch."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert type(Compiler()(_kernel)).__name__ == "Jitted"


def test_importing_the_networks_imports_no_triton():
    """Not even one that is broken: the name leads to a module that cannot be imported."""
    program = """
import sys
sys.modules["triton"] = None
import personalive_core.modules.unet, personalive_core.modules.decoder
from personalive_core.modules.kernels import triton_kernels
try:
    triton_kernels()
except ImportError:
    print("no triton", end="")
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.stdout == "no triton", answer.stderr


TINY = {"_class_name": "AutoencoderTiny", "decoder_block_out_channels": [8] * 4, "num_decoder_blocks": [1, 2, 1, 1]}
DECODERS = {"KLDecoder": (build_vae, vae_config((16, 8, 24), 8, layers=2)), "TinyDecoder": (build_tiny_vae, TINY)}


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_own_decoder_is_the_librarys(fused_ops, name):
    build, config = DECODERS[name]
    library, ours = build(config).eval(), build(config, fused_ops(Other())).eval()
    assert type(ours.decoder).__name__ == name
    shapes = {key: tensor.shape for key, tensor in library.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == shapes
    ours.load_state_dict(library.state_dict())
    latents = 2 * torch.randn(2, 4, 4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours.decode(latents).sample, library.decode(latents).sample)


@pytest.mark.parametrize(
    ("build", "config"),
    [
        (build_vae, vae_config((16, 8), 8) | {"mid_block_add_attention": False}),
        (build_vae, vae_config((16, 8), 8) | {"act_fn": "mish"}),
        (build_tiny_vae, TINY | {"upsample_fn": "bilinear"}),
    ],
)
def test_a_decoder_of_another_structure_stays_the_librarys(fused_ops, build, config):
    with torch.device("meta"):
        network = build(config, fused_ops(Other()))
    assert type(network.decoder).__module__.startswith("diffusers")
