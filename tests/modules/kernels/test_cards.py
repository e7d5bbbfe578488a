"""The Triton kernels are compiled for cards that need not be here: what they ask of a processor is what it has."""

import os

import pytest
import torch

from personalive_core.modules.kernels import triton_kernels

SHARED = 99 * 1024  # bytes of shared memory that a program may have: GeForce 30, 40 and 50
CARDS = {"GeForce 30": 86, "GeForce 50": 120}  # and their compute capability, times ten
pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets: unset TRITON_INTERPRET"
)
TYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=["float16", "float32"])


class Driver:
    """In Triton's driver's place: a card that compiles and does not run."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_device(self):
        return self.capability  # Triton keeps what it compiled for each

    def get_current_stream(self, _):
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


@pytest.fixture(params=CARDS.values(), ids=list(CARDS))
def compiled(request, monkeypatch):
    """(name, bytes of shared memory) of each kernel that is launched; nothing runs."""
    pytest.importorskip("triton", reason="needs Triton: pip install triton")
    from triton.runtime import driver, jit

    found = []

    def launch(kernel, grid):
        def compile_alone(*inputs, **sizes):
            made = kernel.run(*inputs, grid=grid, warmup=True, **sizes)
            found.append((kernel.fn.__name__, made.metadata.shared))

        return compile_alone

    monkeypatch.setattr(driver, "_active", Driver(request.param))  # its getter asks for a card
    monkeypatch.setattr(jit.JITFunction, "__getitem__", launch)
    triton_kernels.cache_clear()
    with torch.no_grad():
        yield found
    triton_kernels.cache_clear()


@TYPES
@pytest.mark.parametrize("frames", [16, 32])
@pytest.mark.parametrize("dim", [40, 160, 256])
def test_frames(compiled, dtype, frames, dim):
    tokens = torch.empty(frames, 64, 8 * dim, dtype=dtype, device="meta")
    triton_kernels("meta").frames(tokens, tokens, tokens, 8, frames, None)
    [(name, shared)] = compiled
    assert name == "_frames"
    assert shared <= SHARED


@TYPES
@pytest.mark.parametrize("keys", [32, 64])
@pytest.mark.parametrize("dim", [40, 160, 256])
def test_attention_to_few_keys(compiled, dtype, keys, dim):
    queries, known = (torch.empty(4, count, 8 * dim, dtype=dtype, device="meta") for count in (1024, keys))
    attend = torch.nn.functional.scaled_dot_product_attention
    triton_kernels("meta").attention(queries, known, known, 8, attend)
    assert [name for name, _ in compiled] == ["_few_keys"] * (dtype == torch.float16 or keys * dim <= 64 * 128)
    assert all(shared <= SHARED for _, shared in compiled)
