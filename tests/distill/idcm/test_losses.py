"""Losses of IDCM: golden value, invariances, padding."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.distill.idcm.losses import SELECTION_LOSSES, ndcg2, ranknet, top_gains

ESM = tensor([[0.2, -0.1, 0.5, 0, 0.3], [1, 0.2, 0.1, -0.3, 0.4]], dtype=torch.float64)
ETM = tensor([[3, 1, 2, -1, 0], [0.1, 2.2, -0.5, 1.7, 0.3]], dtype=torch.float64)
ALL_WINDOWS = torch.ones(2, 5, dtype=torch.bool)
distinct = st.lists(st.integers(-40, 40), min_size=2, max_size=7, unique=True)


def by_hand(esm: list[float], etm: list[float], k: int) -> float:
    """The paper's formula, with loops."""
    order = sorted(range(len(esm)), key=lambda n: -esm[n])
    best = sorted(range(len(etm)), key=lambda n: -etm[n])
    gain = {window: max(0, k - position) for position, window in enumerate(best)}
    ideal = sum((2**value - 1) / math.log2(2 + n) for n, value in enumerate(sorted(gain.values(), reverse=True)))
    total = 0.0
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            if gain[a] > gain[b]:
                d = abs(i - j)
                discount = abs(1 / math.log2(1 + d) - 1 / math.log2(2 + d))
                weight = discount * abs(2 ** gain[a] - 2 ** gain[b]) / ideal
                total -= weight * math.log2(1 / (1 + math.exp(esm[b] - esm[a])))
    return total


def test_golden_value_of_the_selection_loss():
    """Prevents a loss other than the paper's: the authors' implementation gives 1.853036 for k = 3, summed."""
    assert ndcg2(ESM, ETM, ALL_WINDOWS, 3).item() == pytest.approx(1.853036, abs=1e-6)


@given(distinct, distinct, st.integers(1, 6))
def test_the_selection_loss_equals_the_formula(esm, etm, k):
    """Prevents a vectorised loss that differs from the paper's for some order or k."""
    count = min(len(esm), len(etm))
    esm, etm = [score / 8 for score in esm[:count]], [float(score) for score in etm[:count]]
    rows = tensor([esm], dtype=torch.float64), tensor([etm], dtype=torch.float64)
    mask = torch.ones(1, count, dtype=torch.bool)
    assert ndcg2(*rows, mask, k).item() == pytest.approx(by_hand(esm, etm, k), rel=1e-9, abs=1e-12)


def test_only_the_teachers_order_matters():
    """Prevents raw teacher scores from leaking into a ranking loss."""
    assert ndcg2(ESM, torch.exp(ETM) * 7 - 3, ALL_WINDOWS, 3).item() == pytest.approx(
        ndcg2(ESM, ETM, ALL_WINDOWS, 3).item()
    )


def test_the_loss_falls_if_the_order_is_right():
    """Prevents a sign error, which would train ESM to choose the worst windows."""
    assert (
        ndcg2(ETM, ETM, ALL_WINDOWS, 3)
        < ndcg2(torch.zeros_like(ETM), ETM, ALL_WINDOWS, 3)
        < ndcg2(-ETM, ETM, ALL_WINDOWS, 3)
    )


@pytest.mark.parametrize("name", SELECTION_LOSSES)
@pytest.mark.parametrize("padding", [0.0, 9.0, -9.0])
def test_padding_changes_neither_value_nor_gradient(name, padding):
    """Prevents padding from being told from windows by its score."""
    loss = SELECTION_LOSSES[name]
    esm = ESM.clone().requires_grad_()
    filler = torch.full((2, 3), padding, dtype=torch.float64)
    mask = torch.cat([ALL_WINDOWS, torch.zeros(2, 3, dtype=torch.bool)], 1)
    plain, padded = (
        loss(esm, ETM, ALL_WINDOWS, 3),
        loss(torch.cat([esm, filler], 1), torch.cat([ETM, filler], 1), mask, 3),
    )
    assert padded.item() == pytest.approx(plain.item())
    gradients = [torch.autograd.grad(loss, esm)[0] for loss in (plain, padded)]
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("name", SELECTION_LOSSES)
def test_a_document_of_one_window_has_a_zero_gradient(name):
    """Prevents NaN from short documents, which leave no choice."""
    esm = tensor([[0.3, 5.0]], requires_grad=True)
    SELECTION_LOSSES[name](esm, tensor([[0.3, 1.0]]), tensor([[True, False]]), 4).backward()
    assert esm.grad.tolist() == [[0.0, 0.0]]


def test_gains_count_down_from_k():
    """Prevents gains for more than k windows, or in ascending order."""
    assert top_gains(ETM, ALL_WINDOWS, 3).tolist() == [[3, 1, 2, 0, 0], [0, 3, 0, 2, 1]]


def test_ranknet_is_log_2_for_equal_scores():
    """Prevents a loss with swapped arguments, or without the mean."""
    assert ranknet(tensor([1.0, 2.0]), tensor([1.0, 2.0])).item() == pytest.approx(math.log(2))
    assert ranknet(tensor([3.0]), tensor([1.0])).item() == pytest.approx(math.log1p(math.exp(-2)))
