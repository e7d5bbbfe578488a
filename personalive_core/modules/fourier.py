"""A convolution over volumes with a wide kernel, through Fourier transforms of its planes: for float32 on a CPU.

A kernel 7 a side takes 343 products for each result; here it takes 7, along depth alone, of each frequency of a plane.
One sum of 48,706 products becomes sums of 142, so it also rounds by a twentieth as much.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FOURIER_TILE = (
    28  # pixels a side of the parts that are transformed: with 38 nothing is faster, and weights take twice as much
)


def plane_spectrum(weight: Tensor) -> Tensor:
    """Weights [C, C_in, K, K, K] -> [K, frequencies, C, C_in, 2]: the conjugate transform of each depth's plane."""
    planes = torch.fft.rfft2(weight.double(), s=(FOURIER_TILE, FOURIER_TILE)).conj()
    return torch.view_as_real(planes.flatten(3).permute(2, 3, 0, 1).to(torch.complex64).contiguous())


class FourierConv3d(nn.Module):
    """Convolution [N, C_in, D, H, W] -> [N, C, D, H, W] that keeps the size; its weights are a `plane_spectrum`."""

    spectrum: Tensor

    def __init__(self, channels_in: int, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        frequencies = FOURIER_TILE * (FOURIER_TILE // 2 + 1)
        self.register_buffer("spectrum", torch.zeros(side, frequencies, channels, channels_in, 2))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._one(volume) for volume in x]) + self.bias[:, None, None, None]

    def _one(self, x: Tensor) -> Tensor:
        channels, depth, height, width = x.shape
        step, margin = (
            FOURIER_TILE - self.side + 1,
            self.side // 2,
        )  # what of a tile is not touched by its opposite edge
        down, across = -(-height // step), -(-width // step)
        beyond = (margin, across * step + margin - width, margin, down * step + margin - height)
        tiles = functional.pad(x, beyond).unfold(2, FOURIER_TILE, step).unfold(3, FOURIER_TILE, step).contiguous()
        waves = torch.fft.rfft2(tiles).view(channels, depth * down * across, -1)
        # planes of zeros before and after: [frequencies, C_in, (D + 2 margin) * tiles]
        count = down * across
        seen = functional.pad(waves.permute(2, 0, 1), (margin * count, margin * count))
        spectrum = torch.view_as_complex(self.spectrum)
        found = torch.bmm(spectrum[0], seen[..., : depth * count])
        for index in range(1, self.side):
            found.baddbmm_(spectrum[index], seen[..., index * count : (index + depth) * count])
        parts = found.permute(1, 2, 0).reshape(-1, depth, down, across, FOURIER_TILE, FOURIER_TILE // 2 + 1)
        pixels = torch.fft.irfft2(parts, s=(FOURIER_TILE, FOURIER_TILE))[..., :step, :step]
        whole = pixels.transpose(3, 4).reshape(-1, depth, down * step, across * step)
        return whole[..., :height, :width]
