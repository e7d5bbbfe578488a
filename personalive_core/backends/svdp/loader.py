"""Loads Stable Diffusion 3.5 Medium's transformer from a folder of the user's, strictly, into the canvas model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ...errors import WeightsError
from ...weights.fill import load_into
from ...weights.index import locate, read_state
from ...weights.read import State, read_infos
from .files import CANVAS_FILES, SD35_LICENCE, SD35_REPO, SD35_TRANSFORMER
from .model import CanvasTransformer
from .networks import build_canvas, starting_layers
from .types import SD35_MEDIUM, TransformerSizes

ADDED_LAYERS = "new layers of the canvas model"


class _Added(nn.Module):
    """The part of the model that a file of new layers fills: the same keys."""

    def __init__(self, model: CanvasTransformer) -> None:
        super().__init__()
        self.video, self.context, self.pooled = model.video, model.context, model.pooled


def load_canvas(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    added: Path | None = None,
    sizes: TransformerSizes = SD35_MEDIUM,
) -> CanvasTransformer:
    """Loads the transformer of `folder` onto `device` as `dtype`, in eval mode.

    `added` is a file of all new layers, by their keys; without it they start as `starting_layers` says, and the model
    animates nothing. Raises WeightsError if a file is missing, or a key is missing, extra or misshapen.
    """
    index = locate(folder, CANVAS_FILES)
    if missing := index.missing([SD35_TRANSFORMER]):
        raise WeightsError(
            f"the transformer of {SD35_REPO} is missing; it is gated and not downloaded here: accept {SD35_LICENCE} on "
            f"its page, download it with your own account and place it\n{index.report(missing)}"
        )
    model = build_canvas(sizes)
    state = read_state(index, SD35_TRANSFORMER)
    load_into(model.transformer, state, network=SD35_TRANSFORMER, device=device, dtype=dtype)
    if added is None:
        fresh = {key: tensor.to(device, dtype) for key, tensor in starting_layers(sizes).items()}
        model.load_state_dict(fresh, strict=False, assign=True)
        return model
    layers = load_into(_Added(model), State(read_infos(added)), network=ADDED_LAYERS, device=device, dtype=dtype)
    model.load_state_dict(layers.state_dict(), strict=False, assign=True)
    return model
