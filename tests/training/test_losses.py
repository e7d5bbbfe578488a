"""The losses of training against numbers worked out by hand, and the changes of the driving crop."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from personalive_core.training import losses
from personalive_core.training.augment import augment, recolour, warp
from personalive_core.training.discriminator import Discriminator, minibatch_deviation
from personalive_core.training.perceptual import feature_distance, perceptual_distance
from personalive_core.training.presets import Preset
from personalive_core.training.stages import PictureLoss

LN3 = math.log(3)
SOFTPLUS_0, SOFTPLUS_MINUS_LN3, SOFTPLUS_MINUS_1 = 0.693147, 0.287682, 0.313262


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def near(value):
    return pytest.approx(value, abs=2e-6)


def test_noise_error_is_the_weighted_mean_square():
    predicted, noise = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    assert losses.noise_error(predicted, noise) == near(2.5)  # (1 + 4) / 2
    assert losses.noise_error(predicted, noise, torch.tensor([2.0, 0.5])) == near(2.0)  # (2 + 2) / 2


def test_snr_weight_is_one_over_snr_up_to_its_limit():
    assert losses.snr_weight(torch.tensor([0.8, 0.5, 0.2]), 3.0).tolist() == near([0.25, 1.0, 3.0])  # of 4


def test_errors_of_pictures():
    predicted, true = torch.tensor([[[[0.0, 2.0], [3.0, 7.0]]]]), torch.tensor([[[[0.0, 1.0], [1.0, 2.0]]]])
    assert losses.squared_error(predicted, true) == near(7.5)  # (0 + 1 + 4 + 25) / 4
    assert losses.absolute_error(predicted, true) == near(2.0)  # (0 + 1 + 2 + 5) / 4
    alike = torch.ones(1, 1, 2, 2)
    assert losses.edge_error(predicted, true, alike) == near(5.0)  # across (1 + 3) / 2, down (2 + 4) / 2
    weight = torch.tensor([[[[0.5, 1.0], [2.0, 0.5]]]])
    assert losses.absolute_error(predicted, true, weight) == near(1.875)  # (0 + 1 + 4 + 2.5) / 4
    assert losses.edge_error(predicted, true, weight) == near(4.25)  # across (1 + 1.5) / 2, down (4 + 2) / 2


def test_kl_to_normal():
    mean, log_variance = torch.tensor([1.0, 0.0]), torch.tensor([0.0, math.log(4.0)])
    assert losses.kl_to_normal(mean, log_variance) == near((0.5 + 0.806853) / 2)  # (1 + 1 - 1) / 2, (3 - ln 4) / 2


def test_adversarial_losses():
    assert losses.generator_loss(torch.tensor([0.0, LN3])) == near((SOFTPLUS_0 + SOFTPLUS_MINUS_LN3) / 2)
    assert losses.discriminator_loss(torch.tensor([LN3]), torch.tensor([0.0])) == near(0.980829)


def test_gradient_penalty_is_half_the_mean_squared_gradient():
    real = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 3.0]]]], requires_grad=True)
    score = real.square().sum((1, 2, 3))  # gradients (2, 4) and (0, 6)
    penalty = losses.gradient_penalty(score, real)
    assert penalty.item() == near(14.0)  # (20 + 36) / 2 / 2
    (second,) = torch.autograd.grad(penalty, real)  # of the sum of x^2: the discriminator learns through it
    assert second.flatten().tolist() == near([2.0, 4.0, 0.0, 6.0])


def test_minibatch_deviation_is_of_groups_of_at_most_four():
    pair = torch.tensor([[[[0.0, 2.0]]], [[[2.0, 2.0]]]])
    assert minibatch_deviation(pair).shape == (2, 1, 1, 2)
    assert minibatch_deviation(pair).flatten().tolist() == pytest.approx([0.5] * 4, abs=1e-4)  # of 1 and 0
    six = torch.tensor([0.0, 10.0, 3.0, 10.0, 6.0, 10.0])[:, None, None, None]  # groups 0, 3, 6 and 10, 10, 10
    assert minibatch_deviation(six).flatten().tolist() == pytest.approx([math.sqrt(6), 0.0] * 3, abs=2e-4)


def test_feature_distance_is_of_unit_vectors_summed_over_layers():
    first, second = torch.tensor([[[[3.0]], [[4.0]]]]), torch.tensor([[[[8.0]], [[6.0]]]])
    right, down = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]], [[9.0, 0.0]]]])
    assert feature_distance([first], [second]) == near(0.08)  # (0.6 - 0.8)^2 + (0.8 - 0.6)^2
    assert feature_distance([first, right], [second, down]) == near(1.08)  # 0.08 + (2 + 0) / 2


def test_the_extractors_distance_is_none_of_equal_pictures(standin):
    distance = perceptual_distance("extractor", standin)
    grey, noise = torch.zeros(1, 3, 64, 64), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert distance(noise, noise) == 0
    assert distance(grey, noise) > 0.01


class MeanScore(nn.Module):
    """Scores a picture by its mean, times a weight of 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, pictures):
        return self.weight * pictures.mean((1, 2, 3))


