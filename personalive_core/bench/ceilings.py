"""Ceilings of the machine: what copies, products, convolutions and attention reach alone, in the networks' sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ..backends.personalive.speed.choice import FP8_CAPABILITY
from ..backends.personalive.types import LATENT_PIXELS, STREAM
from ..modules.unet import UNetConfig
from .figures import Ceiling
from .measure import median_seconds
from .options import BenchOptions

COPIED = {"cuda": 2**31, "cpu": 2**26}  # bytes: far more than caches hold
PRODUCT = {"cuda": 8192, "cpu": 1024}  # rows and columns
KEY_COUNTS = (2, 5)  # attention to own and reference tokens, and to three keyframes' besides

Measured = tuple[str, str, float, Callable[[], object]]  # name, unit, amount, call


def measure_ceilings(options: BenchOptions) -> tuple[Ceiling, ...]:
    """Rates of this machine on random numbers, in the options' precision."""
    with torch.inference_mode():
        return tuple(
            Ceiling(name, amount / median_seconds(call, max(options.repeats, 3), options.device), unit)
            for name, unit, amount, call in _all_work(options)
        )


def _all_work(options: BenchOptions) -> Iterator[Measured]:
    yield _copy(options)
    yield _product(options)
    if options.device.type == "cuda" and torch.cuda.get_device_capability(options.device) >= FP8_CAPABILITY:
        yield _fp8_product(options)
    sides = _sides(options)
    for width, side in sides:
        for layout in (torch.contiguous_format, torch.channels_last):
            yield _convolution(options, width, side, layout)
    for keys in KEY_COUNTS:
        yield _attention(options, *sides[0], keys)
    yield _temporal(options, *sides[0])


def _sides(options: BenchOptions) -> list[tuple[int, int]]:
    """(width, side) of the UNet's levels, without a level of the width before it."""
    side = options.size // LATENT_PIXELS
    levels = {width: side // 2**level for level, width in reversed([*enumerate(options.widths)])}
    return sorted(levels.items(), key=lambda item: -item[1])


def _random(options: BenchOptions, *shape: int) -> Tensor:
    generator = torch.Generator(options.device).manual_seed(0)
    made = torch.randn(shape, generator=generator, device=options.device, dtype=torch.float32)
    return made.to(options.precision)


def _copy(options: BenchOptions) -> Measured:
    size = COPIED.get(options.device.type, COPIED["cpu"])
    generator = torch.Generator(options.device).manual_seed(0)
    source = torch.empty(size, dtype=torch.uint8, device=options.device).random_(generator=generator)
    target = torch.empty_like(source)
    return "copy", "B/s", 2.0 * size, lambda: target.copy_(source)


def _product(options: BenchOptions) -> Measured:
    n = PRODUCT.get(options.device.type, PRODUCT["cpu"])
    a, b = _random(options, n, n), _random(options, n, n)
    return f"product {n}", "FLOP/s", 2.0 * n**3, lambda: a @ b


def _fp8_product(options: BenchOptions) -> Measured:
    n, one = PRODUCT["cuda"], torch.ones((), device=options.device)
    a = _random(options, n, n).to(torch.float8_e4m3fn)
    product = torch._scaled_mm  # torch's only product of 8-bit floats
    half = torch.bfloat16
    return f"fp8 product {n}", "FLOP/s", 2.0 * n**3, lambda: product(a, a.t(), scale_a=one, scale_b=one, out_dtype=half)


def _convolution(options: BenchOptions, width: int, side: int, layout: torch.memory_format) -> Measured:
    frames = STREAM.windows * STREAM.window
    x = _random(options, frames, width, side, side).to(memory_format=layout)
    weight = (_random(options, width, width, 3, 3) / (3 * width**0.5)).to(memory_format=layout)
    last = "last" if layout == torch.channels_last else "first"
    name = f"convolution {width} at {side}, channels {last}"
    amount = 18.0 * frames * width * width * side * side
    return name, "FLOP/s", amount, lambda: functional.conv2d(x, weight, padding=1)


def _attention(options: BenchOptions, width: int, side: int, keys: int) -> Measured:
    frames, heads, length = STREAM.windows * STREAM.window, UNetConfig.heads, side * side
    q = _random(options, frames, heads, length, width // heads)
    k = _random(options, frames, heads, keys * length, width // heads)
    amount = 4.0 * frames * keys * length * length * width
    attend = functional.scaled_dot_product_attention
    return f"attention {length} to {keys * length}, width {width // heads}", "FLOP/s", amount, lambda: attend(q, k, k)


def _temporal(options: BenchOptions, width: int, side: int) -> Measured:
    frames, heads = STREAM.windows * STREAM.window, UNetConfig.heads
    q = _random(options, side * side, heads, frames, width // heads)
    moved = 4.0 * q.numel() * q.element_size()
    attend = functional.scaled_dot_product_attention
    return f"temporal attention of {frames}, its reads and writes", "B/s", moved, lambda: attend(q, q, q)
