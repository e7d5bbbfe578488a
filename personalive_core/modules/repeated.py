"""Convolutions, 3 high and wide, over maps whose pixels were repeated: computed at the size before the repetition.

Of the three taps along an axis two or all meet the same pixel once it is repeated. Their weights are added once, when
the weights are loaded, and a convolution 2 high and wide gives every different result for a pixel: half of the
arithmetic for pixels repeated twice, a quarter for four times. Nothing else is rounded but those sums.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Of the pixels that one pixel becomes: (kind, step). A kind is a pair of summed taps; the result for a pixel's middle
# and what is before it stands at the pixel's own place (step 0), that for what is after it at the next (step 1).
_PIXELS = {2: ((0, 0), (1, 1)), 4: ((0, 0), (1, 0), (1, 0), (2, 1))}
# Which of the three taps each of a kind's two is the sum of.
_SUMS = {
    2: (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1))),
    4: (((1, 0, 0), (0, 1, 1)), ((0, 0, 0), (1, 1, 1)), ((1, 1, 0), (0, 0, 1))),
}


def kinds(times: int) -> int:
    """How many different results a convolution has for one pixel: those along both axes."""
    return len(_SUMS[times]) ** 2


def summed_taps(weight: Tensor, times: int) -> Tensor:
    """Weights [C, C_in, ..., 3, 3] -> [kinds * C, C_in, ..., 2, 2], for pixels repeated `times` along each axis."""
    sums = torch.tensor(_SUMS[times], dtype=torch.float64)
    found = torch.einsum("c...hw,ayh,bxw->abc...yx", weight.double(), sums, sums)
    return found.flatten(0, 2).to(weight.dtype)


def repeated_bias(bias: Tensor, times: int) -> Tensor:
    """The bias [C] of each of the kinds: [kinds * C]."""
    return bias.repeat(kinds(times))


def interleaved(found: Tensor, times: int) -> Tensor:
    """Results [N, kinds * C, ..., H + 1, W + 1] -> [N, C, ..., times * H, times * W], each at its place.

    `found` is the output of a convolution with `summed_taps` and padding of 1 pixel.
    """
    n, channels, *depth, height, width = found.shape
    count, height, width = len(_SUMS[times]), height - 1, width - 1
    parts, narrow = found.unflatten(1, (count, count, channels // count**2)), channels // count**2
    if found.stride(1) == 1:  # channels last, and so is the result
        result = found.new_empty(n, *depth, height, times, width, times, narrow).movedim(-1, 1)
    else:
        result = found.new_empty(n, narrow, *depth, height, times, width, times)
    for row, (kind, down) in enumerate(_PIXELS[times]):
        for column, (other, right) in enumerate(_PIXELS[times]):
            part = parts[:, kind, other, ..., down : down + height, right : right + width]
            result[..., :, row, :, column] = part
    return result.flatten(-4, -3).flatten(-2, -1)
