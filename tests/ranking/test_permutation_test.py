"""Agreement beyond chance: p-values by hand, and the promises over a list and over a round."""

from itertools import combinations

import numpy as np
import pytest

from cyclealign.ranking.agreement import kendall_tau
from cyclealign.ranking.permutation_test import (
    benjamini_hochberg,
    is_exact,
    null_statistics,
    p_value,
    round_p_value,
    smallest_p,
)


def certain(judge):
    return dict.fromkeys(combinations(judge, 2), 1.0)


def p_of(policy, preferences):
    return p_value(null_statistics(sorted(policy), preferences, policy), is_exact(len(policy)))


@pytest.mark.parametrize(
    ("policy", "judge", "expected"),
    [
        ("ab", "ab", 1 / 2),
        ("abc", "abc", 1 / 6),
        ("abcd", "abcd", 1 / 24),
        ("bacd", "abcd", 4 / 24),  # one inversion: 1 + 3 orders have at most one
        ("badc", "abcd", 9 / 24),  # two inversions: 1 + 3 + 5
        ("dcba", "abcd", 1.0),
        ("abcde", "abcde", 1 / 120),
        ("bacde", "abcde", 5 / 120),
    ],
)
def test_p_values_by_hand(policy, judge, expected):
    """Prevents a p-value that is not the share of the orders that agree as well: by numbers of inversions."""
    assert p_of(policy, certain(judge)) == pytest.approx(expected)


def test_ties_and_doubt_count_for_less():
    """Prevents an order that the judge never gave (ties, contradictions) from counting as agreement."""
    undecided = dict.fromkeys(certain("abcd"), 0.5)
    assert p_of("abcd", undecided) == 1.0
    one_pair = {**undecided, ("a", "b"): 1.0}
    assert p_of("abcd", one_pair) == pytest.approx(1 / 2)
    unsure = {**certain("abcd"), ("a", "b"): 0.5}
    assert p_of("abcd", unsure) == pytest.approx(2 / 24)


def test_the_statistic_is_tau_for_a_steady_judge():
    """Prevents the test from measuring something else than the tau that is shown."""
    statistics = null_statistics("abcde", certain("abcde"), "bdace")
    assert statistics[0] / 10 == pytest.approx(kendall_tau("bdace", "abcde"))


def test_long_lists_are_sampled_and_never_certain():
    """Prevents a p of zero, and one that changes from run to run."""
    long = "abcdefghij"
    assert p_of(long, certain(long)) == smallest_p(10) == pytest.approx(1 / 10_000)


def test_benjamini_hochberg_by_hand():
    """Prevents a wrong step-up: 0.04 passes with 0.03, since 0.04 <= 0.05 * 4 / 4, which 0.03 alone would not."""
    assert benjamini_hochberg([0.04, 0.01, 0.03, 0.02], 0.05) == [True] * 4
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.9], 0.05) == [True, False, False, False]
    assert benjamini_hochberg([0.5, 0.9], 0.05) == [False, False]
    assert benjamini_hochberg([], 0.05) == []


def drawn(generator, related, lists, answers):
    rows = []
    for place in range(lists):
        judge = [str(each) for each in generator.permutation(answers)]
        latent = -np.arange(answers) + generator.normal(0, 0.5, answers)
        policy = [judge[each] for each in np.argsort(-latent)]
        policy = policy if place < related else list(generator.permutation(judge))
        rows.append(null_statistics(judge, certain(judge), policy))
    return rows


@pytest.mark.slow
def test_the_share_of_false_promotions_is_controlled():
    """Prevents demonstrations that agree by chance from making up more of the promoted ones than was asked for."""
    generator, shares, found = np.random.default_rng(4), [], []
    for _ in range(60):
        rows = drawn(generator, 20, 40, 5)
        passed = benjamini_hochberg([p_value(row, True) for row in rows], 0.2)
        shares.append(sum(passed[20:]) / max(1, sum(passed)))
        found.append(sum(passed[:20]))
    assert np.mean(shares) <= 0.2
    assert np.mean(found) > 10


@pytest.mark.slow
@pytest.mark.parametrize("answers", [2, 4])
def test_a_round_of_unrelated_rankings_seldom_beats_chance(answers):
    """Prevents a round from promoting because it has many lists; lists of two count for the round as well."""
    generator = np.random.default_rng(5)
    values = np.array([round_p_value(drawn(generator, 0, 20, answers)) for _ in range(200)])
    assert np.mean(values <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert round_p_value(drawn(generator, 20, 20, answers)) < 0.01
