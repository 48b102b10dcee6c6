"""SimPO, DPO, IPO and LiPO: golden values by hand and by TRL, ties, soft pairs, gradients."""

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.training.preference_losses import dpo, gains, ipo, lipo, simpo

ORDER = torch.ones(3, 3).triu(1)
rewards = st.lists(st.floats(-8, 8), min_size=3, max_size=3).map(lambda row: tensor(row, dtype=torch.float64))


def softplus(value):
    """-log sigmoid(-value)."""
    return math.log1p(math.exp(value))


def test_simpo_golden_value():
    """p = (-1, -2), beta 2, gamma 0.5: m = 1.5; a share of 0.75 mixes both directions."""
    p = tensor([-1.0, -2.0])
    assert simpo(p, tensor([[0.0, 1.0], [0.0, 0.0]]), 2.0, 0.5).item() == pytest.approx(softplus(-1.5))
    half = simpo(p, tensor([[0.0, 0.5], [0.0, 0.0]]), 2.0, 0.5).item()
    assert half == pytest.approx(0.75 * softplus(-1.5) + 0.25 * softplus(1.5))


def test_simpo_is_that_of_trl():
    """Prevents a margin on the other side of beta, or smoothing of the other term; TRL smooths all pairs alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the trainer may move
        from trl.experimental.cpo import CPOTrainer
    generator = torch.Generator().manual_seed(2)
    p = -torch.rand(12, 2, generator=generator) * 4
    device = SimpleNamespace(device="cpu")
    settings = {"alpha": 0.0, "loss_type": "simpo", "simpo_gamma": 0.7, "beta": 2.5, "accelerator": device}
    for share in (1.0, 0.8):
        trainer = SimpleNamespace(**settings, label_smoothing=1 - share)
        expected, _, _ = CPOTrainer.cpo_loss(trainer, p[:, 0], p[:, 1])
        weights = tensor([[0.0, 2 * share - 1], [0.0, 0.0]])
        assert torch.stack([simpo(row, weights, 2.5, 0.7) for row in p]).tolist() == pytest.approx(
            expected.tolist(), abs=1e-6
        )


def test_simpo_is_a_mean_over_decided_pairs():
    """Prevents lists of many answers from outweighing others, and undecided pairs from being learnt."""
    p = tensor([-1.0, -2.0, -4.0], requires_grad=True)
    value = simpo(p, ORDER, 1.0, 0.0)
    assert value.item() == pytest.approx((softplus(-1) + softplus(-2) + softplus(-3)) / 3)
    weights = tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    (gradient,) = torch.autograd.grad(simpo(p, weights, 1.0, 0.0), p)
    assert gradient[2] == 0


def test_dpo_and_ipo_golden_values():
    """DPO at a margin of 0: log 2. IPO, beta 0.5: (0.25 - 1)^2, and 0.9 (0.25 - 1)^2 + 0.1 (0.25 + 1)^2."""
    assert dpo(tensor([0.0]), tensor([0.2]), 0.3).item() == pytest.approx(math.log(2))
    assert dpo(tensor([2.0]), tensor([0.0]), 0.5).item() == pytest.approx(softplus(-1))
    assert ipo(tensor([0.25, 0.25]), tensor([0.0, 0.1]), 0.5).tolist() == pytest.approx([0.5625, 0.6625])


@given(st.floats(-5, 5), st.floats(0, 0.49), st.floats(0.05, 2))
def test_smoothed_ipo_has_a_lower_target(margin, smoothing, beta):
    """Prevents uncertain pairs from being pushed as far as certain ones: the minimum is at (1 - 2 e) / (2 beta)."""
    h = tensor([margin], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(ipo(h, tensor([smoothing], dtype=torch.float64), beta).sum(), h)
    assert gradient.item() == pytest.approx(2 * (margin - (1 - 2 * smoothing) / (2 * beta)), abs=1e-9)


def test_smoothing_lowers_the_gradient_of_uncertain_pairs_alone():
    """Prevents label smoothing with the wrong sign, or on pairs on which all verdicts agree."""
    margins = tensor([0.0, 0.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(dpo(margins, tensor([0.25, 0.0]), 0.1).sum(), margins)
    assert gradient.tolist() == pytest.approx([-0.1 * (0.5 - 0.25), -0.1 * 0.5])


def test_gains_of_an_order_a_tie_and_shares():
    """A strict order falls evenly from 1 to 0; a tie has equal gains; a narrow win is a small step."""
    assert gains(ORDER).tolist() == pytest.approx([1, 0.5, 0])
    assert gains(tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])).tolist() == pytest.approx([0.75, 0.75, 0])
    assert gains(tensor([[0.0, 0.2], [0.0, 0.0]])).tolist() == pytest.approx([0.6, 0.4])


def test_lipo_golden_value():
    """s = (0, 2, 1): ranks 3, 1, 2. Gains 2^(1, 0.5, 0), discounts 1 / log(1 + rank)."""
    gain, discount = [2, math.sqrt(2), 1], [1 / math.log(4), 1 / math.log(2), 1 / math.log(3)]
    s = [0.0, 2.0, 1.0]
    expected = sum(
        abs(gain[i] - gain[j]) * abs(discount[i] - discount[j]) * softplus(s[j] - s[i])
        for i, j in ((0, 1), (0, 2), (1, 2))
    )
    assert lipo(tensor(s), ORDER).item() == pytest.approx(expected, rel=1e-6)


def test_lipo_learns_at_the_parent():
    """Prevents a loss of 0 in the first step: at the parent all rewards are equal, and equal ranks have no weight."""
    s = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(lipo(s, ORDER), s)
    assert gradient[0] < -0.1
    assert gradient[2] > 0.1


@given(rewards, st.floats(-3, 3))
def test_lipo_is_invariant_to_an_offset(row, shift):
    """Prevents a loss that depends on the rewards' origin, which the judge's order does not set."""
    rounded = row.round(decimals=3)  # an offset must not merge two rewards
    moved = lipo(rounded + round(shift, 3), ORDER.double()).item()
    if len(set(rounded.tolist())) == 3:
        assert moved == pytest.approx(lipo(rounded, ORDER.double()).item(), abs=1e-6)


@pytest.mark.parametrize("loss", [lipo, lambda s, w: simpo(s, w, 2.0, 1.0)], ids=["lipo", "simpo"])
def test_tied_answers_may_change_places(loss):
    """Prevents the answer whose id comes first from being taught as the better one of a tie."""
    tie = tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    s = tensor([-1.0, -3.0, -2.0])
    assert loss(s, tie).item() == pytest.approx(loss(s[[1, 0, 2]], tie).item())


@pytest.mark.parametrize(
    "loss",
    [
        lambda s: lipo(s, ORDER),
        lambda s: simpo(s, ORDER, 2.0, 1.0),
        lambda s: dpo(s, tensor([0.0, 0.1, 0.4]), 0.1).sum(),
        lambda s: ipo(s, tensor([0.0, 0.1, 0.4]), 0.1).sum(),
    ],
    ids=["lipo", "simpo", "dpo", "ipo"],
)
def test_extreme_scores_stay_finite(loss):
    """Prevents NaN in the weights after one answer of probability almost 0."""
    s = tensor([-3000.0, 2000.0, -0.5], requires_grad=True)
    value = loss(s)
    value.backward()
    assert math.isfinite(value.item())
    assert torch.isfinite(s.grad).all()
