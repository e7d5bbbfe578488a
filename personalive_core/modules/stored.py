"""Layers whose weights may be stored in another type than they compute in, such as 8 bits: cast for each use."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class StoredOps:
    """A namespace of layers, in place of torch's own; norms stay as they are."""

    GroupNorm, LayerNorm = nn.GroupNorm, nn.LayerNorm

    class Linear(nn.Linear):
        """Computes in its input's type."""

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            """[..., I] -> [..., O]."""
            return functional.linear(input, self.weight.to(input.dtype), self.bias)

    class Conv2d(nn.Conv2d):
        """Computes in its input's type."""

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            """[N, I, H, W] -> [N, O, H', W']."""
            return self._conv_forward(input, self.weight.to(input.dtype), self.bias)

    class Conv3d(nn.Conv3d):
        """Computes in its input's type."""

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            """[N, I, T, H, W] -> [N, O, T', H', W']."""
            return self._conv_forward(input, self.weight.to(input.dtype), self.bias)
