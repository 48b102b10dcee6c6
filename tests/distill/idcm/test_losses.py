"""Losses of IDCM: the golden value, what they must not depend on, what padding must not do."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.distill.idcm.losses import SELECTION_LOSSES, ndcg2, ranknet, top_gains

ESM = tensor([[0.2, -0.1, 0.5, 0, 0.3], [1, 0.2, 0.1, -0.3, 0.4]], dtype=torch.float64)
ETM = tensor([[3, 1, 2, -1, 0], [0.1, 2.2, -0.5, 1.7, 0.3]], dtype=torch.float64)
EVERY = torch.ones(2, 5, dtype=torch.bool)
different = st.lists(st.integers(-40, 40), min_size=2, max_size=7, unique=True)


def by_hand(esm: list[float], etm: list[float], k: int) -> float:
    """The formula with loops, as written."""
    order = sorted(range(len(esm)), key=lambda n: -esm[n])
    best = sorted(range(len(etm)), key=lambda n: -etm[n])
    gain = {window: max(0, k - place) for place, window in enumerate(best)}
    ideal = sum((2**each - 1) / math.log2(2 + n) for n, each in enumerate(sorted(gain.values(), reverse=True)))
    total = 0.0
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            if gain[a] > gain[b]:
                d = abs(i - j)
                apart = abs(1 / math.log2(1 + d) - 1 / math.log2(2 + d))
                weight = apart * abs(2 ** gain[a] - 2 ** gain[b]) / ideal
                total -= weight * math.log2(1 / (1 + math.exp(esm[b] - esm[a])))
    return total


def test_golden_value_of_the_selection_loss():
    """Prevents a loss that is not the paper's: 1.853036 is what the authors' implementation gives, k = 3, summed."""
    assert ndcg2(ESM, ETM, EVERY, 3).item() == pytest.approx(1.853036, abs=1e-6)


@given(different, different, st.integers(1, 6))
def test_selection_loss_is_the_formula(esm, etm, k):
    count = min(len(esm), len(etm))
    esm, etm = [each / 8 for each in esm[:count]], [float(each) for each in etm[:count]]
    rows = tensor([esm], dtype=torch.float64), tensor([etm], dtype=torch.float64)
    here = torch.ones(1, count, dtype=torch.bool)
    assert ndcg2(*rows, here, k).item() == pytest.approx(by_hand(esm, etm, k), rel=1e-9, abs=1e-12)


def test_only_the_order_of_the_teacher_counts():
    """Prevents raw teacher scores from leaking into a ranking loss."""
    assert ndcg2(ESM, torch.exp(ETM) * 7 - 3, EVERY, 3).item() == pytest.approx(ndcg2(ESM, ETM, EVERY, 3).item())


def test_loss_falls_when_the_order_is_right():
    """Prevents a sign slip that would teach ESM to choose the worst windows."""
    assert ndcg2(ETM, ETM, EVERY, 3) < ndcg2(torch.zeros_like(ETM), ETM, EVERY, 3) < ndcg2(-ETM, ETM, EVERY, 3)


@pytest.mark.parametrize("name", SELECTION_LOSSES)
@pytest.mark.parametrize("padding", [0.0, 9.0, -9.0])
def test_padding_changes_neither_value_nor_gradient(name, padding):
    """Prevents scores of exactly 0, or any other, from being taken for padding or for windows."""
    loss = SELECTION_LOSSES[name]
    esm = ESM.clone().requires_grad_()
    filler = torch.full((2, 3), padding, dtype=torch.float64)
    mask = torch.cat([EVERY, torch.zeros(2, 3, dtype=torch.bool)], 1)
    plain, padded = loss(esm, ETM, EVERY, 3), loss(torch.cat([esm, filler], 1), torch.cat([ETM, filler], 1), mask, 3)
    assert padded.item() == pytest.approx(plain.item())
    gradients = [torch.autograd.grad(each, esm)[0] for each in (plain, padded)]
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("name", SELECTION_LOSSES)
def test_a_document_of_one_window_teaches_nothing_and_breaks_nothing(name):
    """Prevents NaN from short documents, where there is nothing to choose."""
    esm = tensor([[0.3, 5.0]], requires_grad=True)
    SELECTION_LOSSES[name](esm, tensor([[0.3, 1.0]]), tensor([[True, False]]), 4).backward()
    assert esm.grad.tolist() == [[0.0, 0.0]]


def test_gains_count_down_from_k():
    assert top_gains(ETM, EVERY, 3).tolist() == [[3, 1, 2, 0, 0], [0, 3, 0, 2, 1]]


def test_ranknet_is_log_two_where_nothing_is_known():
    assert ranknet(tensor([1.0, 2.0]), tensor([1.0, 2.0])).item() == pytest.approx(math.log(2))
    assert ranknet(tensor([3.0]), tensor([1.0])).item() == pytest.approx(math.log1p(math.exp(-2)))
