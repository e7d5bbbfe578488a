"""The network calls that a stream repeats: each a function of networks and tensors alone, so that it can be sped up."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from torch import Tensor, nn

from ...modules.face_encoder import FaceEncoder
from ...modules.inputs import MotionFeatures, SeenFeatures
from ...modules.keypoints import KeypointExtractor
from ...modules.pose_guider import PoseGuider
from ...modules.unet import UNet
from .types import LATENT_SCALE


class NetworkStage(Protocol):
    """A function of networks and inputs: tensors, and tuples of them, in and out. It keeps and changes nothing."""

    __name__: str

    def __call__(self, *networks_and_inputs: Any) -> Any: ...  # noqa: ANN401


class StageRunner(Protocol):
    """Runs a stage in its own way, with the result of `stage(*networks, *inputs)`."""

    def __call__(
        self,
        stage: NetworkStage,
        networks: tuple[nn.Module, ...],
        inputs: tuple[Any, ...],
        token: Hashable | None,
    ) -> Any:  # noqa: ANN401
        """`token` changes with the weights' values; None: a host program has them elsewhere, or in another form."""


def predict_noise(
    unet: UNet, x: Tensor, timesteps: Tensor, image: tuple[Tensor, ...], motion: tuple[Tensor, Tensor],
    features: SeenFeatures,
) -> Tensor:  # fmt: skip
    """The denoising UNet; `motion` is (face, pose) of `MotionFeatures`."""
    return unet(x, timesteps, image, MotionFeatures(*motion), features)


def read_keypoints(extractor: KeypointExtractor, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures [F, 3, 256, 256] in [0, 1] -> angles, translation and scale of the head, canonical keypoints."""
    pose, canonical = extractor(pictures)
    return pose.angles, pose.translation, pose.scale, canonical


def read_faces(encoder: FaceEncoder, crops: Tensor) -> Tensor:
    """Face crops [F, 3, 224, 224] in [-1, 1] -> facial embeddings [F, 32, 16], float32."""
    return encoder(crops).float()


def guide(pose_guider: PoseGuider, drawing: Tensor, *regions: Tensor) -> Tensor:
    """Drawn keypoints, and with a cue drawn regions, [F, 3, S, S] -> the denoising UNet's input [F, C, S/8, S/8]."""
    return pose_guider(drawing, *regions)


def decode_full(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401 - diffusers' AutoencoderKL
    """Latents [F, 4, h, w] -> pictures [F, 3, H, W] in [-1, 1]."""
    return vae.decode(latents / LATENT_SCALE).sample


def decode_tiny(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401 - diffusers' AutoencoderTiny
    """The same by the tiny VAE, which takes scaled latents."""
    return vae.decode(latents).sample
