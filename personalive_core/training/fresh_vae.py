"""Where a fresh VAE begins: as the mean colour of each latent pixel, from which it learns the rest."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

Layer = Any  # a convolution or linear layer with a bias, which its type leaves open
CHANNELS = 3
HELD, STEADY = 2 * CHANNELS, 2 * CHANNELS + 2  # channels of each colour and its negative; with two constant ones
CONSTANT = 0.7  # of a constant channel, times the width's root: a steady part of what norms divide by
FRESH_LOG_VARIANCE = -6.0
SMALL_INIT = 0.1  # of the usual size: weights beside those that hold the colours


@torch.no_grad()
def begin_with_colours(vae: Any) -> None:  # noqa: ANN401 - a library's network
    """Sets `vae`, whose weights are random, so that it encodes and decodes mean colours, and varies little around them.

    Norms take a picture's brightness and contrast away, and a VAE whose layers are all random stays grey for thousands
    of steps. Each colour goes through beside its negative, silu(y) - silu(-y) = y, and the constant channels make
    norms divide all pictures by nearly the same number.
    """
    encoder, decoder = vae.encoder, vae.decoder
    enter(encoder.conv_in, torch.eye(CHANNELS))
    enter(decoder.conv_in, torch.eye(CHANNELS, decoder.conv_in.weight.shape[1]))
    for half, blocks in ((encoder, encoder.down_blocks), (decoder, decoder.up_blocks)):
        for block in (*blocks, half.mid_block):
            for resnet in block.resnets:
                pass_by(resnet.conv2, resnet.conv_shortcut)
                steady(resnet.norm1, 1.0)
            for attention in getattr(block, "attentions", None) or ():
                pass_by(attention.to_out[0], None)
                steady(attention.group_norm, 1.0)
            for sampler in getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None) or ():
                resample_colours(sampler.conv, down=half is encoder)
        steady(half.conv_norm_out, 0.0)
        leave(half.conv_out)
    latents = decoder.conv_in.weight.shape[1]
    for layer in (vae.quant_conv, vae.post_quant_conv):
        layer.weight[:latents] = 0
        layer.weight[:latents, :latents, 0, 0] = torch.eye(latents)
        layer.weight[latents:] *= SMALL_INIT
        layer.bias.zero_()
    vae.quant_conv.bias[latents:] = FRESH_LOG_VARIANCE


def enter(layer: Layer, colours: torch.Tensor) -> None:
    """The first layer of a half: `colours` [3, C_in] and their negatives, and the constants."""
    layer.weight[:STEADY] = 0
    layer.weight[:HELD, :, 1, 1] = torch.cat([colours, -colours])
    layer.bias[:HELD] = 0
    constant = CONSTANT * math.sqrt(len(layer.weight))
    layer.bias[HELD:STEADY] = torch.tensor([constant, -constant])


def pass_by(layer: Layer, shortcut: Layer | None) -> None:
    """A residual layer adds nothing to the channels that hold colours and constants; its shortcut keeps them."""
    layer.weight *= SMALL_INIT
    layer.weight[:STEADY] = 0
    layer.bias[:STEADY] = 0
    if shortcut is not None:
        width, before = shortcut.weight.shape[:2]
        shortcut.weight[:STEADY] = 0
        shortcut.weight[:STEADY, :STEADY, 0, 0] = torch.eye(STEADY)
        shortcut.weight[HELD:STEADY] *= math.sqrt(width / before)
        shortcut.bias[:STEADY] = 0


def resample_colours(layer: Layer, down: bool) -> None:
    """Halving takes the mean of four, doubling repeats."""
    layer.weight[:STEADY] = 0
    layer.bias[:STEADY] = 0
    for channel in range(STEADY):
        if down:
            layer.weight[channel, channel, :2, :2] = 1 / 4
        else:
            layer.weight[channel, channel, 1, 1] = 1


def steady(norm: nn.GroupNorm, constant: float) -> None:
    """A norm gives back what the constants made it divide by; these themselves come out as `constant`."""
    spread = math.sqrt(1 + 2 * CONSTANT**2)  # where the other channels have variance 1
    norm.weight.fill_(spread)
    norm.weight[HELD:STEADY] = constant * spread / (CONSTANT * math.sqrt(norm.num_channels))


def leave(layer: Layer) -> None:
    """The last layer of a half: colours less their negatives."""
    layer.weight *= SMALL_INIT
    layer.weight[:CHANNELS] *= SMALL_INIT
    layer.bias.zero_()
    for colour in range(CHANNELS):
        layer.weight[colour, :STEADY] = 0
        layer.weight[colour, colour, 1, 1] = 1
        layer.weight[colour, CHANNELS + colour, 1, 1] = -1
