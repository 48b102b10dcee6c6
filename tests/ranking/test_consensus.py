"""Vote counts, Kemeny order and steadiness. Each test names the silent failure that it prevents."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.ranking.agreement import kendall_tau
from cyclealign.ranking.consensus import (
    Votes,
    count_votes,
    is_connected,
    kemeny_order,
    pairwise_agreement,
    preferences,
    steadiness,
    strict_tiers,
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


def strict_votes(rankings):
    return count_votes(strict_tiers(ranking) for ranking in rankings)


def consensus(rankings):
    return kemeny_order(rankings[0], strict_votes(rankings))


@given(st.lists(st.permutations([*"abcde"]), min_size=1, max_size=4))
def test_kemeny_order_of_strict_rankings_has_minimum_kendall_distance(rankings):
    """Prevents an order that contradicts more verdicts than another one."""

    def distance(order):
        return -sum(kendall_tau(order, ranking) for ranking in rankings)

    best = min(distance(order) for order in permutations("abcde"))
    assert distance(consensus(rankings)) == pytest.approx(best)
    assert consensus(rankings) == consensus(rankings[::-1])


def contradicted(order, votes):
    """The number of votes that contradict an order, a tie counting half: straight from the definition."""
    against = 0.0
    for above, below in combinations(order, 2):
        if (above, below) in votes:
            against += votes[above, below].below + votes[above, below].level / 2
        elif (below, above) in votes:
            against += votes[below, above].above + votes[below, above].level / 2
    return against


@given(st.lists(weak_orders(), min_size=1, max_size=4))
def test_kemeny_order_of_partial_verdicts_with_ties_is_the_best_of_all_orders(verdicts):
    """Prevents the search over sets from missing the optimum where brute force finds it."""
    votes = count_votes(verdicts)
    best = min(contradicted(order, votes) for order in permutations(ITEMS))
    assert contradicted(kemeny_order(ITEMS, votes), votes) == best


@given(st.lists(st.permutations([*"abcdefghij"]), min_size=1, max_size=5))
def test_above_eight_items_a_condorcet_winner_is_first(rankings):
    """Prevents the approximation for long lists from losing the item that beats all others."""
    votes = strict_votes(rankings)
    winners = [
        x
        for x in "abcdefghij"
        if all(sum(r.index(x) < r.index(y) for r in rankings) * 2 > len(rankings) for y in "abcdefghij" if y != x)
    ]
    order = kemeny_order("abcdefghij", votes)
    assert sorted(order) == [*"abcdefghij"]
    assert [order[0]] == (winners or [order[0]])


@given(st.lists(st.permutations([*"abcdefghij"]), min_size=1, max_size=5))
def test_above_eight_items_the_smith_set_is_on_top(rankings):
    """Prevents the approximation from ranking a loser above a cycle whose members all beat it."""
    items, order = "abcdefghij", consensus(rankings)

    def beats(x, y):
        return sum(ranking.index(x) < ranking.index(y) for ranking in rankings) * 2 > len(rankings)

    for size in range(1, len(items)):
        dominant = [x for x in items if sum(beats(x, y) for y in items) >= len(items) - size]
        if len(dominant) == size and all(beats(x, y) for x in dominant for y in items if y not in dominant):
            assert set(order[:size]) == set(dominant)


def test_consensus_of_a_ranking_and_its_reverse_is_deterministic():
    """Prevents an even pair of verdicts from giving each run another label."""
    assert consensus(["abc", "cba"]) == consensus(["cba", "abc"])


def test_consensus_of_long_lists():
    """Prevents local Kemenization from leaving a minority's swap in place."""
    assert consensus(["abcdefghij", "abcdefghij", "bacdefghij"]) == tuple("abcdefghij")


def test_votes_count_ties_and_leave_out_pairs_that_were_not_compared():
    """Prevents a pair that no verdict compares from looking like a tie."""
    votes = count_votes([(("a",), ("b", "c")), (("b",), ("a",))])
    assert votes == {("a", "b"): Votes(above=1, below=1), ("a", "c"): Votes(above=1), ("b", "c"): Votes(level=1)}


def test_an_even_pair_keeps_the_share_of_one_half():
    """Prevents a pair on which the verdicts contradict each other from becoming a label."""
    votes = strict_votes(["abc", "acb"])
    assert preferences("abc", votes) == (
        Preference("a", "b", 1.0, 2),
        Preference("a", "c", 1.0, 2),
        Preference("b", "c", 0.5, 2),
    )


@given(st.lists(weak_orders(), min_size=1, max_size=5))
def test_preferences_follow_the_majority_whatever_the_order(verdicts):
    """Prevents a cycle among three answers from teaching one pair the wrong way round."""
    votes = count_votes(verdicts)
    for pair in preferences(kemeny_order(ITEMS, votes), votes):
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
    assert steadiness(strict_votes(rankings), wanted) == pytest.approx((1 + total / pairs) / 2 if pairs else 1)


def test_steadiness_golden_values():
    """Prevents a scale other than [0, 1], and missing verdicts from being ignored."""
    assert steadiness(strict_votes(["abc", "abc"])) == 1
    assert steadiness(strict_votes(["abc", "cba"])) == 0
    assert steadiness(strict_votes(["abc"]), wanted=2) == 0.5


def test_a_repeated_tie_counts_as_agreement_but_not_as_steadiness():
    """Prevents a judge that repeats its ties from looking inconsistent, or its ties from weighing like a label."""
    tied, split = (("a", "b"), ("c",)), (("a",), ("b",), ("c",))
    assert pairwise_agreement(tied, tied) == [1.0, 1.0, 1.0]
    assert pairwise_agreement(tied, split) == pairwise_agreement(split, tied) == [0.5, 1.0, 1.0]
    assert pairwise_agreement(split, split[::-1]) == [0.0, 0.0, 0.0]
    assert steadiness(count_votes([tied, tied])) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("verdicts", "connected"),
    [(["ab", "cd"], False), (["ab", "cd", "bd"], True), (["abcd"], True), (["ab", "bc"], False)],
)
def test_groups_that_were_never_compared_are_not_connected(verdicts, connected):
    """Prevents positions that rest on no verdict."""
    assert is_connected("abcd", strict_votes(verdicts)) is connected
