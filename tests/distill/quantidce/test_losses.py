"""The losses of QuantiDCE: golden values and what they must not be moved by."""

import pytest
import torch
from torch import tensor

from cyclealign.distill.quantidce.losses import distillation, human_scores, multi_level_ranking, pairwise_logistic

# Levels, then responses, then contexts, as the golden values are written; our order is levels, contexts, responses.
GOLDEN_LKB = [[[0.9, 0.7], [0.8, 0.6]], [[0.5, 0.6], [0.6, 0.9]], [[0.2, 0.4], [0.1, 0.1]]]


def test_golden_values():
    """Prevents a loss that only looks like the paper's: these agree with the authors' implementation."""
    found = multi_level_ranking(tensor(GOLDEN_LKB, dtype=torch.float64).transpose(1, 2))
    assert found.separation.item() == pytest.approx(0.20)
    assert found.compactness.item() == pytest.approx(0.05)
    assert found.ordering.item() == pytest.approx(0.05)
    assert found.total.item() == pytest.approx(0.30)


def test_levels_that_are_apart_close_and_in_order_cost_nothing():
    """Prevents a gradient that pushes scores on when the levels are as they should be."""
    scores_LBK = tensor([[[0.95, 0.9]], [[0.6, 0.55]], [[0.2, 0.25]]])
    assert multi_level_ranking(scores_LBK).total.item() == 0


def test_reversed_levels_cost_order_and_nothing_else():
    """Prevents a separation by absolute distance from passing for an order."""
    scores_LBK = tensor([[[0.2, 0.2]], [[0.6, 0.6]], [[1.0, 1.0]]])
    found = multi_level_ranking(scores_LBK)
    assert (found.separation.item(), found.compactness.item()) == (0, 0)
    assert found.ordering.item() == pytest.approx(0.4 + 0.8 + 0.4)


def test_the_order_of_responses_within_a_level_does_not_matter():
    scores_LBK = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = scores_LBK[:, :, torch.tensor([3, 1, 4, 0, 2])]
    assert multi_level_ranking(turned).total.item() == pytest.approx(multi_level_ranking(scores_LBK).total.item())


def test_pairs_of_levels_are_learnt_from_in_the_right_direction():
    """Prevents a comparison arm that is weak because it learns the wrong way round."""
    logits_LBK = torch.zeros(3, 1, 2, requires_grad=True)
    pairwise_logistic(logits_LBK).backward()
    best, middle, worst = logits_LBK.grad.sum(dim=(1, 2)).tolist()
    assert best < 0 < worst
    assert middle == pytest.approx(0)


def test_a_coherence_of_one_is_a_score_of_five():
    assert human_scores(tensor([0.0, 1.0]), tensor([1.0, 5.0])).item() == 0


def test_the_teacher_gets_no_gradient_and_itself_costs_nothing():
    """Prevents a first stage that drifts along with the student, so that nothing is held."""
    hidden, maps, score = (torch.rand(2, 3, requires_grad=True),), (torch.rand(2, 2),), torch.rand(2)
    assert distillation((hidden, maps, score), (hidden, maps, score)).item() == 0
    ours = ((torch.rand(2, 3, requires_grad=True),), maps, score)
    distillation(ours, (hidden, maps, score)).backward()
    assert hidden[0].grad is None
    assert ours[0][0].grad is not None
