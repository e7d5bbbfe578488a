"""Dense motion of LivePortrait's warping network: where each voxel of the animated volume comes from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .conv_norm import VOLUMES, ConvNorm, batch_norm
from .fourier import FourierConv3d
from .layers import Ops
from .repeated import interleaved, kinds
from .volumes import sample_volume, voxel_grid

HEAT_VARIANCE = 0.01  # of a keypoint's Gaussian, in units of half the picture
_MASK_SIDE = 7


@dataclass(frozen=True)
class WarpingConfig:
    """Shapes of the warping network."""

    channels: int = 32  # of the feature volume
    depth: int = 16  # of the feature volume
    keypoints: int = 21
    compressed: int = 4  # channels of the volume that the dense motion sees
    width: int = 32  # channels of the hourglass's last layer; each level further in has twice as many
    most: int = 1024  # but no more than these
    levels: int = 5
    out: int = 256  # channels of the warped features
    folded: bool = False  # norms are part of the convolutions, see folding.py
    fourier: bool = False  # folded, the masks' convolution goes through Fourier transforms, see fourier.py

    @property
    def motions(self) -> int:
        """The identity and one motion a keypoint."""
        return self.keypoints + 1

    @property
    def seen(self) -> int:
        """Channels of the hourglass's input: of each motion a heat map and the moved volume."""
        return self.motions * (1 + self.compressed)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the hourglass's levels from the outermost, which is its input's."""
        return (self.seen, *(min(self.most, self.width * 2**level) for level in range(1, self.levels + 1)))


class UpsampledConvNorm(nn.Module):
    """Repeats a volume's rows and columns, then `ConvNorm`: [N, C_in, D, H, W] -> [N, C, D, 2H, 2W]."""

    def __init__(self, channels_in: int, channels: int, folded: bool, ops: Ops) -> None:
        super().__init__()
        self.folded = folded
        self.norm = nn.Identity() if folded else batch_norm(VOLUMES, channels)
        if folded:  # see repeated.py
            self.conv = ops.Conv3d(channels_in, kinds(2) * channels, (3, 2, 2), padding=1)
        else:
            self.conv = ops.Conv3d(channels_in, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.folded:
            return interleaved(self.conv(x), 2)
        return self.norm(self.conv(functional.interpolate(x, scale_factor=(1, 2, 2))))


class HourglassEncoder(nn.Module):
    """A volume [N, C, D, H, W] -> itself and one map a level, each of half the height and width of the one before."""

    def __init__(self, config: WarpingConfig, ops: Ops) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(
            ConvNorm(VOLUMES, narrow, wide, config.folded, ops) for narrow, wide in itertools.pairwise(config.widths)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for block in self.down_blocks:
            maps.append(_halved(functional.relu(block(maps[-1]))))
        return maps


def _halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 voxels: [N, C, D, H, W] -> [N, C, D, H / 2, W / 2]."""
    # depth counts as channels, or as pictures: not every device pools volumes, nor the CPU in float16
    if x.stride(1) == 1:  # channels last, and so is the result
        return functional.avg_pool2d(x.transpose(1, 2).flatten(0, 1), 2).unflatten(0, x.shape[:3:2]).transpose(1, 2)
    return functional.avg_pool2d(x.flatten(1, 2), 2).unflatten(1, x.shape[1:3])


class HourglassDecoder(nn.Module):
    """The encoder's maps -> a map [N, width + seen, D, H, W] of the outermost one's size."""

    def __init__(self, config: WarpingConfig, ops: Ops) -> None:
        super().__init__()
        widths, folded = config.widths, config.folded
        self.up_blocks = nn.ModuleList()
        for level in range(config.levels, 0, -1):
            narrow = config.width if level == 1 else widths[level - 1]
            joined = 1 if level == config.levels else 2  # the map from further in, and the encoder's beside it
            self.up_blocks.append(UpsampledConvNorm(joined * widths[level], narrow, folded, ops))
        channels = config.width + config.seen
        self.conv = ops.Conv3d(channels, channels, 3, padding=1)
        self.norm = nn.Identity() if folded else batch_norm(VOLUMES, channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for block, beside in zip(self.up_blocks, reversed(maps[:-1]), strict=True):
            x = torch.cat([functional.relu(block(x)), beside], 1)
        return functional.relu(self.norm(self.conv(x)))


class DenseMotion(nn.Module):
    """Feature volume and keypoints -> deformation [N, D, H, W, 3] in [-1, 1], and occlusion [N, 1, H, W]."""

    def __init__(self, config: WarpingConfig, ops: Ops) -> None:
        super().__init__()
        channels = config.width + config.seen
        self.hourglass = nn.Module()
        self.hourglass.encoder = HourglassEncoder(config, ops)
        self.hourglass.decoder = HourglassDecoder(config, ops)
        if config.fourier:
            self.mask = FourierConv3d(channels, config.motions, _MASK_SIDE)
        else:
            self.mask = ops.Conv3d(channels, config.motions, _MASK_SIDE, padding=_MASK_SIDE // 2)
        self.compress = ops.Conv3d(config.channels, config.compressed, 1)
        self.norm = nn.Identity() if config.folded else batch_norm(VOLUMES, config.compressed)
        self.folded = config.folded
        if config.folded:  # each tap's product by itself; `_occlusion` adds them up
            self.occlusion = ops.Conv2d(channels * config.depth, _MASK_SIDE**2, 1)
        else:
            self.occlusion = ops.Conv2d(channels * config.depth, 1, _MASK_SIDE, padding=_MASK_SIDE // 2)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        """`volume` [N, C, D, H, W], keypoints of source and driving [N, 21, 3]."""
        seen = functional.relu(self.norm(self.compress(volume)))
        depth, height, width = volume.shape[2:]
        grid = voxel_grid(depth, height, width, volume.device)
        shifts = functional.pad(source - driving, (0, 0, 1, 0)).to(grid)  # [N, 22, 3]: none, then each point's
        heat = functional.pad(_heat(grid, driving) - _heat(grid, source), (0, 0, 0, 0, 0, 0, 1, 0))
        moved = _moved(seen, grid.float(), shifts.float())
        inner = torch.cat([heat[:, :, None].to(volume.dtype), moved], 2).flatten(1, 2)
        inner = self.hourglass.decoder(self.hourglass.encoder(inner))
        mask = self.mask(inner).float().softmax(1).to(grid)
        # the masks add up to 1, so the mean of places is the voxel's own plus the mean of shifts
        deformation = grid + torch.einsum("nkdhw,nkc->ndhwc", mask, shifts)
        return deformation, self._occlusion(inner.flatten(1, 2)).sigmoid()

    def _occlusion(self, flat: Tensor) -> Tensor:
        """[N, C * D, H, W] -> scores [N, 1, H, W]. Folded, 49 sums of 2,272 products are added up: a convolution's one
        sum of all 111,328 rounds by ten times as much."""
        found = self.occlusion(flat)
        if not self.folded:
            return found
        taps, size = found.float().flatten(2), found.shape[2:]
        return functional.fold(taps, size, _MASK_SIDE, padding=_MASK_SIDE // 2).to(flat.dtype)


def _heat(grid: Tensor, keypoints: Tensor) -> Tensor:
    """Gaussians around keypoints [N, K, 3] on the grid [D, H, W, 3]: [N, K, D, H, W], the product of three axes'."""
    axes = grid[0, 0, :, 0], grid[0, :, 0, 1], grid[:, 0, 0, 2]
    x, y, z = (
        torch.exp((axis.float() - keypoints[..., i, None].float()).square() / (-2 * HEAT_VARIANCE))
        for i, axis in enumerate(axes)
    )
    return z[..., :, None, None] * (y[..., :, None] * x[..., None, :])[..., None, :, :]


def _moved(volume: Tensor, grid: Tensor, shifts: Tensor) -> Tensor:
    """`volume` [N, C, D, H, W] as each of K shifts [N, K, 3] moves it: [N, K, C, D, H, W]."""
    count, motions = shifts.shape[:2]
    places = (grid + shifts[:, :, None, None, None]).flatten(0, 1)
    repeated = volume[:, None].expand(-1, motions, -1, -1, -1, -1).flatten(0, 1)
    return sample_volume(repeated, places).unflatten(0, (count, motions))
