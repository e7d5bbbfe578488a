"""The noise schedule: cumulative alphas, adding noise, DDIM steps, and seeded noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

NoiseFn = Callable[[int, torch.Size], Tensor]  # (chunk index, shape) -> standard normal noise, float32

TRAIN_STEPS = 1000  # Stable Diffusion's scaled-linear schedule
BETA_START, BETA_END = 0.00085, 0.02
SIGMA_DATA = 0.5  # standard deviation of the clean latents given the conditions (arXiv 2206.00364)


def alphas_cumprod() -> Tensor:
    """[1000] cumulative alphas of the scaled-linear schedule (arXiv 2112.10752)."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float32) ** 2
    return (1 - betas).cumprod(0)


@lru_cache(maxsize=8)
def alphas_on(device: torch.device) -> Tensor:
    """`alphas_cumprod` on `device`, made once: every copy from the CPU would wait for the device."""
    with torch.inference_mode(False):  # training uses the same tensor
        return alphas_cumprod().to(device)


def add_noise(x0: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """Noises clean latents to the level with cumulative `alpha`, which broadcasts against them."""
    return alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise


def predict_x0(x: Tensor, eps: Tensor, alpha: Tensor) -> Tensor:
    """Clean latents of `x`, given its noise `eps`: the inverse of `add_noise`."""
    return (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()


def noise_from_output(output: Tensor, x: Tensor, alpha: Tensor) -> Tensor:
    """The noise in `x`, from a preconditioned network's `output` (arXiv 2206.00364, equation 7 and table 1).

    Clean latents are s x / sqrt(alpha) + sqrt(s) sigma output, with sigma^2 = (1 - alpha) / alpha and
    s = SIGMA_DATA^2 / (sigma^2 + SIGMA_DATA^2): the more noise, the less weight the input gets.
    """
    variance = (1 - alpha) / alpha
    share = SIGMA_DATA**2 / (variance + SIGMA_DATA**2)
    x0 = share * x / alpha.sqrt() + (share * variance).sqrt() * output
    return (x - alpha.sqrt() * x0) / (1 - alpha).sqrt()


def ddim_step(x: Tensor, eps: Tensor, alpha: Tensor, alpha_next: Tensor) -> Tensor:
    """Deterministic DDIM (eta = 0), equation 12 of arXiv 2010.02502; `alpha_next` = 1 gives clean latents."""
    return add_noise(predict_x0(x, eps, alpha), eps, alpha_next)


@dataclass(frozen=True)
class Schedule:
    """The noise levels of a sampler, lowest first; level -1, below the lowest, means clean latents.

    `levels` are indices into `timesteps`, one for each frame [F]; latents are [B, F, 4, h, w].
    """

    timesteps: tuple[int, ...]

    def alphas(self, levels: Tensor, like: Tensor) -> Tensor:
        """Cumulative alphas [1, F, 1, 1, 1] on the device of `like`."""
        alphas = torch.cat([alphas_cumprod()[list(self.timesteps)], torch.ones(1)])
        return alphas[levels].to(like.device)[None, :, None, None, None]

    def noised(self, x0: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Clean latents, noised to their levels."""
        return add_noise(x0, noise, self.alphas(levels, x0))

    def clean(self, x: Tensor, eps: Tensor, levels: Tensor) -> Tensor:
        """Clean latents of `x`, given its noise `eps`."""
        return predict_x0(x, eps, self.alphas(levels, x))

    def step(self, x: Tensor, eps: Tensor, levels: Tensor) -> Tensor:
        """One DDIM step: each frame goes to the next lower level."""
        return ddim_step(x, eps, self.alphas(levels, x), self.alphas(levels - 1, x))


def seeded_noise(seed: int) -> NoiseFn:
    """Noise that depends on (seed, chunk) alone: the same on every device, after a pause, in any order."""

    def noise(chunk: int, shape: torch.Size) -> Tensor:
        digest = hashlib.sha256(f"{seed}:{chunk}".encode()).digest()
        generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    return noise
