"""Losses by mean log-probs, their SFT and KL terms: golden values worked out by hand, special cases, gradients."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.training.losses import kl_from_parent, mean_logprobs, plackett_luce, rrhf_ranking, sft
from cyclealign.training.objectives import OBJECTIVES, ListScores, LossSettings


def loss(objective, sums, lengths, pairs=None, **settings):
    """The whole loss of a list, by default with the objective's own parameters."""
    return OBJECTIVES[objective].list_terms(ListScores(sums, lengths, pairs), LossSettings(**settings)).loss


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
    assert loss("rrhf", sums, lengths).item() == pytest.approx(4.5)
    assert loss("rrhf", sums, lengths, sft_weight=0.25).item() == pytest.approx(1.5)


def test_pro_golden_value():
    """p = (0, ln 2): -log(1/3) for the first position, 0 for the last. SFT weight 0.05 * 1."""
    sums, lengths = tensor([0.0, math.log(2) * 3]), tensor([5.0, 3.0])
    assert loss("pro", sums, lengths, sft_weight=0.05).item() == pytest.approx(math.log(3))
    sums = tensor([-5.0, -3.0 + math.log(2) * 3])
    assert loss("pro", sums, lengths, sft_weight=0.05).item() == pytest.approx(math.log(3) + 0.05 * 5)


def test_pro_uses_the_papers_sft_weight():
    """0.05 (n - 1)^2: for four answers 0.45."""
    sums, lengths = tensor([-2.0, -2.0, -2.0, -2.0]), tensor([2.0, 2.0, 2.0, 2.0])
    assert loss("pro", sums, lengths).item() == pytest.approx(math.log(24) + 0.45 * 2, rel=1e-6)
    without = loss("pro", sums, lengths, sft_weight=0.0)
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
    value = plackett_luce(padded, mask_BN=mask)
    assert value.item() == pytest.approx(plackett_luce(row).item())
    (gradient,) = torch.autograd.grad(value, row)
    (expected,) = torch.autograd.grad(plackett_luce(row), row)
    assert torch.allclose(gradient, expected)


def test_extreme_scores_stay_finite():
    """Prevents the overflow of PRO's released code, which takes exp before log."""
    row = tensor([-500.0, 500.0], requires_grad=True)
    value = plackett_luce(row)
    value.backward()
    assert value.item() == pytest.approx(1000)
    assert torch.isfinite(row.grad).all()


@pytest.mark.parametrize("objective", ["rrhf", "pro"])
def test_an_order_that_the_policy_already_has_gives_little_gradient(objective):
    """Prevents a target of agreed answers alone: RRHF's ranking term then has no gradient, and PRO's is smaller."""
    agreed = tensor([-1.0, -4.0, -9.0], requires_grad=True)
    lengths = tensor([1.0, 2.0, 3.0])
    (gradient,) = torch.autograd.grad(loss(objective, agreed, lengths, sft_weight=0.0), agreed)
    contested = tensor([-9.0, -4.0, -1.0], requires_grad=True)
    (expected,) = torch.autograd.grad(loss(objective, contested, lengths.flip(0), sft_weight=0.0), contested)
    assert gradient.abs().sum() < expected.abs().sum()
    if objective == "rrhf":
        assert gradient.abs().sum() == 0


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
    assert loss("rrhf", sums, lengths, tie).item() == 3.0
    cycle = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert loss("rrhf", sums, lengths, cycle).item() == 4.0 + 2.0 + 5.0  # the first, and two pairs


def test_weights_of_one_are_the_papers_loss():
    """Prevents pair weights from changing the loss where all verdicts agree."""
    sums, lengths = torch.tensor([-4.0, -2.0, -9.0]), torch.tensor([2.0, 1.0, 3.0])
    assert loss("rrhf", sums, lengths, torch.ones(3, 3).triu(1)).item() == loss("rrhf", sums, lengths).item()


def test_the_sft_term_is_a_sum_over_tokens_or_a_mean():
    """Prevents a mean over the batch's tokens, or over those of another answer: -6 over 3 tokens, -4 over 2."""
    sums, lengths = tensor([-6.0, -4.0, -9.0]), tensor([3.0, 2.0, 1.0])
    best = tensor([True, True, False])
    assert sft(sums, lengths, best).item() == pytest.approx(5.0)
    assert sft(sums, lengths, best, "mean").item() == pytest.approx(2.0)
    assert loss("rrhf", sums, lengths, sft_weight=0.5, sft_reduction="mean").item() == pytest.approx(1.0)
    assert loss("pro", sums, lengths, sft_reduction="sum").item() - loss(
        "pro", sums, lengths, sft_reduction="mean"
    ).item() == pytest.approx(0.2 * (6 - 2))


def test_kl_golden_value():
    """d = ln 2 over 4 tokens: 2 - 1 - ln 2; d = -1: 1 / e - 1 + 1. One answer's length must not be another's."""
    policy, parent = tensor([-4.0 + 4 * math.log(2), -5.0]), tensor([-4.0, -3.0])
    kl = kl_from_parent(policy, parent, tensor([4.0, 2.0]))
    assert kl.tolist() == pytest.approx([1 - math.log(2), math.exp(-1)], rel=1e-6)


@given(scores, st.floats(-3, 3))
def test_kl_is_never_negative_and_flat_at_the_parent(row, shift):
    """Prevents an anchor that pulls away from the parent, or that is SFT on the parent's own answers."""
    lengths = torch.arange(1.0, len(row) + 1, dtype=torch.float64)
    assert (kl_from_parent(row + shift, row, lengths) >= 0).all()
    sums = row.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kl_from_parent(sums, row, lengths).sum(), sums)
    assert gradient.abs().max() == 0


def test_kl_of_tokens_drawn_from_the_parent_is_the_divergence():
    """Prevents an estimator of the reverse divergence, or of none: one-token answers, weighted by the parent."""
    parent, policy = tensor([0.5, 0.3, 0.2]), tensor([0.2, 0.2, 0.6])
    estimate = (parent * kl_from_parent(policy.log(), parent.log(), torch.ones(3))).sum()
    assert estimate.item() == pytest.approx((parent * (parent.log() - policy.log())).sum().item(), rel=1e-5)


def test_the_losses_load_neither_trl_nor_transformers():
    """Prevents distillation jobs, which share Plackett-Luce, from loading the trainers of the policy."""
    code = "import sys, cyclealign.training.objectives; sys.exit('trl' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
