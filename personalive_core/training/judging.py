"""The loss on decoded pictures: squared error, perceptual and adversarial terms; of the VAE the last two alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.func import functional_call

from .discriminator import Discriminator
from .losses import (
    Losses,
    discriminator_loss,
    face_weight,
    generator_loss,
    gradient_penalty,
    masked_error,
    squared_error,
)
from .perceptual import Distance
from .presets import Preset
from .regions import error_mask


@dataclass(frozen=True)
class Judged:
    """Where the judged pictures come from."""

    step: int = 0  # of the training
    regions: Tensor | None = None  # [N, 4, 4] boxes of `regions.ERROR_REGIONS` in pixels, for the masked error
    level: Tensor | None = None  # [N] index of the noise level that each picture was predicted from

    def of(self, rows: list[int]) -> Judged:
        """The place of some of the pictures."""
        regions, level = (None if values is None else values[rows] for values in (self.regions, self.level))
        return Judged(self.step, regions, level)


@dataclass(frozen=True)
class PictureLoss:
    """Equation 8 on decoded pictures: L2 + 2.0 LPIPS + 0.05 adversarial; also the discriminator's own losses."""

    distance: Distance | None
    critic: Discriminator | None

    def __call__(self, row: Preset, predicted: Tensor, true: Tensor, box: Tensor, place: Judged = Judged()) -> Losses:
        """Losses by name; takes pictures [N, 3, S, S] in [-1, 1] and face boxes [N, 4] in pixels."""
        losses = {"l2": squared_error(predicted, true, face_weight(box, true.shape[-1], row.face).to(true))}
        if row.masked and place.regions is not None:
            mask = error_mask(place.regions.to(true.device), true.shape[-1], true.shape[-1])
            losses["masked"] = row.masked * masked_error(predicted, true, mask)
        return losses | self.look(row, predicted, true, place)

    def look(self, row: Preset, predicted: Tensor, true: Tensor, place: Judged) -> Losses:
        """The terms that ask for more than the mean of what could be true: perceptual, adversarial."""
        losses: Losses = {}
        if self.distance and row.perceptual:
            losses["perceptual"] = row.perceptual * self.distance(predicted, true)
        if self.critic and row.adversarial:
            losses |= self._adversarial(row, predicted, true, place)
        return losses

    def _adversarial(self, row: Preset, predicted: Tensor, true: Tensor, place: Judged) -> Losses:
        assert self.critic is not None
        level = () if place.level is None or not row.leveled else (place.level.to(true.device),)
        losses: Losses = {}
        if place.step >= row.generator_from:
            # with frozen parameters: the adversarial term trains the generator only
            frozen = {key: value.detach() for key, value in self.critic.named_parameters()}
            score = functional_call(self.critic, frozen, (predicted, *level))
            losses["adversarial"] = row.adversarial * generator_loss(score)
        if place.step >= row.critic_from:
            real = true.detach().requires_grad_(row.penalty > 0)
            real_score = self.critic(real, *level)
            losses["critic"] = discriminator_loss(real_score, self.critic(predicted.detach(), *level))
            if row.penalty:
                losses["penalty"] = row.penalty * gradient_penalty(real_score, real)
        return losses
