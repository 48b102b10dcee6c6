"""Kendall's tau, LCS and chance agreement. Each test names the silent failure that it prevents."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.ranking.agreement import (
    agreement_target,
    chance_of_lcs,
    expected_lcs,
    kendall_tau,
    longest_common_subsequence,
    rank_by_score,
)

orders = st.integers(2, 6).flatmap(lambda n: st.tuples(*[st.permutations([*"abcdef"[:n]])] * 2))


def brute_lcs_length(first, second):
    def runs(order):
        return {tuple(x for x, keep in zip(order, bits, strict=True) if keep) for bits in masks}

    masks = list(product([0, 1], repeat=len(first)))
    return max(len(run) for run in runs(first) & runs(second))


def test_equal_scores_have_one_order():
    """Prevents a resumed run from training on another order than the first run stored."""
    assert rank_by_score({"b": 1.0, "a": 1.0, "c": 2.0}) == ("c", "a", "b")


def test_kendall_tau_golden_values():
    """Prevents a tau with the wrong sign or scale."""
    assert kendall_tau("abcd", "abcd") == 1
    assert kendall_tau("abcd", "dcba") == -1
    assert kendall_tau("abcd", "abdc") == pytest.approx(4 / 6)


def test_rankings_of_different_items_are_refused():
    """Prevents a verdict on other answers from being compared with a ranking of these."""
    with pytest.raises(ValueError, match="same distinct ids"):
        kendall_tau("abc", "abd")
    with pytest.raises(ValueError, match="same distinct ids"):
        longest_common_subsequence("aab", "aab")


@given(orders)
def test_lcs_is_a_longest_subsequence_of_both(pair):
    """Prevents an agreement that one of the two rankings does not contain."""
    first, second = pair
    agreed = longest_common_subsequence(first, second)
    for order in (first, second):
        assert [x for x in order if x in agreed] == list(agreed)
    assert len(agreed) == brute_lcs_length(first, second)


def test_lcs_ties_keep_the_judges_best():
    """Prevents the choice among equally long subsequences from depending on the search order."""
    assert longest_common_subsequence("abcd", "badc") == ("b", "d")
    assert longest_common_subsequence("ab", "ba") == ("b",)


@pytest.mark.parametrize(
    ("items", "at_least", "chance"),
    [(3, 3, 1 / 6), (4, 3, 10 / 24), (4, 4, 1 / 24), (5, 3, 78 / 120), (5, 5, 1 / 120), (2, 1, 1.0)],
)
def test_chance_of_lcs_golden_values(items, at_least, chance):
    """Prevents an agreement that is no better than chance from looking significant."""
    assert chance_of_lcs(items, at_least) == pytest.approx(chance)


@pytest.mark.parametrize(("items", "expected"), [(3, 2.0), (4, 2.417), (5, 2.792), (6, 3.140)])
def test_expected_lcs_golden_values(items, expected):
    """Prevents a wrong baseline for the agreement that a round reports."""
    assert expected_lcs(items) == pytest.approx(expected, abs=5e-4)


def test_chance_of_lcs_equals_enumeration():
    """Prevents errors in the hook length formula that the golden values do not cover."""
    lengths = [len(longest_common_subsequence("abcde", order)) for order in permutations("abcde")]
    for at_least in range(1, 6):
        assert chance_of_lcs(5, at_least) == pytest.approx(sum(n >= at_least for n in lengths) / 120)


@given(orders)
def test_agreement_target_keeps_anchors_and_the_judges_order_of_the_rest(pair):
    """Prevents a training target that drops an answer or moves one on which both rankings agree."""
    policy, judge = pair
    agreed = longest_common_subsequence(policy, judge)
    target = agreement_target(policy, judge, agreed)
    assert all(target[policy.index(anchor)] == anchor for anchor in agreed)
    assert [x for x in target if x not in agreed] == [x for x in judge if x not in agreed]
    assert sorted(target) == sorted(policy)
