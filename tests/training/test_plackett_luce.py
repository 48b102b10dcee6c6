"""The Plackett-Luce likelihood that PRO, PLD and CPRD share: exact cases, gradient, convexity, truncation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.training.losses import plackett_luce, plackett_luce_terms

numbers = st.floats(-6, 6)
lists = st.integers(2, 6).flatmap(
    lambda size: st.tuples(
        st.lists(numbers, min_size=size, max_size=size), st.lists(st.floats(0, 1), min_size=size, max_size=size)
    )
)


def double(values):
    return tensor(values, dtype=torch.float64)


@given(lists)
def test_terms_agree_with_the_formula_written_out(given_list):
    """Prevents terms at the wrong positions."""
    scores, _ = given_list
    expected = [math.log(sum(math.exp(score) for score in scores[k:])) - scores[k] for k in range(len(scores))]
    assert plackett_luce_terms(double(scores)).tolist() == pytest.approx(expected, abs=1e-9)


@given(lists)
def test_gradient_is_the_papers(given_list):
    """Prevents an error that still descends: dL/ds_i = sum_{k <= i} w_k exp(s_i) / sum_{l >= k} exp(s_l) - w_i."""
    scores, weights = given_list
    row = double(scores).requires_grad_()
    (gradient,) = torch.autograd.grad(plackett_luce(row, double(weights)), row)
    powers = [math.exp(score) for score in scores]
    expected = [
        sum(weights[k] * powers[i] / sum(powers[k:]) for k in range(i + 1)) - weights[i] for i in range(len(scores))
    ]
    assert gradient.tolist() == pytest.approx(expected, abs=1e-8)


@given(lists, st.lists(numbers, min_size=6, max_size=6))
def test_convex_along_every_line(given_list, direction):
    """Prevents local minima: second differences are never negative."""
    scores, weights = given_list
    along = double(direction[: len(scores)])
    before, here, after = (plackett_luce(double(scores) + step * along, double(weights)) for step in (-0.1, 0, 0.1))
    assert (before + after - 2 * here).item() >= -1e-9


@given(lists, st.floats(-50, 50))
def test_invariant_to_an_offset(given_list, offset):
    """Prevents a loss that depends on the scale's origin."""
    scores, weights = given_list
    moved = plackett_luce(double(scores) + offset, double(weights))
    assert moved.item() == pytest.approx(plackett_luce(double(scores), double(weights)).item(), abs=1e-8)


def test_cprd_golden_value():
    """Sum over valid terms, temperature 0.07, valid above 0.1: 13.404740680 over 4 terms.

    Prevents invalid items from being masked: they have no term, but stay in the denominators.
    """
    sims = double([[0.3, 0.5, 0.1, 0.2], [0.4, 0.1, 0.35, 0.2]]) / 0.07
    teacher = double([[0.9, 0.2, 0.6, 0.01], [0.02, 0.8, 0.01, 0.03]])
    order = teacher.argsort(dim=1, descending=True)
    ranked, valid = sims.gather(1, order), teacher.gather(1, order) > 0.1
    assert valid.sum() == 4
    assert plackett_luce(ranked, valid.double()).sum().item() == pytest.approx(13.404740680, abs=1e-8)
    assert plackett_luce(ranked, valid.double(), valid).sum().item() != pytest.approx(13.404740680, abs=0.1)


def test_batches_of_any_shape_and_padding():
    """Prevents padding from changing the likelihood of a batch."""
    rows = torch.randn(2, 3, 5, dtype=torch.float64)
    mask = tensor([True, True, True, False, False]).expand(2, 3, 5)
    found = plackett_luce(rows, mask_BN=mask)
    assert found.shape == (2, 3)
    assert torch.allclose(found, plackett_luce(rows[..., :3]))
