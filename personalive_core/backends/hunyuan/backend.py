"""HunyuanPortrait as a backend: faces are found in whole pictures, and the animated square is pasted back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError
from ...faces.crop import FaceDetector
from ...faces.detectors import YuNetDetector
from ...media.picture import Picture
from ...modules.schedule import seeded_noise
from ..personalive.files import yunet_file
from .files import check_licence
from .loader import load_hunyuan
from .model import HunyuanPortrait
from .motion import read_motion_of
from .pasting import PASTES, paster
from .reference import prepare_hunyuan
from .stream import animate_reference
from .types import PER_LATENT, PORTRAIT_SIDE, HunyuanMotion, HunyuanReference, SamplingOptions, SegmentProgress


@dataclass(frozen=True)
class HunyuanBackend:
    """See `Backend`; the detector must say five points. Raises InputError unless `paste` is one of PASTES."""

    model: HunyuanPortrait
    detector: FaceDetector
    options: SamplingOptions = SamplingOptions()
    side: int = PORTRAIT_SIDE  # pixels a side of the animated square
    seed: int = 0
    paste: str = PASTES[0]
    told: Callable[[SegmentProgress], None] = lambda _: None  # callback after each step; may raise to stop
    face: str = "largest"  # the picture's, see `choose_face`
    driving_face: str = "largest"  # the one to follow in the driving

    def __post_init__(self) -> None:
        if self.paste not in PASTES:
            raise InputError(f"a picture is pasted by one of {', '.join(PASTES)}, got {self.paste!r}: use one of these")

    def changed(self, **values: Any) -> HunyuanBackend:  # noqa: ANN401 - each field has its type
        """The same with other values of these fields."""
        return replace(self, **values)

    def portrait(self, picture: Picture) -> HunyuanReference:
        """What animation needs of a picture [H, W, 3]. Raises FaceError if its face is not found."""
        return prepare_hunyuan(self.model, picture, self.detector, self.side, self.face)

    def read(self, frames: Iterable[Picture]) -> Iterator[HunyuanMotion]:
        """The motion of driving frames [H, W, 3], 25 at a time."""
        yield from read_motion_of(self.model, frames, self.detector, self.side, self.driving_face)

    def animate(self, portrait: HunyuanReference, motions: Iterable[HunyuanMotion]) -> Iterator[Picture]:
        """One picture for each frame of `motions`: [H, W, 3], or the square alone; see `animate_reference`."""
        pasted = paster(portrait, self.paste, portrait.latents.shape[-1] * PER_LATENT)
        noise = seeded_noise(self.seed)
        for pictures in animate_reference(self.model, portrait, motions, noise, self.options, self.told):
            for picture in pictures.permute(0, 2, 3, 1).contiguous().numpy():
                yield pasted(picture)


def required_yunet(folder: Path) -> Path:
    """YuNet's file in a weights folder. Raises WeightsError without it."""
    return yunet_file(
        folder,
        f"HunyuanPortrait finds faces with YuNet, and {folder} lacks its file: fetch it with "
        "`personalive download --only detector`",
    )


def open_hunyuan(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    license_accepted: bool,
) -> HunyuanBackend:
    """The backend of a weights folder that also holds YuNet, with the published options.

    Raises InputError unless the licence is accepted, WeightsError if a file is missing or does not fit.
    """
    check_licence(license_accepted)
    detector = YuNetDetector(required_yunet(folder))
    model = load_hunyuan(folder, device, dtype, license_accepted)
    return HunyuanBackend(model, detector)
