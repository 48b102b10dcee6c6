"""Ranking losses: golden values worked out by hand, special cases, gradients; and the registry of objectives."""

import math
import subprocess
import sys
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.config.training import ListwiseObjective, PairwiseObjective
from cyclealign.training.losses import (
    OBJECTIVES,
    dpo_smoothing,
    mean_logprobs,
    plackett_luce,
    pro,
    rrhf,
    rrhf_ranking,
)

scores = st.lists(st.floats(-8, 0), min_size=2, max_size=6).map(lambda row: tensor(row, dtype=torch.float64))


def test_each_answer_is_divided_by_its_own_length():
    """Prevents RRHF's well-known mistake: one padded length for all, which can reverse the order.

    Sums -4.92, -11.9, -19.35 over 2, 5 and 9 tokens: by own length -2.46 < -2.38 < -2.15, by one length the reverse.
    """
    sums, lengths = tensor([-4.92, -11.90, -19.35]), tensor([2.0, 5.0, 9.0])
    assert mean_logprobs(sums, lengths).tolist() == pytest.approx([-2.46, -2.38, -2.15])
    assert mean_logprobs(sums, lengths).argsort().tolist() == [0, 1, 2]
    assert (sums / 12).argsort().tolist() == [2, 1, 0]


def test_rrhf_golden_value():
    """p = (-1, -0.5, -2): pair (1,2) is wrong by 0.5, the others are right; SFT = 4. Loss 0.5 + 4 = 4.5."""
    sums, lengths = tensor([-4.0, -1.0, -6.0]), tensor([4.0, 2.0, 3.0])
    assert rrhf_ranking(sums / lengths).item() == pytest.approx(0.5)
    assert OBJECTIVES["rrhf"].list_loss(sums, lengths).item() == pytest.approx(4.5)
    assert rrhf(sums, lengths, sft_weight=0.25).item() == pytest.approx(1.5)


def test_pro_golden_value():
    """p = (0, ln 2): -log(1/3) for the first position, 0 for the last. SFT weight 0.05 * 1."""
    sums, lengths = tensor([0.0, math.log(2) * 3]), tensor([5.0, 3.0])
    assert pro(sums, lengths, sft_weight=0.05).item() == pytest.approx(math.log(3))
    sums = tensor([-5.0, -3.0 + math.log(2) * 3])
    assert pro(sums, lengths, sft_weight=0.05).item() == pytest.approx(math.log(3) + 0.05 * 5)


def test_pro_uses_the_papers_sft_weight():
    """0.05 (n - 1)^2: for four answers 0.45."""
    sums, lengths = tensor([-2.0, -2.0, -2.0, -2.0]), tensor([2.0, 2.0, 2.0, 2.0])
    assert OBJECTIVES["pro"].list_loss(sums, lengths).item() == pytest.approx(math.log(24) + 0.45 * 2, rel=1e-6)
    without = OBJECTIVES["pro"].list_loss(sums, lengths, sft_weight=0.0)
    assert without.item() == pytest.approx(math.log(24), rel=1e-6)


def test_plackett_luce_of_equal_scores_is_log_factorial():
    """Prevents a term that is missing or counted twice."""
    assert plackett_luce(torch.zeros(2, 5)).tolist() == pytest.approx([math.log(120)] * 2, rel=1e-6)


@given(scores)
def test_plackett_luce_is_invariant_to_an_offset(row):
    """Prevents a loss that depends on the scale's origin."""
    assert plackett_luce(row + 3.7).item() == pytest.approx(plackett_luce(row).item(), abs=1e-9)


@given(scores)
def test_plackett_luce_is_a_probability_over_orders(row):
    """Prevents a loss that is not a log-likelihood: the probabilities of all orders must sum to one."""
    from itertools import permutations

    total = sum(math.exp(-plackett_luce(row[list(order)]).item()) for order in permutations(range(len(row))))
    assert total == pytest.approx(1, abs=1e-9)


def test_first_weight_alone_is_cross_entropy():
    """Prevents weights at the wrong positions."""
    row = tensor([[0.3, -1.0, 2.0]])
    weights = tensor([[1.0, 0.0, 0.0]])
    expected = torch.nn.functional.cross_entropy(row, tensor([0]))
    assert plackett_luce(row, weights).item() == pytest.approx(expected.item())


def test_padding_changes_neither_value_nor_gradient():
    """Prevents NaN gradients, and gradients from padding."""
    row = tensor([0.5, -1.0, 0.2], requires_grad=True)
    padded = torch.cat([row, tensor([9.0, 9.0])])
    mask = tensor([True, True, True, False, False])
    loss = plackett_luce(padded, mask_BN=mask)
    assert loss.item() == pytest.approx(plackett_luce(row).item())
    (gradient,) = torch.autograd.grad(loss, row)
    (expected,) = torch.autograd.grad(plackett_luce(row), row)
    assert torch.allclose(gradient, expected)


