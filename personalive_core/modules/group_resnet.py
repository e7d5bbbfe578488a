"""Residual networks with group norms: a face's expression as 512 numbers, and the head's pose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from .layers import Ops

RESNET_WIDTHS = (64, 128, 256, 512)  # of the four stages (ResNet, arXiv 1512.03385)
EXPRESSION_DIM = 512
_DEPTHS_50, _DEPTHS_18 = (3, 4, 6, 3), (2, 2, 2, 2)
_EXPANSION = 4  # of a bottleneck's last layer
_EXPRESSION_GROUPS, _POSE_GROUPS = 1, 32
_TURN, _SHIFT = 180.0, 2.0  # the pose's bounds: degrees, and units of the translation


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut: [N, C, h, w] -> [N, 4 width, h / stride, w / stride]."""

    def __init__(self, before: int, width: int, stride: int, ops: Ops) -> None:
        super().__init__()
        after = _EXPANSION * width
        self.conv1, self.gn1 = _conv(before, width, 1, 1, ops), ops.GroupNorm(_EXPRESSION_GROUPS, width)
        self.conv2, self.gn2 = _conv(width, width, 3, stride, ops), ops.GroupNorm(_EXPRESSION_GROUPS, width)
        self.conv3, self.gn3 = _conv(width, after, 1, 1, ops), ops.GroupNorm(_EXPRESSION_GROUPS, after)
        self.downsample = _shortcut(before, after, stride, _EXPRESSION_GROUPS, ops)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.gn1(self.conv1(x)))
        inner = functional.relu(self.gn2(self.conv2(inner)))
        return functional.relu(self.gn3(self.conv3(inner)) + self.downsample(x))


class PoseBlock(nn.Module):
    """Two convolutions and a shortcut: [N, C, h, w] -> [N, width, h / stride, w / stride]."""

    def __init__(self, before: int, width: int, stride: int, ops: Ops) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(before, width, 3, stride, ops), ops.GroupNorm(_POSE_GROUPS, width)
        self.conv2, self.bn2 = _conv(width, width, 3, 1, ops), ops.GroupNorm(_POSE_GROUPS, width)
        self.shortcut = _shortcut(before, width, stride, _POSE_GROUPS, ops)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ExpressionEncoder(nn.Module):
    """Faces [N, 3, 256, 256] in [0, 1] -> expressions [N, 512]: a ResNet-50 whose norms have one group."""

    def __init__(self, widths: tuple[int, ...] = RESNET_WIDTHS, ops: Ops = nn) -> None:
        super().__init__()
        net = self.resnet50 = nn.Module()
        net.conv1, net.gn1 = _conv(3, widths[0], 7, 2, ops), ops.GroupNorm(_EXPRESSION_GROUPS, widths[0])
        _add_stages(net, widths, _DEPTHS_50, _EXPANSION, partial(Bottleneck, ops=ops))
        net.fc = ops.Linear(_EXPANSION * widths[-1], EXPRESSION_DIM)

    def forward(self, faces: Tensor) -> Tensor:
        net = self.resnet50
        return net.fc(_pooled(net, functional.relu(net.gn1(net.conv1(faces)))))


class HeadPoseEncoder(nn.Module):
    """Heads [N, 3, 256, 256] in [0, 1] -> rotation [N, 3] in degrees, and translation [N, 3] in [-2, 2]."""

    def __init__(self, widths: tuple[int, ...] = RESNET_WIDTHS, ops: Ops = nn) -> None:
        super().__init__()
        net = self.head_pose_net = nn.Module()
        net.conv1, net.bn1 = _conv(3, widths[0], 7, 2, ops), ops.GroupNorm(_POSE_GROUPS, widths[0])
        _add_stages(net, widths, _DEPTHS_18, 1, partial(PoseBlock, ops=ops))
        net.fc = ops.Linear(widths[-1], 6)

    def forward(self, heads: Tensor) -> tuple[Tensor, Tensor]:
        net = self.head_pose_net
        # the published program gives [1, 3], where one would expect [-1, 1]; the weights are used with this
        pose = net.fc(_pooled(net, functional.relu(net.bn1(net.conv1(2 * heads + 1))))).float().sigmoid()
        return pose[:, :3] * 2 * _TURN - _TURN, pose[:, 3:] * 2 * _SHIFT - _SHIFT


def _conv(before: int, after: int, size: int, stride: int, ops: Ops) -> nn.Module:
    layer: nn.Module = ops.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return layer


def _shortcut(before: int, after: int, stride: int, groups: int, ops: Ops) -> nn.Module:
    """Nothing where input and output have one shape, else a 1x1 convolution and its norm."""
    if stride == 1 and before == after:
        return nn.Sequential()
    return nn.Sequential(_conv(before, after, 1, stride, ops), ops.GroupNorm(groups, after))


def _add_stages(
    net: nn.Module,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    expansion: int,
    block: Callable[[int, int, int], nn.Module],
) -> None:
    before = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks = nn.Sequential()
        for index in range(depth):
            blocks.append(block(before, width, 2 if stage and not index else 1))
            before = expansion * width
        net.add_module(f"layer{stage + 1}", blocks)


def _pooled(net: nn.Module, x: Tensor) -> Tensor:
    """[N, 64, h, w] -> [N, C], the mean of the last stage's maps."""
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    for stage in range(len(RESNET_WIDTHS)):
        x = net.get_submodule(f"layer{stage + 1}")(x)
    return x.mean((2, 3))
