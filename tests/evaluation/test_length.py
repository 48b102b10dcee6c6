"""Growth of answers and the win rate at equal length: values by hand, and a judge that likes long answers."""

import numpy as np
import pytest

from cyclealign.evaluation.length import length_controlled, length_growth
from cyclealign.records import Candidate


def answers(*lengths):
    return [[Candidate("c", "p", 0, "", (1,) * length, 0.0, "stop", None)] for length in lengths]


def test_growth_is_that_of_the_mean_length():
    """Prevents short answers, of which a few more tokens are a large share, from deciding about the limit."""
    found = length_growth(answers(10, 110), answers(20, 60))
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(-0.5)  # of the first prompt alone


def test_wins_by_length_are_not_wins_at_equal_length():
    """Prevents a policy that has only learnt to write more from being taken for a better one."""
    generator = np.random.default_rng(0)
    longer = generator.normal(30, 20, 400)
    scores = np.where(generator.random(400) < 0.5 + 0.3 * np.tanh(longer / 20), 1.0, 0.0)
    found = length_controlled(list(scores), list(longer))
    assert scores.mean() > 0.65
    assert found.low < 0.5 < found.high or abs(found.value - 0.5) < 0.1


def test_wins_that_length_does_not_explain_stay():
    """Prevents a real gain from being explained away."""
    generator = np.random.default_rng(1)
    found = length_controlled(list((generator.random(400) < 0.7).astype(float)), list(generator.normal(30, 20, 400)))
    assert found.low > 0.5


def test_without_differences_or_enough_prompts_there_is_no_estimate():
    """Prevents a slope through a handful of points."""
    assert length_controlled([1.0] * 20, [0.0] * 20) is None
    assert length_controlled([1.0] * 7, list(range(7))) is None
