"""Measures HunyuanPortrait's trained weights for `personalive check`."""

from __future__ import annotations

import math

import numpy as np

from ..animation.sheet import SheetRow, contact_sheet
from ..backends.hunyuan.backend import HunyuanBackend
from ..backends.hunyuan.crops import square_picture
from ..backends.hunyuan.types import VIDEO_LATENT_SCALE
from ..media.picture import Picture
from ..motion.types import concat_motion
from .check import CheckReport, Finding, finite_networks, level

_STILL = 4  # frames, after which the pose changes for as many


def check_hunyuan(backend: HunyuanBackend, portrait: Picture, driving: Picture) -> CheckReport:
    """Checks loaded weights on a portrait [H, W, 3] and a driving frame of another pose.

    Raises FaceError if either shows no face.
    """
    model, reference = backend.model, backend.portrait(portrait)
    crop = square_picture(portrait, reference.square, backend.side)
    restored = model.decode(reference.latents[None] * VIDEO_LATENT_SCALE)[0].permute(1, 2, 0).cpu().numpy()
    again = np.asarray((restored * 255).round(), np.uint8)
    motion = concat_motion(backend.read([portrait] * _STILL + [driving] * _STILL))
    made = list(backend.changed(paste="square").animate(reference, [motion]))
    still, moved = made[_STILL // 2], made[-1]
    findings = (
        finite_networks(model.networks),
        Finding("faces found", float(motion.valid.float().mean()), 1.0, 1.0, "in both pictures"),
        Finding("reconstruction, dB", level(crop, again), 22.0, math.inf, "the autoencoder gives the crop back"),
        Finding(
            "largest head angle, degrees", float(motion.pose.angles[0].abs().max()), 0.0, 45.0, "it looks at the camera"
        ),
        Finding("driven by itself, dB", level(crop, still), 14.0, math.inf, "the same person, nearly the same pose"),
        Finding("answer to another pose, dB", level(still, moved), 0.0, 35.0, "the face must change"),
    )
    rows = [SheetRow(0, portrait, again), SheetRow(1, portrait, still), SheetRow(2, driving, moved)]
    sheet = contact_sheet(crop, rows, "check: reconstruction, driven by itself, driven by another pose")
    return CheckReport(findings, sheet)
