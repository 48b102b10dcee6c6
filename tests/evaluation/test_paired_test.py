"""The paired test by sign flips: values by hand, its promise over the rounds, and its power."""

import numpy as np
import pytest

from cyclealign.evaluation.paired_test import sign_flip_p, spent


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([], 1.0), ([0.0, 0.0], 1.0), ([1, 1, 1], 1 / 8), ([1, 1, 1, 0], 1 / 8), ([3, -1], 2 / 4), ([-1, -1], 1.0)],
)
def test_values_by_hand(differences, expected):
    """Prevents a p-value that is not the share of the sign patterns that reach the sum."""
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_many_differences_are_sampled_and_never_certain():
    """Prevents a p of zero."""
    assert sign_flip_p([1.0] * 40) == pytest.approx(1 / 10_000)


def test_the_levels_of_all_rounds_sum_to_alpha():
    """Prevents an error that grows with the number of rounds."""
    assert sum(spent(0.05, number) for number in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)
    assert spent(0.05, 1) == pytest.approx(0.025)


@pytest.mark.slow
def test_demonstrations_without_a_gain_are_seldom_shown_in_any_of_ten_rounds():
    """Prevents ten looks at noise from finding a gain, and a test that finds none where there is one."""
    generator = np.random.default_rng(6)

    def shown(mean):
        return any(
            sign_flip_p(generator.normal(mean, 0.2, 12).round(2)) <= spent(0.05, number) for number in range(1, 11)
        )

    assert np.mean([shown(0.0) for _ in range(200)]) <= 0.05
    assert np.mean([shown(0.3) for _ in range(50)]) > 0.9
