"""Builds HunyuanPortrait's networks without weights, in the sizes that a checkpoint's shapes show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ...modules.group_resnet import RESNET_WIDTHS, ExpressionEncoder, HeadPoseEncoder
from ...modules.identity_dino import DinoConfig, IdentityDino
from ...modules.layers import Ops, with_ops
from ...modules.motion_resampler import MotionResampler, ResamplerConfig
from ...modules.pose_guider import PoseGuider, PoseGuiderConfig
from ...modules.video_unet import ADDED_IDS, VideoUNet, VideoUNetConfig
from ..building import Shapes, count

POSE_LAST = "conv_out"  # name of the pose guider's last layer in this checkpoint


def video_unet_config(shapes: Shapes) -> VideoUNetConfig:
    """Config of the UNet from its checkpoint's shapes."""
    block = "down_blocks.{}.resnets.0.spatial_res_block.conv1.weight"
    return VideoUNetConfig(
        widths=tuple(shapes[block.format(index)][0] for index in range(max(count(shapes, block), 1))),
        context_dim=shapes["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"][1],
        ids_dim=shapes["add_embedding.linear_1.weight"][1] // ADDED_IDS,
        in_channels=shapes["conv_in.weight"][1],
        out_channels=shapes["conv_out.weight"][0],
    )


def dino_config(shapes: Shapes) -> DinoConfig:
    """Config of the appearance encoder from its checkpoint's shapes."""
    depth = count(shapes, "blocks.{}.norm1.weight")
    adapter = "blocks.{}.adapter.D_fc1.weight"
    adapters = tuple(index for index in range(depth) if adapter.format(index) in shapes)
    return DinoConfig(
        dim=shapes["cls_token"][2],
        depth=depth,
        adapters=adapters,
        adapter_dim=shapes[adapter.format(adapters[0] if adapters else 0)][0],
        grid=math.isqrt(shapes["pos_embed"][1] - 1),
        patch=shapes["patch_embed.proj.weight"][2],
        registers=shapes["register_tokens"][1],
    )


def resampler_config(shapes: Shapes) -> ResamplerConfig:
    """Config of the motion resampler from its checkpoint's shapes."""
    return ResamplerConfig(
        input_dim=shapes["connector.proj_in.weight"][1],
        output_dim=shapes["connector.proj_out.0.weight"][0],
        queries=shapes["connector.latents"][0],
        width=shapes["connector.latents"][1],
        layers=count(shapes, "connector.perceiver_blocks.{}.attn.in_proj_weight"),
    )


def black_pose_config(shapes: Shapes) -> PoseGuiderConfig:
    """Config of the pose guider from its checkpoint's shapes."""
    blocks = count(shapes, "blocks.{}.weight")
    widths = [shapes["conv_in.weight"][0], *(shapes[f"blocks.{index}.weight"][0] for index in range(1, blocks, 2))]
    return PoseGuiderConfig(shapes[f"{POSE_LAST}.weight"][0], tuple(widths), POSE_LAST)


def _widths(shapes: Shapes, layer: str) -> tuple[int, ...]:
    """Widths of a residual network's stages; `layer` is the key of a layer of each."""
    return tuple(shapes[layer.format(stage + 1)][0] for stage in range(len(RESNET_WIDTHS)))


def image_mixer(shapes: Shapes, ops: Ops) -> nn.Module:
    """The layer that mixes an image's tokens into fewer."""
    after, before = shapes["weight"]
    layer: nn.Module = ops.Linear(before, after)
    return layer


def build_video_vae(config: Mapping[str, Any], ops: Ops = nn) -> Any:  # noqa: ANN401 - diffusers is imported when used
    """The AutoencoderKLTemporalDecoder of a config.json; with other layers than torch's, build on the meta device."""
    from diffusers import AutoencoderKLTemporalDecoder

    return with_ops(AutoencoderKLTemporalDecoder.from_config(dict(config)), ops)


# By the name of the weights file: (shapes, layers) -> network.
BUILDERS: Mapping[str, Callable[[Shapes, Ops], nn.Module]] = {
    "unet": lambda shapes, ops: VideoUNet(video_unet_config(shapes), ops),
    "dino": lambda shapes, ops: IdentityDino(dino_config(shapes), ops),
    "motion_proj": lambda shapes, ops: MotionResampler(resampler_config(shapes), ops),
    "image_proj": image_mixer,
    "pose_guider": lambda shapes, ops: PoseGuider(black_pose_config(shapes), ops),
    "expression": lambda shapes, ops: ExpressionEncoder(_widths(shapes, "resnet50.layer{}.0.conv2.weight"), ops),
    "headpose": lambda shapes, ops: HeadPoseEncoder(_widths(shapes, "head_pose_net.layer{}.0.conv1.weight"), ops),
}
