"""LivePortrait's loaded networks, with one method per use of a network; no state between calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...modules.appearance import AppearanceExtractor
from ...modules.keypoints import KeypointExtractor
from ...modules.retargeting import Perceptron, RetargetingNetworks
from ...modules.spade import SpadeDecoder
from ...modules.warping import WarpingNetwork
from ...motion.types import HeadPose
from ..personalive.stages import StageRunner
from ..placement import Placement, in_parts
from .stages import draw_frames, extract_volume, read_heads


@dataclass(frozen=True)
class LivePortrait:
    """All networks, in eval mode, on one device and in one dtype; the perceptrons are always float32."""

    appearance_extractor: AppearanceExtractor
    motion_extractor: KeypointExtractor
    warping: WarpingNetwork
    decoder: SpadeDecoder
    retargeting: RetargetingNetworks
    placement: Placement | None = None  # None: networks compute on their weights' device, in their dtype
    run: StageRunner | None = None  # how the calls of each frame are run, see `with_live_speed`; None: as they are

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        return self.appearance_extractor, self.motion_extractor, self.warping, self.decoder, self.retargeting

    @property
    def device(self) -> torch.device:
        return self.placement.device if self.placement else self.decoder.fc.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.placement.dtype if self.placement else self.decoder.fc.weight.dtype

    def __repr__(self) -> str:
        return f"LivePortrait({self.decoder.config.middle}, {self.dtype}, {self.device})"

    @torch.inference_mode()
    def appearance(self, pictures: Tensor) -> Tensor:
        """Pictures [F, 3, 256, 256] in [0, 1] -> feature volumes [F, 32, 16, 64, 64] on the device."""
        self._bring(self.appearance_extractor)
        volumes: Tensor = self._call(extract_volume, (self.appearance_extractor,), pictures.to(self.device, self.dtype))
        return volumes

    @torch.inference_mode()
    def read_motion(self, pictures: Tensor) -> tuple[HeadPose, Tensor, Tensor]:
        """Pictures [F, 3, 256, 256] in [0, 1] -> head pose, canonical keypoints and expression [F, 21, 3], float32."""
        self._bring(self.motion_extractor)
        read = self._call(read_heads, (self.motion_extractor,), pictures.to(self.device, self.dtype))
        return HeadPose(*read[:3]), read[3], read[4]

    @torch.inference_mode()
    def render(self, volume: Tensor, source: Tensor, keypoints: Tensor) -> Tensor:
        """Pictures [F, 3, 512, 512] in [0, 1], float32 on the device.

        `volume` [F or 1, 32, 16, 64, 64] and `source` [F or 1, 21, 3] are the source's appearance and keypoints,
        `keypoints` [F, 21, 3] where they go.
        """
        self._bring(self.warping, self.decoder)
        count = len(keypoints)
        moved = torch.stack([source.expand(count, -1, -1), keypoints], 1).to(self.device, torch.float32)
        volume = volume.to(self.device, self.dtype)

        def drawn(frames: Tensor) -> Tensor:
            own = volume.expand(len(frames), -1, -1, -1, -1) if len(volume) == 1 else volume[frames]
            pixels: Tensor = self._call(draw_frames, (self.warping, self.decoder), own, *moved[frames].unbind(1))
            return pixels

        return in_parts(drawn, torch.arange(count, device=self.device))

    @torch.inference_mode()
    def stitch(self, x: Tensor) -> Tensor:
        """See `Retargeter`; the results come back to where the inputs were."""
        return self._perceive(self.retargeting.retarget_shoulder, x)

    @torch.inference_mode()
    def open_eyes(self, x: Tensor) -> Tensor:
        """See `Retargeter`."""
        return self._perceive(self.retargeting.retarget_eye, x)

    @torch.inference_mode()
    def open_lips(self, x: Tensor) -> Tensor:
        """See `Retargeter`."""
        return self._perceive(self.retargeting.retarget_mouth, x)

    def _perceive(self, network: Perceptron, x: Tensor) -> Tensor:
        self._bring(self.retargeting)
        return network(x.to(self.device, torch.float32)).to(x.device)

    def _call(self, stage: Any, networks: tuple[nn.Module, ...], *inputs: Any) -> Any:  # noqa: ANN401 - see stages.py
        if self.run is None:
            return stage(*networks, *inputs)
        return self.run(stage, networks, inputs, self.placement.token(networks) if self.placement else ())

    def _bring(self, *networks: nn.Module) -> None:
        if self.placement:
            self.placement.bring(networks)