def test_extreme_scores_stay_finite():
    """Prevents the overflow of PRO's released code, which takes exp before log."""
    row = tensor([-500.0, 500.0], requires_grad=True)
    loss = plackett_luce(row)
    loss.backward()
    assert loss.item() == pytest.approx(1000)
    assert torch.isfinite(row.grad).all()


@pytest.mark.parametrize("loss", [rrhf, pro])
def test_an_order_that_the_policy_already_has_gives_little_gradient(loss):
    """Prevents a target of agreed answers alone: RRHF's ranking term then has no gradient, and PRO's is smaller."""
    agreed = tensor([-1.0, -4.0, -9.0], requires_grad=True)
    lengths = tensor([1.0, 2.0, 3.0])
    (gradient,) = torch.autograd.grad(loss(agreed, lengths, sft_weight=0.0), agreed)
    contested = tensor([-9.0, -4.0, -1.0], requires_grad=True)
    (expected,) = torch.autograd.grad(loss(contested, lengths.flip(0), sft_weight=0.0), contested)
    assert gradient.abs().sum() < expected.abs().sum()
    if loss is rrhf:
        assert gradient.abs().sum() == 0


def test_the_gradient_raises_the_better_answer():
    """Prevents a wrong sign, which would teach the reverse of every ranking."""
    for loss in (rrhf, pro):
        sums = tensor([-6.0, -2.0], requires_grad=True)
        loss(sums, tensor([2.0, 2.0]), sft_weight=0.0).backward()
        assert sums.grad[0] < 0 < sums.grad[1]


def test_an_even_pair_teaches_nothing_and_a_cycle_keeps_its_directions():
    """Prevents ties from being learnt as preferences, and a cycle from losing a direction."""
    p = torch.tensor([-3.0, -1.0, -2.0], requires_grad=True)
    weights = torch.zeros(3, 3)
    weights[0, 2] = 0.5
    (gradient,) = torch.autograd.grad(rrhf_ranking(p, weights), p)
    assert gradient.tolist() == [-0.5, 0.0, 0.5]
    weights[0, 2], weights[2, 0] = 0.0, 1.0
    assert rrhf_ranking(p, weights).item() == 0  # -2 is already above -3


def test_the_sft_term_of_a_tie_at_the_top_is_shared():
    """Prevents the answer whose id comes first from being taught as the best."""
    sums, lengths = torch.tensor([-4.0, -2.0, -9.0]), torch.tensor([1.0, 1.0, 1.0])
    tie = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert rrhf(sums, lengths, 1.0, tie).item() == 3.0
    cycle = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert rrhf(sums, lengths, 1.0, cycle).item() == 4.0 + 2.0 + 5.0  # the first, and two pairs


def test_weights_of_one_are_the_papers_loss():
    """Prevents pair weights from changing the loss where all verdicts agree."""
    sums, lengths = torch.tensor([-4.0, -2.0, -9.0]), torch.tensor([2.0, 1.0, 3.0])
    assert rrhf(sums, lengths, 1.0, torch.ones(3, 3).triu(1)).item() == rrhf(sums, lengths, 1.0).item()


def test_smoothing_lowers_the_margin_of_uncertain_pairs_alone():
    """Prevents label smoothing with the wrong sign, or on pairs on which all verdicts agree."""
    chosen, rejected = tensor([-1.0, -2.0], requires_grad=True), tensor([-3.0, -3.0])
    term = dpo_smoothing(chosen, rejected, tensor([0.25, 0.0]), beta=0.1)
    assert term.item() == pytest.approx(0.1 * 0.25 * 2.0 / 2)
    (gradient,) = torch.autograd.grad(term, chosen)
    assert gradient.tolist() == pytest.approx([0.1 * 0.25 / 2, 0.0])


def test_the_config_names_every_objective_under_its_trainer():
    """Prevents an objective that no config can choose, or that gets another trainer's defaults."""
    names = {"listwise": get_args(ListwiseObjective), "pairwise": get_args(PairwiseObjective)}
    registered = [(name, objective.name, objective.trainer) for name, objective in OBJECTIVES.items()]
    assert registered == [(name, name, trainer) for trainer in names for name in names[trainer]]


def test_the_losses_load_neither_trl_nor_transformers():
    """Prevents distillation jobs, which share Plackett-Luce, from loading the trainers of the policy."""
    code = "import sys, cyclealign.training.losses; sys.exit('trl' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
