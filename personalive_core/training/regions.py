"""Where face, eyes and mouth are in a frame: boxes, and the masks by which the recipe weights its errors."""

from __future__ import annotations

import torch
from torch import Tensor

from ..drawn.truth import EXPRESSION, LANDMARKS

FEATURES = ("left eye", "right eye", "mouth")  # "left" is the picture's left
ERROR_REGIONS = ("face", *FEATURES)
COVERED = 0.5  # share of its landmarks from which a feature is hidden
AROUND = 0.35  # of an eye's or the mouth's own size, around its landmarks
# without landmarks: left, top, right, bottom as shares of the face box; means over drawn people, with the margin
IN_FACE = ((0.0, 0.0, 1.0, 1.0), (0.27, 0.31, 0.48, 0.46), (0.52, 0.31, 0.72, 0.46), (0.34, 0.56, 0.64, 0.76))
_EYES = tuple([i for i, name in enumerate(LANDMARKS) if name.startswith(f"{side} eye")] for side in ("left", "right"))
_MOUTH = [i for i, name in enumerate(LANDMARKS) if "lip" in name or "mouth" in name]


def region_boxes(face: Tensor, landmarks: Tensor | None, size: int) -> Tensor:
    """Boxes [F, 4, 4] of ERROR_REGIONS in pixels, for face boxes [F, 4] of pictures of `size` pixels.

    Eyes and mouth come from `landmarks` [F, 31, 2] in [-1, 1]; where there are none, from their usual place in a face.
    """
    corner, side = face[:, None, :2].float(), (face[:, None, 2:] - face[:, None, :2]).float()
    if landmarks is None:
        share = torch.tensor(IN_FACE).to(face.device)
        return torch.cat([corner + share[:, :2] * side, corner + share[:, 2:] * side], -1)
    boxes = [face.float()]
    for part in (*_EYES, _MOUTH):
        points = (landmarks[:, part] + 1) * size / 2
        low, high = points.amin(1), points.amax(1)
        more = AROUND * (high - low).amax(1, keepdim=True)
        boxes.append(torch.cat([low - more, high + more], 1))
    return torch.stack(boxes, 1)


def hidden_features(hidden: Tensor) -> Tensor:
    """Which of FEATURES [F, 3] are hidden, from the hidden LANDMARKS [F, 31]: at least half of their own."""
    return torch.stack([hidden[:, part].float().mean(1) >= COVERED for part in (*_EYES, _MOUTH)], 1)


def without_hidden(boxes: Tensor, hidden: Tensor | None) -> Tensor:
    """`boxes` [F, 4, 4], with those of the features `hidden` [F, 3] empty: they weigh no more than the face."""
    if hidden is None:
        return boxes
    return torch.cat([boxes[:, :1], boxes[:, 1:] * ~hidden[..., None]], 1)


def told_numbers(hidden: Tensor) -> Tensor:
    """Which numbers of EXPRESSION [N, 11] a picture tells whose features `hidden` [N, 3] are behind a hand."""
    left, right, mouth = hidden.T
    of = {"blink left": left, "brow left": left, "blink right": right, "brow right": right}
    of |= dict.fromkeys(("gaze right", "gaze down"), left & right)
    return ~torch.stack([of.get(name, mouth) for name in EXPRESSION], 1)


def error_mask(boxes: Tensor, size: int, side: int) -> Tensor:
    """Factors [N, 1, side, side] on errors: 0 outside the face, 1 in it, 2 in its eyes and its mouth.

    `boxes` [N, 4, 4] are in pixels of pictures `size` pixels a side. Squared, the factors weight squared errors by 1
    and 4, as the published recipe does.
    """
    cells = (torch.arange(side, device=boxes.device) + 0.5) * (size / side)
    across = (cells >= boxes[..., 0, None]) & (cells < boxes[..., 2, None])
    down = (cells >= boxes[..., 1, None]) & (cells < boxes[..., 3, None])
    inside = down[..., :, None] & across[..., None, :]  # [N, 4, side, side]
    return (inside[:, :1].float() + inside[:, 1:].any(1, keepdim=True).float()).contiguous()
