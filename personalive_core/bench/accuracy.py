"""Accuracy of a speed choice: one step's output on stand-in weights, compared with the plain one in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.personalive.loader import library_ops
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import LATENT_PIXELS, STREAM, Reference
from ..modules.inputs import MotionFeatures
from ..motion.types import HeadPose, HybridMotion
from ..weights.fill import load_into
from .figures import Accuracy
from .networks import StandinState, empty_model, in_channels_last, random_state
from .options import BenchOptions
from .variants import VARIANTS


@dataclass(frozen=True, eq=False)
class StandinStep:
    """A model whose denoising UNet has stand-in weights in float32, one step's inputs, and the step's output."""

    model: PersonaLive
    reference: Reference
    latents: Tensor
    motion: MotionFeatures
    output: Tensor  # all zero until it is computed


def make_case(options: BenchOptions) -> StandinStep:
    """A denoising UNet of the options' widths. Weights that repeat, as the timed ones do, would enlarge rounding."""
    device, frames, side = options.device, STREAM.windows * STREAM.window, options.size // LATENT_PIXELS
    empty = empty_model(options.widths, library_ops(device))
    unet, name = empty.denoising_unet, "denoising_unet"
    with torch.inference_mode():
        clip = torch.empty(1, 1, unet.config.image_dim, device="meta")
        shapes = empty.reference_unet.reference_tokens(torch.empty(1, 4, side, side, device="meta"), clip)
    state = random_state(name, unet, StandinState)
    in_channels_last(load_into(unet, state, network=name, device=device, dtype=torch.float32))
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    with torch.inference_mode(), exact_products():
        clip = noise(*clip.shape)
        tokens = unet.project_reference(tuple(noise(*shape.shape) for shape in shapes))
        own = HybridMotion(noise(1, 32, 16), noise(1, 21, 3), HeadPose(*noise(3, 1, 3)), noise(1, 4), noise(1) > 0)
        reference = Reference(noise(1, 4, side, side), clip, unet.project_image(clip), tokens, own, noise(21, 3))
        motion = MotionFeatures(noise(1, frames, 32, 16), 0.5 * noise(1, frames, options.widths[0], side, side))
        latents = noise(1, frames, 4, side, side)
        case = StandinStep(empty, reference, latents, motion, torch.zeros_like(latents))
        return replace(case, output=_step(case, empty, torch.float32))


def measure_accuracy(case: StandinStep, speed: str, precision: torch.dtype) -> Accuracy:
    """The error of the variant `speed` in `precision`; the first call of a variant may compile it."""
    unet = case.model.denoising_unet
    unet = unet if precision == torch.float32 else copy.deepcopy(unet).to(precision)
    model = VARIANTS[speed](replace(case.model, denoising_unet=unet))
    with torch.inference_mode():
        for _ in range(3):  # a variant may run plain before it is ready
            output = _step(case, model, precision)
    error = (output - case.output).double().square().mean().sqrt() / case.output.double().std()
    return Accuracy(speed, str(precision).removeprefix("torch."), float(error))


@contextmanager
def exact_products() -> Iterator[None]:
    """Within the block, float32 is multiplied as such on NVIDIA cards too, not as TF32."""
    matmul, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolutions


def _step(case: StandinStep, model: PersonaLive, dtype: torch.dtype) -> Tensor:
    timesteps = torch.tensor(STREAM.timesteps).repeat_interleave(STREAM.window).to(case.latents.device)
    motion = MotionFeatures(case.motion.face.to(dtype), case.motion.pose.to(dtype))
    reference = case.reference.to(case.latents.device, dtype)
    return model.denoise(case.latents, timesteps, reference, motion, reference.features).float()
