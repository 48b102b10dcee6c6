"""Verdicts counted. Each test names the silent failure that it prevents."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.ranking.agreement import kendall_tau
from cyclealign.ranking.consensus import (
    Votes,
    alike,
    all_connected,
    central_order,
    consensus,
    preferences,
    steadiness,
    tally,
    untied,
)
from cyclealign.records import Preference

ITEMS = "abcdef"


@st.composite
def weak_orders(draw, items=ITEMS):
    """A verdict on at least two of the items, with ties."""
    chosen = draw(st.permutations([*items]))[: draw(st.integers(2, len(items)))]
    cuts = draw(st.lists(st.booleans(), min_size=len(chosen) - 1, max_size=len(chosen) - 1))
    tiers = [[chosen[0]]]
    for item, cut in zip(chosen[1:], cuts, strict=True):
        tiers.append([item]) if cut else tiers[-1].append(item)
    return tuple(tuple(sorted(tier)) for tier in tiers)


def plain(rankings):
    return tally(untied(each) for each in rankings)


@given(st.lists(st.permutations([*"abcde"]), min_size=1, max_size=4))
def test_consensus_is_a_kemeny_order(rankings):
    """Prevents an order from being called central that another one beats."""

    def distance(order):
        return -sum(kendall_tau(order, ranking) for ranking in rankings)

    best = min(distance(order) for order in permutations("abcde"))
    assert distance(consensus(rankings)) == pytest.approx(best)
    assert consensus(rankings) == consensus(rankings[::-1])


def contradicted(order, votes):
    """How many votes an order has against it, a tie counting half: straight from the definition."""
    against = 0.0
    for above, below in combinations(order, 2):
        if (above, below) in votes:
            against += votes[above, below].below + votes[above, below].level / 2
        elif (below, above) in votes:
            against += votes[below, above].above + votes[below, above].level / 2
    return against


@given(st.lists(weak_orders(), min_size=1, max_size=4))
def test_the_central_order_of_partial_verdicts_with_ties_is_the_best_of_all_orders(verdicts):
    """Prevents the search over sets from missing the optimum where brute force finds it."""
    votes = tally(verdicts)
    best = min(contradicted(order, votes) for order in permutations(ITEMS))
    assert contradicted(central_order(ITEMS, votes), votes) == best


@given(st.lists(st.permutations([*"abcdefghij"]), min_size=1, max_size=5))
def test_above_eight_items_one_that_beats_all_others_is_first(rankings):
    """Prevents the approximation for long lists from losing the clear winner."""
    votes = plain(rankings)
    winners = [
        x
        for x in "abcdefghij"
        if all(sum(r.index(x) < r.index(y) for r in rankings) * 2 > len(rankings) for y in "abcdefghij" if y != x)
    ]
    order = central_order("abcdefghij", votes)
    assert sorted(order) == [*"abcdefghij"]
    assert [order[0]] == (winners or [order[0]])


def test_consensus_of_a_ranking_and_its_reverse_is_still_one_order_for_all():
    """Prevents an undecided pair of verdicts from giving each run another label."""
    assert consensus(["abc", "cba"]) == consensus(["cba", "abc"])


def test_consensus_of_long_lists():
    assert consensus(["abcdefghij", "abcdefghij", "bacdefghij"]) == tuple("abcdefghij")


def test_rankings_of_different_items_have_no_consensus():
    with pytest.raises(ValueError, match="same distinct ids"):
        consensus(["abc", "abd"])


def test_the_tally_counts_ties_and_leaves_out_what_was_not_compared():
    votes = tally([(("a",), ("b", "c")), (("b",), ("a",))])
    assert votes == {("a", "b"): Votes(above=1, below=1), ("a", "c"): Votes(above=1), ("b", "c"): Votes(level=1)}


def test_an_undecided_pair_is_kept_as_such():
    """Prevents a pair on which the verdicts contradict each other from becoming a label."""
    votes = plain(["abc", "acb"])
    assert preferences("abc", votes) == (
        Preference("a", "b", 1.0, 2),
        Preference("a", "c", 1.0, 2),
        Preference("b", "c", 0.5, 2),
    )


@given(st.lists(weak_orders(), min_size=1, max_size=5))
def test_preferences_point_where_most_verdicts_point_whatever_the_order(verdicts):
    """Prevents a cycle among three answers from teaching one pair the wrong way round."""
    votes = tally(verdicts)
    for pair in preferences(central_order(ITEMS, votes), votes):
        ordered = [v for v in verdicts if {pair.better, pair.worse} <= {x for tier in v for x in tier}]
        place = [{x: n for n, tier in enumerate(v) for x in tier} for v in ordered]
        ahead = sum((p[pair.better] < p[pair.worse]) + (p[pair.better] == p[pair.worse]) / 2 for p in place)
        assert pair.verdicts == len(ordered)
        assert pair.share == pytest.approx(ahead / len(ordered))
        assert pair.share >= 0.5


@given(st.lists(st.permutations([*"abcd"]), min_size=1, max_size=4), st.integers(0, 2))
def test_steadiness_is_the_mean_tau_of_the_pairs_of_verdicts(rankings, missing):
    """Prevents a judge that failed half its calls, or contradicts itself, from looking steady."""
    wanted = len(rankings) + missing
    pairs = wanted * (wanted - 1) / 2
    total = sum(kendall_tau(a, b) for a, b in combinations(rankings, 2))
    assert steadiness(plain(rankings), wanted) == pytest.approx((1 + total / pairs) / 2 if pairs else 1)


def test_steadiness_golden_values():
    assert steadiness(plain(["abc", "abc"])) == 1
    assert steadiness(plain(["abc", "cba"])) == 0
    assert steadiness(plain(["abc"]), wanted=2) == 0.5


def test_the_same_tie_twice_is_held_alike_and_still_makes_no_pair_sure():
    """Prevents a judge that repeats its ties from looking fickle, or its ties from weighing like a label."""
    tied, split = (("a", "b"), ("c",)), (("a",), ("b",), ("c",))
    assert alike(tied, tied) == [1.0, 1.0, 1.0]
    assert alike(tied, split) == alike(split, tied) == [0.5, 1.0, 1.0]
    assert alike(split, split[::-1]) == [0.0, 0.0, 0.0]
    assert steadiness(tally([tied, tied])) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("verdicts", "connected"),
    [(["ab", "cd"], False), (["ab", "cd", "bd"], True), (["abcd"], True), (["ab", "bc"], False)],
)
def test_groups_that_never_met_have_no_common_order(verdicts, connected):
    """Prevents places that rest on no verdict."""
    assert all_connected("abcd", plain(verdicts)) is connected
