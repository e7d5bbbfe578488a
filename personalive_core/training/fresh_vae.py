"""Initialises a fresh VAE so that it encodes and decodes the mean colour of each latent pixel; training adds detail."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

Layer = Any  # a convolution or linear layer with a bias, which torch's types mark as optional
CHANNELS = 3
HELD, STEADY = 2 * CHANNELS, 2 * CHANNELS + 2  # channels of the colours and their negatives; with the two constant ones
CONSTANT = 0.7  # value of a constant channel / sqrt(width): a fixed part of the variance that norms divide by
FRESH_LOG_VARIANCE = -6.0  # of the posterior
SMALL_INIT = 0.1  # factor on the initial weights that do not carry the colours


@torch.no_grad()
def begin_with_colours(vae: Any) -> None:  # noqa: ANN401 - a library's network
    """Changes the random weights of `vae` so that it encodes and decodes mean colours, with small random deviations.

    Norms remove a picture's brightness and contrast, and a VAE whose layers are all random stays grey for thousands of
    steps. Each colour has a channel of its own and one for its negative, as silu(y) - silu(-y) = y. The constant
    channels make norms divide all pictures by nearly the same number.
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
    """Sets the first layer of the encoder or decoder: `colours` [3, C_in], their negatives, and the constants."""
    layer.weight[:STEADY] = 0
    layer.weight[:HELD, :, 1, 1] = torch.cat([colours, -colours])
    layer.bias[:HELD] = 0
    constant = CONSTANT * math.sqrt(len(layer.weight))
    layer.bias[HELD:STEADY] = torch.tensor([constant, -constant])


def pass_by(layer: Layer, shortcut: Layer | None) -> None:
    """Zero-initialises a residual branch in the colour and constant channels; its shortcut passes them through."""
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
    """Sets a resampling layer in the colour and constant channels: down takes the mean of 2x2 pixels, up repeats."""
    layer.weight[:STEADY] = 0
    layer.bias[:STEADY] = 0
    for channel in range(STEADY):
        if down:
            layer.weight[channel, channel, :2, :2] = 1 / 4
        else:
            layer.weight[channel, channel, 1, 1] = 1


def steady(norm: nn.GroupNorm, constant: float) -> None:
    """Sets a norm's gain to the deviation that it is expected to divide by; the constants come out as `constant`."""
    spread = math.sqrt(1 + 2 * CONSTANT**2)  # expected, if the other channels have variance 1
    norm.weight.fill_(spread)
    norm.weight[HELD:STEADY] = constant * spread / (CONSTANT * math.sqrt(norm.num_channels))


def leave(layer: Layer) -> None:
    """Sets the last layer of the encoder or decoder: each colour minus its negative."""
    layer.weight *= SMALL_INIT
    layer.weight[:CHANNELS] *= SMALL_INIT
    layer.bias.zero_()
    for colour in range(CHANNELS):
        layer.weight[colour, :STEADY] = 0
        layer.weight[colour, colour, 1, 1] = 1
        layer.weight[colour, CHANNELS + colour, 1, 1] = -1
