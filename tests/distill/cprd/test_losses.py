"""The losses of CPRD: golden values, and the argument of the method as exact tests."""

import pytest
import torch
from torch import tensor

from cyclealign.distill.cprd.losses import contrastive, divergence, hardest, ranking

SIMILARITIES = tensor([[0.3, 0.5, 0.1, 0.2], [0.4, 0.1, 0.35, 0.2]], dtype=torch.float64)
SCORES = tensor([[0.9, 0.2, 0.6, 0.01], [0.02, 0.8, 0.01, 0.03]], dtype=torch.float64)


def test_golden_value():
    """Prevents a chain that only looks like the one that was recovered: four valid terms, summed."""
    found = ranking(SIMILARITIES, SCORES, temperature=0.07, threshold=0.1)
    assert found.item() * 4 == pytest.approx(13.404740680, abs=1e-8)


@pytest.mark.parametrize("power", [0.2, 3.0, 9.0])
def test_a_monotone_distortion_of_the_teacher_changes_kl_and_not_the_ranking(power):
    """The method's central argument: ranks survive what saturation does to scores."""
    bent = SCORES**power
    before, after = ranking(SIMILARITIES, SCORES, 0.07, 0.1), ranking(SIMILARITIES, bent, 0.07, 0.1**power)
    assert before.item() == after.item()
    assert divergence(SIMILARITIES, SCORES, 0.07).item() != pytest.approx(divergence(SIMILARITIES, bent, 0.07).item())


def test_nothing_is_asked_among_invalid_negatives():
    """Prevents noise among easy negatives from being learnt: their order does not matter, their place below does."""
    swapped = SCORES.clone()
    swapped[1, [0, 2]] = SCORES[1, [2, 0]]
    assert ranking(SIMILARITIES, swapped, 0.07, 0.1).item() == ranking(SIMILARITIES, SCORES, 0.07, 0.1).item()
    assert ranking(SIMILARITIES, swapped, 0.07, None).item() != ranking(SIMILARITIES, SCORES, 0.07, None).item()


def test_no_valid_negative_costs_nothing():
    """Prevents a division by zero where the teacher sees no relation at all."""
    similarities = SIMILARITIES.clone().requires_grad_()
    found = ranking(similarities, SCORES * 0, 0.07, 0.1)
    found.backward()
    assert found.item() == 0
    assert similarities.grad.abs().sum() == 0


def test_a_teacher_that_agrees_costs_less_than_one_that_contradicts():
    assert ranking(SIMILARITIES, SIMILARITIES, 0.07, None) < ranking(SIMILARITIES, 1 - SIMILARITIES, 0.07, None)


def test_the_hardest_are_the_nearest_negatives_with_their_own_scores():
    """Prevents the pair itself from being a negative, and scores from being those of other pairs."""
    negative = ~torch.eye(2, 4, dtype=torch.bool)
    near, scores = hardest(SIMILARITIES, SCORES, negative, 2)
    assert near.tolist() == [[0.5, 0.2], [0.4, 0.35]]
    assert scores.tolist() == [[0.2, 0.01], [0.02, 0.01]]


def test_contrastive_is_the_mean_of_both_directions():
    scaled = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = -scaled.log_softmax(1).diagonal().mean()
    columns = -scaled.log_softmax(0).diagonal().mean()
    found = contrastive(scaled * 0.07, 0.07, torch.arange(5))
    assert found.item() == pytest.approx(((rows + columns) / 2).item())


def test_captions_of_one_image_are_no_negatives_of_each_other():
    """Prevents a student from being taught that a picture's second caption does not belong to it."""
    similarity = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    contrastive(similarity, 0.07, tensor([4, 9, 4])).backward()
    assert similarity.grad[0, 2] == similarity.grad[2, 0] == 0
    assert similarity.grad[0, 1] != 0
