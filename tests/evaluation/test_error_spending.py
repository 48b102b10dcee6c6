"""The level of each round's test: values by hand, and its promise over an experiment."""

import numpy as np
import pytest

from cyclealign.evaluation.error_spending import level
from cyclealign.evaluation.sequential_test import e_values


@pytest.mark.parametrize(
    ("rounds", "earlier", "expected"),
    [
        (1, [], 0.05),
        (1, [True, True, False], 0.05),
        (20, [], 0.0025),
        (20, [False, True, True], 0.0075),
        (20, [True] * 20, 0.0025),  # a new block
        (2, [True, True, True], 0.05),
    ],
)
def test_levels_by_hand(rounds, earlier, expected):
    """Prevents a limit that is spent twice, and one that is never given back."""
    assert level(0.05, rounds, earlier) == pytest.approx(expected)


def experiment(generator, rates, prompts):
    promoted = []
    for rate in rates:
        alpha = level(0.05, len(rates), promoted)
        drawn = generator.random(prompts)
        scores = np.select([drawn < rate - 0.15, drawn < rate + 0.15], [1.0, 0.5], 0.0)
        promoted.append(bool(e_values(scores, prompts, alpha) >= 1 / alpha))
    return np.array(promoted)


@pytest.mark.slow
def test_experiments_that_learn_nothing_seldom_promote_any_round():
    """Prevents an experiment of 20 rounds without a gain from being sure to promote one of them sooner or later."""
    generator = np.random.default_rng(1)
    found = [experiment(generator, [0.5] * 20, 60).any() for _ in range(400)]
    assert np.mean(found) <= 0.05


@pytest.mark.slow
def test_few_of_the_promoted_rounds_are_false_and_gains_are_noticed():
    """Prevents false promotions from hiding among true ones, whose number lowers what is needed; and a deaf test."""
    generator = np.random.default_rng(2)
    rates = [0.7, 0.5] * 10
    true = np.array(rates) > 0.5
    rows = [experiment(generator, rates, 60) for _ in range(200)]
    shares = [row[~true].sum() / max(1, row.sum()) for row in rows]
    assert np.mean(shares) <= 0.05
    assert np.mean([row[true].mean() for row in rows]) > 0.6