ANYWHERE = torch.tensor([[0.0, 0.0, 2.0, 2.0]])  # a face's box


def test_picture_loss_is_equation_8():
    critic, predicted = MeanScore(), torch.zeros(1, 3, 2, 2, requires_grad=True)
    judge = PictureLoss(lambda a, b: (b - a).sum() / 48, critic)
    terms = judge(Preset(1, ()), predicted, torch.ones(1, 3, 2, 2), ANYWHERE)
    assert {name: value.item() for name, value in terms.items()} == near({
        "l2": 1.0,
        "perceptual": 0.5,  # 2.0 * 12 / 48
        "adversarial": 0.034657,  # 0.05 ln 2
        "critic": SOFTPLUS_MINUS_1 + SOFTPLUS_0,
        "penalty": 10 / 24,  # 10 times twelve gradients of 1 / 12, squared, halved
    })  # fmt: skip


def test_discriminator_and_pictures_learn_from_their_own_terms_alone():
    critic, predicted = MeanScore(), torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    terms = PictureLoss(None, critic)(Preset(1, ()), predicted, torch.ones(1, 3, 2, 2), ANYWHERE)
    (terms["l2"] + terms["adversarial"]).backward()
    assert critic.weight.grad is None
    picture_gradient = predicted.grad.clone()
    (terms["critic"] + terms["penalty"]).backward()
    assert critic.weight.grad != 0
    assert torch.equal(predicted.grad, picture_gradient)


def test_terms_of_weight_zero_are_left_out():
    terms = PictureLoss(None, None)(Preset(1, ()), torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), ANYWHERE)
    assert list(terms) == ["l2"]


def test_the_inner_face_counts_more_by_the_rows_number():
    box = torch.tensor([[0.0, 2.0, 10.0, 12.0]])  # around (5, 7): inner pixels are 2 to 8 and 4 to 10
    weight = losses.face_weight(box, 12, 3.0)[0, 0]
    inner = torch.zeros(12, 12, dtype=torch.bool)
    inner[4:10, 2:8] = True
    mean = (36 * 3 + 108) / 144
    assert weight[inner].tolist() == near([3 / mean] * 36)
    assert weight[~inner].tolist() == near([1 / mean] * 108)
    off = torch.zeros(1, 3, 12, 12)
    off[..., 5, 5] = 1.0  # one pixel inside is wrong by 1
    for more, expected in ((1.0, 1 / 144), (3.0, 3 / mean / 144)):
        terms = PictureLoss(None, None)(replace(Preset(1, ()), face=more), off, torch.zeros_like(off), box)
        assert terms["l2"].item() == near(expected)


def test_discriminator_gives_one_score_a_picture():
    scores = Discriminator(32, most=8)(torch.zeros(3, 3, 32, 32))
    assert scores.shape == (3,)


PICTURES = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_no_strength_changes_nothing():
    assert torch.equal(augment(PICTURES, 0.0, 1, 2, 3, 4), PICTURES)


@pytest.mark.parametrize("change", [augment, recolour, warp])
def test_changes_are_a_function_of_their_numbers(change):
    once = change(PICTURES, 1.0, 1, 2, 3, 4)
    assert torch.equal(once, change(PICTURES, 1.0, 1, 2, 3, 4))
    assert not torch.equal(once, change(PICTURES, 1.0, 1, 2, 3, 5))
    assert not torch.equal(once, PICTURES)
    assert once.shape == PICTURES.shape
    assert float(once.abs().max()) <= 1


def test_each_picture_has_its_own_change():
    changed = augment(PICTURES[:1].expand(2, -1, -1, -1), 1.0, 1, 2, 3, 4)
    assert not torch.equal(changed[0], changed[1])


def test_colours_change_without_moving_and_places_without_recolouring():
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 8:24, 8:24] = 0.5
    recoloured = recolour(picture, 1.0, 1)
    assert (recoloured[0, :, 0, 0] != 0).all()
    assert (recoloured.flatten(2).diff(dim=-1).ne(0) == picture.flatten(2).diff(dim=-1).ne(0)).all()
    warped = warp(picture, 1.0, 1)
    assert 0 <= float(warped.min()) <= float(warped.max()) <= 0.5
    assert float(warped.max()) == near(0.5)
