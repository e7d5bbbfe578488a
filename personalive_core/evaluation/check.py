"""Measures trained weights for `personalive check`: each figure has an expected range and the reason for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from ..animation.pipeline import AnimatedFrame, AnimateOptions, MotionOptions, animate
from ..animation.sheet import SheetRow, contact_sheet
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.reference import encode_reference
from ..backends.personalive.types import Reference
from ..faces.crop import crop_image, whole_frame
from ..media.tensors import to_signed
from ..media.video import Frame
from ..metrics.pictures import psnr, unit
from ..modules.pose_guider import DRAWN

STILL_FRAMES = 8


@dataclass(frozen=True)
class Finding:
    """One measured figure, its expected range [low, high] and the reason for that range."""

    name: str
    figure: float
    low: float
    high: float
    why: str

    @property
    def good(self) -> bool:
        return self.low <= self.figure <= self.high

    @property
    def expected(self) -> str:
        """The expected range in words."""
        if self.low == self.high:
            return f"{self.low:g}"
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, eq=False)
class CheckReport:
    """All findings, and a contact sheet to look at."""

    findings: tuple[Finding, ...]
    sheet: np.ndarray  # [H, W, 3] uint8

    @property
    def good(self) -> bool:
        return all(finding.good for finding in self.findings)


def level(one: np.ndarray, other: np.ndarray) -> float:
    """PSNR in dB between two pictures [S, S, 3] uint8; 100 if they are equal."""
    return float(psnr(unit(one[None]), unit(other[None])))


def finite_networks(networks: Sequence[nn.Module]) -> Finding:
    """Whether all `networks` were loaded without NaN."""
    whole = sum(all(bool(weight.isfinite().all()) for weight in net.state_dict().values()) for net in networks)
    count = len(networks)
    return Finding("networks loaded", whole, count, count, "every key fits, or loading stops; no NaN in any")


def run_check(model: PersonaLive, portrait: np.ndarray, driving: np.ndarray, size: int = 512) -> CheckReport:
    """Checks loaded weights on a square portrait and a square driving frame of another pose, both [S, S, 3] uint8.

    Raises NumericalError if an animation is NaN or black; its message names the precision to try next.
    """
    portrait, driving = (_square(picture, size) for picture in (portrait, driving))
    reference = encode_reference(model, portrait, size)
    pixels = round_trip(model, portrait)
    restored = (pixels.nan_to_num() * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    still = _animate(model, reference, [portrait] * STILL_FRAMES, size)
    moved = _animate(model, reference, [portrait] + [driving] * (STILL_FRAMES - 1), size)
    findings = (
        *_numbers(model, (pixels, reference.latent, reference.clip, reference.motion.embedding, reference.canonical)),
        *_keypoints(reference),
        *_pictures(portrait, restored, still, moved),
    )
    rows = [
        SheetRow(0, portrait, restored),
        SheetRow(STILL_FRAMES - 1, portrait, still[-1].picture),
        SheetRow(STILL_FRAMES - 1, driving, moved[-1].picture),
    ]
    sheet = contact_sheet(portrait, rows, "check: VAE round trip, driven by itself, driven by another pose")
    return CheckReport(findings, sheet)


def round_trip(model: PersonaLive, portrait: np.ndarray) -> Tensor:
    """Encodes a portrait [S, S, 3] uint8 with the VAE and decodes it with the chosen decoder: [3, S, S] in [0, 1]."""
    with torch.inference_mode():
        return model.decode(model.encode(to_signed(portrait[None]))[:, None])[0, 0]


def _numbers(model: PersonaLive, outputs: Sequence[Tensor]) -> tuple[Finding, ...]:
    networks = [network for network in vars(model).values() if isinstance(network, torch.nn.Module)]
    whole = sum(all(bool(weight.isfinite().all()) for weight in network.parameters()) for network in networks)
    finite = min(float(output.isfinite().float().mean()) for output in outputs)
    return (
        Finding(
            "networks loaded", whole, len(networks), len(networks), "every key fits, or loading stops; no NaN in any"
        ),
        Finding("finite numbers, share", finite, 1.0, 1.0, "a NaN anywhere spreads: try a higher --precision"),
    )


def _square(picture: np.ndarray, size: int) -> np.ndarray:
    return crop_image(picture, whole_frame(picture.shape[:2]), size)


def _animate(model: PersonaLive, reference: Reference, pictures: list[np.ndarray], size: int) -> list[AnimatedFrame]:
    frames = [Frame(picture, Fraction(i, 25)) for i, picture in enumerate(pictures)]
    return list(animate(model, reference, frames, AnimateOptions(motion=MotionOptions(size=size))))


def _keypoints(reference: Reference) -> tuple[Finding, ...]:
    points, pose = reference.motion.keypoints[0], reference.motion.pose
    inside = float((points[list(DRAWN), :2].abs() < 1).all(-1).float().mean())
    turned = float(pose.angles.abs().max())
    return (
        Finding("drawn keypoints on the canvas", inside, 1.0, 1.0, "a centred portrait has all seven in the picture"),
        Finding("largest head angle, degrees", turned, 0.0, 45.0, "a portrait looks roughly at the camera"),
        Finding("keypoint scale", float(pose.scale), 0.5, 2.5, "LivePortrait's extractor gives 1 to 2 for portraits"),
    )


def _pictures(
    portrait: np.ndarray, restored: np.ndarray, still: list[AnimatedFrame], moved: list[AnimatedFrame]
) -> tuple[Finding, ...]:
    own = level(portrait, still[-1].picture)
    steady = level(still[-2].picture, still[-1].picture)
    changed = level(still[-1].picture, moved[-1].picture)
    return (
        Finding("VAE round trip, dB", level(portrait, restored), 24.0, math.inf, "its mean on photographs is 26"),
        Finding("portrait driven by itself, dB", own, 18.0, math.inf, "same person, same pose: little may change"),
        Finding("still driving, frame to frame, dB", steady, 24.0, math.inf, "no motion in, no flicker out"),
        Finding("answer to another pose, dB", changed, 0.0, 35.0, "another pose must change the picture"),
    )


def findings_table(findings: tuple[Finding, ...]) -> str:
    """One line per finding: verdict, figure, expected range and reason."""
    return "\n".join(
        f"{'ok  ' if finding.good else 'FAIL'} {finding.name}: {finding.figure:.3g} (expected {finding.expected}: "
        f"{finding.why})"
        for finding in findings
    )
