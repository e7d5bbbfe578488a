"""Convolutions with a kernel 2 or 3 high and wide through Winograd's transforms (arXiv 1509.09308): float32 on a CPU.

A tile of 4 x 4 results of a 3 x 3 kernel takes 36 products a pair of channels instead of 144, a kernel of 2 x 2 takes
25 instead of 64. Activations are read and written channels last, a few rows of tiles at a time. The transformed weights
take four times the memory of the plain ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import Ops

_TILE = 4  # results a side of one tile
# By the kernel's side: where the polynomials behind the transforms are evaluated, besides at infinity. Of small
# fractions these round least: results are as exact as those of a convolution without transforms.
_POINTS = {2: (0.0, -1.0, 0.5, 2.0), 3: (0.0, -1.5, -2 / 3, 2 / 3, 1.5)}
_AT_ONCE = 256  # tiles a thread
_NARROWEST = 16  # channels: with fewer the transforms cost more than they save
_KERNELS = (2, 3, (3, 2, 2))  # that have a transform
_LARGEST = 256**2  # pairs of channels, over volumes: those of more have few pixels, and weights grow fourfold

Part = tuple[slice, slice, slice]  # pictures, all channels, rows
Finish = Callable[[Tensor, Part], Tensor]  # callback: some rows of a result [n, C, h, W], and which -> [n, C', h, W]


@lru_cache(maxsize=8)
def winograd_matrices(side: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices for a line of a tile, N = 3 + `side` long: of pixels [N, N], of weights [N, side], of results [4, N]."""
    points = torch.tensor(_POINTS[side], dtype=torch.float64)
    count = len(points)
    pixels, weights, results = (
        torch.zeros(*shape, dtype=torch.float64) for shape in ((count + 1,) * 2, (count + 1, side), (_TILE, count + 1))
    )
    for index, point in enumerate(points):
        others = points[torch.arange(count) != index]
        pixels[index, :count] = _polynomial(others)
        weights[index] = point ** torch.arange(side) / (point - others).prod()
        results[:, index] = point ** torch.arange(_TILE)
    pixels[count] = _polynomial(points)
    weights[count, -1] = results[-1, count] = 1
    return pixels.to(dtype), weights.to(dtype), results.to(dtype)


def _polynomial(roots: Tensor) -> Tensor:
    """Coefficients of the polynomial with these roots, from the constant up."""
    found = torch.ones(1, dtype=roots.dtype)
    for root in roots:
        found = functional.pad(found, (1, 0)) - root * functional.pad(found, (0, 1))
    return found


def winograd_weight(weight: Tensor) -> Tensor:
    """Weights [C, C_in, (K,) S, S] of a convolution -> [(K,) N², C_in, C], transformed."""
    side, deep = weight.shape[-1], weight.unsqueeze(2) if weight.dim() == 4 else weight  # noqa: PLR2004 - C, C_in, S, S
    lines = winograd_matrices(side, torch.float64)[1]
    found = torch.einsum("ab,oikb->kaio", torch.kron(lines, lines), deep.double().flatten(3))
    return (found if weight.dim() > 4 else found[0]).to(weight.dtype).contiguous()  # noqa: PLR2004


