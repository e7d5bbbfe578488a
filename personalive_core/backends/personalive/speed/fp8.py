"""Products of wide linear layers in 8-bit floats (e4m3), with one scale for the weights and one for the activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

E4M3 = torch.float8_e4m3fn
E4M3_LARGEST = torch.finfo(E4M3).max  # 448
# Narrower layers gain less from the product than the cast costs.
NARROWEST, WIDEST_SIDE = 640, 2560
MULTIPLE = 16  # of both sides, which the product demands


def is_wide(inputs: int, outputs: int) -> bool:
    """True for the sides of a linear layer that gains: the feed-forward layers at 640 and 1280 channels."""
    sides = sorted((inputs, outputs))
    return sides[0] >= NARROWEST and sides[1] >= WIDEST_SIDE and not any(side % MULTIPLE for side in sides)


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """(`x` / scale in e4m3, the scale): a float32 scalar that maps the largest magnitude to the type's largest."""
    scale = (x.abs().amax().float() / E4M3_LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    return (x.float() / scale).clamp(-E4M3_LARGEST, E4M3_LARGEST).to(E4M3), scale


def product(
    x: Tensor, weight: Tensor, scales: tuple[Tensor, Tensor], bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """e4m3 `x` [N, in] times e4m3 `weight` [out, in], times both scales, plus `bias`: [N, out] in `dtype`.

    On CUDA by the tensor cores; elsewhere the same numbers in float32.
    """
    if x.is_cuda:
        scaled: Any = torch._scaled_mm
        inside = bias if dtype is not torch.float32 else None  # the product adds only half-precision biases
        made: Tensor = scaled(
            x, weight.t(), scale_a=scales[0], scale_b=scales[1], bias=inside, out_dtype=dtype, use_fast_accum=True
        )
        return made if bias is None or inside is not None else made + bias
    bias = None if bias is None else bias.float()
    return functional.linear(x.float() * scales[0], weight.float() * scales[1], bias).to(dtype)


class Fp8Linear(nn.Linear):
    """A linear layer whose product is in e4m3 after `settle`; before, it is the layer as it was."""

    weight8: Tensor | None
    scale: Tensor | None

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_buffer("weight8", None, persistent=False)
        self.register_buffer("scale", None, persistent=False)

    def settle(self) -> None:
        """Quantises the weights that are there now."""
        self.weight8, self.scale = quantise(self.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        if self.weight8 is None or self.scale is None:
            return super().forward(x)
        rows, scale = quantise(x.flatten(0, -2))
        made = product(rows, self.weight8, (scale, self.scale), self.bias, x.dtype)
        return made.view(*x.shape[:-1], self.out_features)


def fp8_linear(base: Any) -> Any:  # noqa: ANN401 - the Linear of an `ops` namespace, and one like it
    """A maker of linear layers: e4m3 for wide ones, `base` for the others."""

    def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        made: nn.Module = (Fp8Linear if is_wide(inputs, outputs) else base)(inputs, outputs, bias=bias)
        return made

    return linear


def settle(network: nn.Module) -> nn.Module:
    """Quantises the weights of every `Fp8Linear` in `network`; returns `network`."""
    for module in network.modules():
        if isinstance(module, Fp8Linear):
            module.settle()
    return network
