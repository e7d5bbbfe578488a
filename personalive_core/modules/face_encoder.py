"""Facial motion encoder (section 3.2), an hourglass with attention: face crop to 1-D implicit facial embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .attention import MotionTransformerBlock
from .layers import BatchNorm2d, Ops, concatenated_positions

FACE_SIZE = 224  # side of the face crop in pixels


@dataclass(frozen=True)
class FaceEncoderConfig:
    """Shapes of the facial motion encoder."""

    width: int = 256  # channels of the hourglass
    attention_dim: int = 1024
    heads: int = 8  # attention heads of `PatchAttention`
    maps: int = 68  # heat maps between the hourglass and the embedding
    tokens: int = 32
    token_dim: int = 16


class ConvBlock(nn.Module):
    """Concatenates the outputs of three convolutions (1/2, 1/4, 1/4 of the channels) and adds a shortcut.

    Shapes: [N, C_in, H, W] -> [N, C, H, W].
    """

    def __init__(self, channels_in: int, channels: int, ops: Ops) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.bn1, self.bn2, self.bn3 = BatchNorm2d(channels_in), BatchNorm2d(half), BatchNorm2d(quarter)
        self.conv1 = ops.Conv2d(channels_in, half, 3, padding=1, bias=False)
        self.conv2 = ops.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.conv3 = ops.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.downsample = None
        if channels_in != channels:
            shortcut = ops.Conv2d(channels_in, channels, 1, bias=False)
            self.downsample = nn.Sequential(BatchNorm2d(channels_in, eps=1e-4), nn.ReLU(), shortcut)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(functional.relu(self.bn1(x)))
        second = self.conv2(functional.relu(self.bn2(first)))
        third = self.conv3(functional.relu(self.bn3(second)))
        return torch.cat([first, second, third], 1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Four levels of downsampling and upsampling, with a skip branch at each level: [N, C, H, W] -> same."""

    def __init__(self, width: int, ops: Ops, depth: int = 4) -> None:
        super().__init__()
        self.depth = depth
        for level in range(1, depth + 1):
            for branch in ("b1", "b2", "b3"):
                self.add_module(f"{branch}_{level}", ConvBlock(width, width, ops))
        self.b2_plus_1 = ConvBlock(width, width, ops)

    def forward(self, x: Tensor) -> Tensor:
        return self._level(self.depth, x)

    def _level(self, level: int, x: Tensor) -> Tensor:
        kept = self.get_submodule(f"b1_{level}")(x)
        low = self.get_submodule(f"b2_{level}")(functional.max_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return kept + functional.interpolate(low, size=kept.shape[2:], mode="bilinear")


class PatchAttention(nn.Module):
    """Residual self-attention over the patches of one feature map: [N, C, S, S] -> same."""

    positions: Tensor

    def __init__(self, channels: int, config: FaceEncoderConfig, size: int, patch: int, ops: Ops) -> None:
        super().__init__()
        self.patch, dim = patch, config.attention_dim
        self.norm = ops.GroupNorm(32, channels, eps=1e-6)
        self.pos_embed = nn.Module()
        self.pos_embed.proj = ops.Conv2d(channels, dim, patch, stride=patch)
        self.transformer_blocks = nn.ModuleList([MotionTransformerBlock(dim, None, 0, config.heads, ops, count=1)])
        self.proj_out = ops.Linear(dim // patch**2, channels)
        axis = torch.arange(size // patch, device="cpu")
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        grid = [concatenated_positions(a.flatten(), dim // 2) for a in (columns, rows)]
        self.register_buffer("positions", torch.cat(grid, -1)[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = rearrange(self.pos_embed.proj(self.norm(x)), "n c h w -> n (h w) c") + self.positions.to(x)
        tokens = self.transformer_blocks[0](tokens)
        rows = x.shape[2] // self.patch
        pixels = rearrange(tokens, "n (h w) (p q c) -> n h w p q c", h=rows, p=self.patch, q=self.patch)
        return x + rearrange(self.proj_out(pixels), "n h w p q c -> n c (h p) (w q)")


class FaceNetwork(nn.Module):
    """Face crop [N, 3, 224, 224] in [-1, 1] -> [N, tokens * token_dim]."""

    def __init__(self, config: FaceEncoderConfig, ops: Ops) -> None:
        super().__init__()
        width, half = config.width, FACE_SIZE // 2
        self.conv1 = ops.Conv2d(3, width // 4, 7, stride=2, padding=3)
        self.bn1 = BatchNorm2d(width // 4)
        self.conv2 = ConvBlock(width // 4, width // 2, ops)
        self.conv3 = ConvBlock(width // 2, width // 2, ops)
        self.conv4 = ConvBlock(width // 2, width, ops)
        self.m0 = Hourglass(width, ops)
        self.top_m_0 = ConvBlock(width, width, ops)
        self.conv_last0 = ops.Conv2d(width, width, 1)
        self.bn_end0 = BatchNorm2d(width)
        self.l0 = ops.Conv2d(width, config.maps, 1)
        self.bn5 = BatchNorm2d(config.maps)
        self.conv6 = ops.Conv2d(config.maps, 1, 3, stride=2, padding=1)
        self.fc = ops.Linear((FACE_SIZE // 8) ** 2, config.tokens * config.token_dim)
        self.att_1 = PatchAttention(width // 2, config, half, 4, ops)
        self.att_2 = PatchAttention(width, config, half // 2, 2, ops)
        self.att_3 = PatchAttention(width, config, half // 2, 2, ops)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.maps(x))

    def maps(self, x: Tensor) -> Tensor:
        """[N, 3, 224, 224] -> heat maps [N, M, 56, 56]."""
        x = self.att_1(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        x = self.att_2(self.conv4(self.conv3(functional.max_pool2d(x, 2))))
        x = self.att_3(self.bn_end0(self.conv_last0(self.top_m_0(self.m0(x)))))
        return self.l0(functional.relu(x))

    def read(self, maps: Tensor) -> Tensor:
        """Read-out of the heat maps: [N, M, 56, 56] -> [N, tokens * token_dim]."""
        return self.fc(functional.relu(self.conv6(functional.relu(self.bn5(maps))).flatten(1)))


class FaceEncoder(nn.Module):
    """Face crops [N, 3, 224, 224] in [-1, 1] -> facial embeddings [N, 32, 16]."""

    pe: Tensor

    def __init__(self, config: FaceEncoderConfig = FaceEncoderConfig(), ops: Ops = nn) -> None:
        super().__init__()
        size = config.tokens * config.token_dim
        self.config, self.tokens = config, config.tokens
        self.model = FaceNetwork(config, ops)
        self.final_proj = ops.Linear(size, size)
        positions = concatenated_positions(torch.arange(config.tokens, device="cpu"), config.token_dim)
        self.register_buffer("pe", positions[None])

    def forward(self, faces: Tensor) -> Tensor:
        return self.read(self.model.maps(faces))

    def read(self, maps: Tensor) -> Tensor:
        """Reads the facial embeddings [N, 32, 16] out of the network's heat maps [N, M, 56, 56]."""
        embedding = rearrange(self.final_proj(self.model.read(maps)), "n (l d) -> n l d", l=self.tokens)
        return embedding + self.pe.to(embedding)
