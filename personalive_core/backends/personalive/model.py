"""The loaded networks, with one method per use of a network; no state between calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ...device import upload
from ...modules.face_encoder import FaceEncoder
from ...modules.inputs import LayerFeatures, MotionFeatures, SeenFeatures
from ...modules.keypoints import KeypointExtractor
from ...modules.pose_guider import PoseGuider, draw_keypoints
from ...modules.region_cue import draw_regions
from ...modules.unet import UNet
from ...motion.types import HeadPose, HybridMotion, cue_or_hidden
from ..placement import Placement, in_parts
from .stages import StageRunner, decode_full, decode_tiny, guide, predict_noise, read_faces, read_keypoints
from .types import LATENT_SCALE, Reference


@dataclass(frozen=True)
class PersonaLive:
    """All networks, in eval mode, on one device and in one dtype. If there is a `tiny_vae`, it decodes."""

    reference_unet: UNet
    denoising_unet: UNet
    pose_guider: PoseGuider
    motion_encoder: FaceEncoder
    motion_extractor: KeypointExtractor
    vae: Any  # diffusers AutoencoderKL
    image_encoder: Any  # transformers CLIPVisionModelWithProjection
    tiny_vae: Any = None  # diffusers AutoencoderTiny
    placement: Placement | None = None  # None: networks compute on their weights' device, in their dtype
    run: StageRunner | None = None  # how the calls that a stream repeats are run, see `with_speed`; None: as they are

    @property
    def device(self) -> torch.device:
        return self.placement.device if self.placement else self.denoising_unet.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.placement.dtype if self.placement else self.denoising_unet.conv_in.weight.dtype

    @property
    def has_cue(self) -> bool:
        """True if it reads a region cue of motion: pixels of eyes, nose and mouth. No published model does."""
        return self.pose_guider.config.region_cue

    def __repr__(self) -> str:
        decoder = "full" if self.tiny_vae is None else "tiny"
        return f"PersonaLive({self.denoising_unet.config.widths}, {self.dtype}, {self.device}, {decoder} decoder)"

    def denoise(
        self, x: Tensor, timesteps: Tensor, reference: Reference, motion: MotionFeatures, features: SeenFeatures
    ) -> Tensor:
        """Predicted noise [B, F, 4, h, w] in `x` [B, F, 4, h, w] at `timesteps` [F]."""
        self._bring(self.denoising_unet)
        inputs = x, timesteps, reference.context, (motion.face, motion.pose), features
        return self._call(predict_noise, (self.denoising_unet,), *inputs)

    def encode_features(self, latent: Tensor, reference: Reference) -> LayerFeatures:
        """Keys and values of a keyframe: clean `latent` [B, 4, h, w], with the image embedding of `reference`."""
        return self.project_tokens(latent, reference.clip)

    def project_tokens(self, latent: Tensor, clip: Tensor) -> LayerFeatures:
        """The reference UNet's tokens of `latent` [B, 4, h, w], projected to keys and values by the denoising UNet."""
        self._bring(self.reference_unet, self.denoising_unet)
        return self.denoising_unet.project_reference(self.reference_unet.reference_tokens(latent, clip))

    def project_image(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Image embedding [B, 1, D] -> cross-attention output [B, 1, C_i] of each of the denoising UNet's blocks."""
        self._bring(self.denoising_unet)
        return self.denoising_unet.project_image(clip)

    def embed_motion(self, motion: HybridMotion, size: int) -> MotionFeatures:
        """Hybrid motion of F frames -> the denoising UNet's input, B = 1, for pictures of `size` pixels a side.

        Motion without a region cue hides it, with a warning, if the model has one; without, the motion's is not used.
        """
        self._bring(self.pose_guider)
        keypoints = upload(motion.keypoints, self.device)
        drawings: tuple[Tensor, ...] = (draw_keypoints(keypoints, size).to(self.dtype),)
        if self.has_cue:
            drawings += (draw_regions(upload(cue_or_hidden(motion), self.device), keypoints, size).to(self.dtype),)
        told = motion.embedding[None].to(self.dtype)
        face = upload(told, self.device)
        # on a device of its own a decision would wait for all work queued there: the CPU's copy goes along
        host = told.detach() if told.device.type == "cpu" != self.device.type else None
        return MotionFeatures(face, self._call(guide, (self.pose_guider,), *drawings)[None], host)

    def detect_keypoints(self, pictures: Tensor) -> tuple[HeadPose, Tensor]:
        """Pictures [F, 3, 256, 256] in [0, 1] -> head pose, canonical keypoints [F, 21, 3]; float32 on the device."""
        self._bring(self.motion_extractor)
        read = self._call(read_keypoints, (self.motion_extractor,), pictures.to(self.device, self.dtype))
        angles, translation, scale, canonical = read
        return HeadPose(angles, translation, scale), canonical

    def embed_faces(self, faces: Tensor) -> Tensor:
        """Face crops [F, 3, 224, 224] in [-1, 1] -> facial embeddings [F, 32, 16], float32 on the device."""
        self._bring(self.motion_encoder)
        return self._call(read_faces, (self.motion_encoder,), faces.to(self.device, self.dtype))

    def embed_image(self, pixels: Tensor) -> Tensor:
        """CLIP-normalised pictures [B, 3, 224, 224] -> image embeddings [B, 1, D]."""
        self._bring(self.image_encoder)
        # a host loads this network as a whole or leaves it on the CPU: it computes where its weights are
        weight = next(self.image_encoder.parameters())
        return self.image_encoder(pixels.to(weight.device, weight.dtype)).image_embeds[:, None].to(self.device)

    def encode(self, pixels: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] -> latents [B, 4, H/8, W/8]: posterior mean times `LATENT_SCALE`."""
        self._bring(self.vae)
        return self.vae.encode(pixels.to(self.device, self.dtype)).latent_dist.mean * LATENT_SCALE

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, F, 4, h, w] -> pictures [B, F, 3, H, W] in [0, 1], float32."""
        frames = rearrange(latents, "b f c h w -> (b f) c h w").to(self.dtype)
        self._bring(self.vae if self.tiny_vae is None else self.tiny_vae)
        if self.tiny_vae is None:
            pixels = in_parts(lambda part: self._call(decode_full, (self.vae,), part), frames)
        else:
            pixels = in_parts(lambda part: self._call(decode_tiny, (self.tiny_vae,), part), frames)
        return rearrange((pixels.float() / 2 + 0.5).clamp(0, 1), "(b f) c h w -> b f c h w", b=len(latents))

    def _call(self, stage: Any, networks: tuple[Any, ...], *inputs: Any) -> Any:  # noqa: ANN401 - see stages.py
        if self.run is None:
            return stage(*networks, *inputs)
        return self.run(stage, networks, inputs, self.placement.token(networks) if self.placement else ())

    def _bring(self, *networks: nn.Module) -> None:
        if self.placement:
            self.placement.bring(networks)
