"""I3D's features of clips, by cd-fvd's code and a file that it does not bring: what FVD is computed from."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import WeightsError
from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from .types import Judge, OpenedJudge, PerPicture, sha256_of


def open_i3d(file: Path | None) -> OpenedJudge[PerPicture]:
    """400 numbers [1, 400] of one clip of 16 pictures."""
    if file is None:
        return "needs I3D's i3d_pretrained_400.pt, as cd-fvd has it: give --i3d FILE"
    if importlib.util.find_spec("cdfvd") is None:
        return "needs the cd-fvd package: pip install cd-fvd"
    i3d: Any = importlib.import_module("cdfvd.third_party.i3d.utils")
    networks: Any = importlib.import_module("cdfvd.third_party.i3d.pytorch_i3d")
    network = networks.InceptionI3d(400, in_channels=3)
    try:  # not by the package's own loader, which unpickles whatever the file holds
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged or malicious file can make the unpickler raise almost any error
        reason = next(iter(str(error).splitlines()), "no reason")
        raise WeightsError(f"{file} is no I3D network ({reason}): give cd-fvd's i3d_pretrained_400.pt") from error
    network.eval()

    @torch.inference_mode()
    def read(pictures: Pictures) -> Numbers:
        features: Numbers = network(i3d.preprocess_i3d(pictures[None])).double().numpy()
        return np.asarray(features).reshape(1, -1)

    licence = "MIT (cd-fvd); the weights' is not stated"
    return Judge(read, Origin("I3D of Kinetics-400", f"cd-fvd, {file.name}", sha256_of(file), licence))