@dataclass(frozen=True)
class _Work:
    """A convolution of one volume [D, H, W, C_in], a picture being one of depth 1, to be done some rows at a time."""

    padded: Tensor  # [D + 2 or 1, ...] with zeros around it, as far as the last tile reaches
    weight: Tensor  # [K, N², C_in, C]
    bias: Tensor  # [C]
    side: int
    size: tuple[int, int]  # of the results
    tiles: tuple[int, int]  # down, across

    @property
    def depth(self) -> int:
        return len(self.padded) - 2 * (len(self.weight) // 2)

    @property
    def whole(self) -> tuple[int, int, int, int]:
        """Shape of the results of all tiles, the last of which may reach beyond `size`."""
        return self.depth, self.tiles[0] * _TILE, self.tiles[1] * _TILE, len(self.bias)

    def rows(self) -> Iterator[slice]:
        """Rows of tiles to be done at a time."""
        step = max(1, _AT_ONCE * torch.get_num_threads() // (self.depth * self.tiles[1]))
        for begin in range(0, self.tiles[0], step):
            yield slice(begin, min(begin + step, self.tiles[0]))

    def results(self, rows: slice, into: Tensor, memory: _Memory) -> None:
        """Writes the results of some rows of tiles `into` [D, 4 rows, 4 across, C]."""
        down, (deep, squares, _, channels), reach = rows.stop - rows.start, self.weight.shape, self.side + _TILE - 1
        from_pixels, _, to_results = winograd_matrices(self.side, into.dtype)
        seen = self.padded[:, rows.start * _TILE : rows.stop * _TILE + self.side - 1]
        tiles = seen.unfold(1, reach, _TILE).unfold(2, reach, _TILE).permute(4, 5, 0, 1, 2, 3)
        waves, lines = (memory.take(index, tiles.shape).flatten(2) for index in range(2))
        waves.view(tiles.shape).copy_(tiles)
        torch.mm(from_pixels, waves.flatten(1), out=lines.flatten(1))
        torch.bmm(from_pixels.expand(reach, -1, -1), lines, out=waves)
        seen = waves.view(squares, len(self.padded), down * self.tiles[1], -1)
        products = memory.take(2, (squares, self.depth * seen.shape[2], channels))
        torch.bmm(seen[:, : self.depth].flatten(1, 2), self.weight[0], out=products)
        for index in range(1, deep):
            products.baddbmm_(seen[:, index : index + self.depth].flatten(1, 2), self.weight[index])
        results = memory.take(0, (_TILE**2, products[0].numel()))
        torch.mm(torch.kron(to_results, to_results), products.flatten(1), out=results)
        parts = results.view(_TILE, _TILE, self.depth, down, self.tiles[1], channels).permute(2, 3, 0, 4, 1, 5)
        torch.add(parts, self.bias, out=into.view(parts.shape))


def _work(x: Tensor, weight: Tensor, bias: Tensor, side: int) -> _Work:
    deep, (depth, *size, channels) = len(weight) // 2, x.shape
    height, width = (pixels + 3 - side for pixels in size)
    down, across = -(-height // _TILE), -(-width // _TILE)
    padded = x.new_empty(depth + 2 * deep, down * _TILE + side - 1, across * _TILE + side - 1, channels)
    if deep:
        padded[0] = padded[-1] = 0
    padded[:, 0] = padded[:, 1 + size[0] :] = padded[:, :, 0] = padded[:, :, 1 + size[1] :] = 0
    padded[deep : deep + depth, 1 : 1 + size[0], 1 : 1 + size[1]] = x
    return _Work(padded, weight, bias, side, (height, width), (down, across))


@dataclass(frozen=True)
class _Memory:
    """Buffers that are used again for the next rows: what is new comes from the system page by page."""

    like: Tensor  # of the dtype and device
    buffers: dict[int, Tensor] = field(default_factory=dict)

    def take(self, index: int, shape: Sequence[int]) -> Tensor:
        """Buffer `index` as a tensor of this shape, with anything in it."""
        count = math.prod(shape)
        if index not in self.buffers or self.buffers[index].numel() < count:
            self.buffers[index] = self.like.new_empty(count)
        return self.buffers[index][:count].view(*shape)


class _WinogradConv(nn.Module):
    """What both have in common: a kernel `side` high and wide, and `depth` deep, each one's weights as transformed."""

    def __init__(self, channels_in: int, channels: int, side: int, depth: tuple[int, ...]) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.zeros(*depth, (side + _TILE - 1) ** 2, channels_in, channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, (D,) H, W] -> [N, C, (D,) H', W']."""
        pictures, weight = x.dim() == 4, self.weight  # noqa: PLR2004 - without depth
        volumes = x.movedim(1, -1).unsqueeze(1) if pictures else x.movedim(1, -1)
        made, memory = [], _Memory(x)
        for volume in volumes:
            work = _work(volume, weight[None] if pictures else weight, self.bias, self.side)
            found = x.new_empty(work.whole)
            for rows in work.rows():
                work.results(rows, found[:, rows.start * _TILE : rows.stop * _TILE], memory)
            made.append(found[:, : work.size[0], : work.size[1]])
        whole = made[0][None] if len(made) == 1 else torch.stack(made)
        return (whole[:, 0] if pictures else whole).movedim(-1, 1)


class WinogradConv2d(_WinogradConv):
    """Convolution with padding of 1 over [N, C_in, H, W]; 2 a side, results are one more."""

    def __init__(self, channels_in: int, channels: int, side: int) -> None:
        super().__init__(channels_in, channels, side, ())

    def by_rows(self, x: Tensor, finish: Finish) -> Tensor:
        """`finish` of the convolution's results, a few rows at a time, joined."""
        found, memory = None, _Memory(x)
        for index, one in enumerate(x.movedim(1, -1)):
            work = _work(one[None], self.weight[None], self.bias, self.side)
            for rows in work.rows():
                made = memory.take(3, (1, (rows.stop - rows.start) * _TILE, *work.whole[2:]))
                work.results(rows, made, memory)
                some = slice(rows.start * _TILE, min(rows.stop * _TILE, work.size[0]))
                own = made[:, : some.stop - some.start, : work.size[1]].movedim(-1, 1)
                done = finish(own, (slice(index, index + 1), slice(None), some)).movedim(1, -1)
                if found is None:
                    found = x.new_empty(len(x), *work.size, done.shape[-1])
                found[index : index + 1, some] = done
        if found is None:
            raise ValueError("a convolution needs at least one picture")
        return found.movedim(-1, 1)


class WinogradConv3d(_WinogradConv):
    """Convolution 3 deep with padding of 1 over [N, C_in, D, H, W]; 2 high and wide, results are one more there."""

    def __init__(self, channels_in: int, channels: int, side: int) -> None:
        super().__init__(channels_in, channels, side, (3,))


def by_rows(layer: nn.Module, x: Tensor, finish: Finish) -> Tensor:
    """`finish` of what a convolution makes of [N, C_in, H, W]: of a few rows at a time if it works by rows."""
    if isinstance(layer, WinogradConv2d):
        return layer.by_rows(x, finish)
    made = layer(x)
    return finish(made, (slice(None), slice(None), slice(0, made.shape[2])))


def winograd_ops(base: Ops = nn, narrowest: int = _NARROWEST) -> Ops:
    """Layers of `base`, but for convolutions that gain: those of at least `narrowest` channels in and out."""

    def gains(channels: tuple[int, int], kernel: Any, how: dict[str, Any]) -> bool:  # noqa: ANN401 - as torch's
        return kernel in _KERNELS and how == {"padding": 1} and min(channels) >= narrowest

    def picture(channels_in: int, channels: int, kernel: Any, **how: Any) -> nn.Module:  # noqa: ANN401
        if gains((channels_in, channels), kernel, how):
            return WinogradConv2d(channels_in, channels, kernel)
        made: nn.Module = base.Conv2d(channels_in, channels, kernel, **how)
        return made

    def volume(channels_in: int, channels: int, kernel: Any, **how: Any) -> nn.Module:  # noqa: ANN401
        if gains((channels_in, channels), kernel, how) and channels_in * channels <= _LARGEST:
            return WinogradConv3d(channels_in, channels, kernel if isinstance(kernel, int) else kernel[-1])
        made: nn.Module = base.Conv3d(channels_in, channels, kernel, **how)
        return made

    return SimpleNamespace(Linear=base.Linear, Conv2d=picture, Conv3d=volume)


def transform_weights(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `network`, whose layers are those of `winograd_ops`, from that of the same with plain layers."""
    found = dict(state)
    for name, module in network.named_modules():
        if isinstance(module, _WinogradConv):
            found[f"{name}.weight"] = winograd_weight(state[f"{name}.weight"])
    return found
