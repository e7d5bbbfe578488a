"""Loads HunyuanPortrait's networks from a weights folder, strictly, once its licence is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...errors import WeightsError
from ...modules.identity_dino import IDENTITY_DIM
from ...modules.layers import Ops
from ...weights.fill import NetworkFacts, hold_in, load_into
from ...weights.index import WeightIndex, read_state
from ..building import build_on_meta, library_config
from ..onnx import open_onnx
from .files import ARCFACE, HUNYUAN_FACTS, VIDEO_VAE, check_licence, locate_hunyuan
from .model import HunyuanPortrait, Identify
from .networks import BUILDERS, build_video_vae


def load_hunyuan(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    license_accepted: bool,
    ops: Ops = nn,
    storage: torch.dtype | None = None,
) -> HunyuanPortrait:
    """Loads the networks of `folder` onto `device`, the large ones as `dtype`, in eval mode.

    `ops` are a host's own layer classes; `storage` is the dtype in which the UNet's matrices are stored, which `ops`
    must cast for use. Raises InputError unless the licence is accepted: nothing is read before. Raises WeightsError
    that names missing files, or keys that do not fit.
    """
    check_licence(license_accepted)
    index = locate_hunyuan(folder)
    loaded = {network: _load(index, network, device, dtype, ops) for network in (*BUILDERS, VIDEO_VAE)}
    if storage is not None:
        hold_in(loaded["unet"], storage)
    return HunyuanPortrait(
        unet=loaded["unet"],
        dino=loaded["dino"],
        resampler=loaded["motion_proj"],
        image_mixer=loaded["image_proj"],
        pose_guider=loaded["pose_guider"],
        expression=loaded["expression"],
        head_pose=loaded["headpose"],
        vae=loaded[VIDEO_VAE],
        identify=open_arcface(index.path(ARCFACE)),
    )


def open_arcface(path: Path) -> Identify:
    """ArcFace in the ONNX file `path`. Raises WeightsError for a file that cannot be used, also when it is called."""
    _, run = open_onnx(path, "ArcFace")

    def identify(face: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = [answer for answer in run(face) if answer.size == IDENTITY_DIM]
        if len(answers) != 1 or not np.isfinite(answers[0]).all():
            raise WeightsError(
                f"{path} gives {len(answers)} outputs of {IDENTITY_DIM} numbers, expected one, without NaN: put "
                "Arc2Face's arcface.onnx there"
            )
        return np.asarray(answers[0], np.float32).reshape(IDENTITY_DIM)

    return identify


def _load(index: WeightIndex, network: str, device: torch.device, dtype: torch.dtype, ops: Ops) -> Any:  # noqa: ANN401 - each network has its own type
    state = read_state(index, network)
    if network == VIDEO_VAE:
        config = library_config(index, network)
        module = build_on_meta(network, lambda _: build_video_vae(config, ops), state.shapes)
    else:
        module = build_on_meta(network, lambda shapes: BUILDERS[network](shapes, ops), state.shapes)
    facts = HUNYUAN_FACTS.get(network, NetworkFacts())
    return load_into(module, state, network=network, device=device, dtype=dtype, facts=facts).eval()
