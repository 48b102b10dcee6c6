"""Differences between two rankings of the same lists."""

from hypothesis import given
from hypothesis import strategies as st

from cyclealign.judge.comparison import compare, diff_of, rank_changes
from cyclealign.records import Preference, Ranking

ORDERS = st.permutations(["a", "b", "c", "d"])


def ranked(order, prompt="p", undecided=()):
    pairs = [(x, y) for place, x in enumerate(order) for y in order[place + 1 :]]
    votes = [Preference(x, y, 0.5 if {x, y} in map(set, undecided) else 1.0, 2) for x, y in pairs]
    return Ranking(prompt, "judge", tuple(order), preferences=tuple(votes))


def test_a_reversed_order_flips_all_pairs_and_the_same_order_none():
    """Prevents a judge that says the opposite from looking like one that agrees."""
    reversed_ = compare({"p": ranked("abcd")}, {"p": ranked("dcba")})
    assert (reversed_.flips.value, reversed_.tau.value, reversed_.pairs) == (1.0, -1.0, 6)
    same = compare({"p": ranked("abcd")}, {"p": ranked("abcd")})
    assert (same.flips.value, same.tau.value, same.most_changed(3)) == (0.0, 1.0, [])


def test_a_pair_that_one_side_left_undecided_does_not_flip():
    """Prevents the tie-breaking order from counting as a flip."""
    found = diff_of(ranked("ab", undecided=["ab"]), ranked("ba"))
    assert (found.pairs, found.flipped, found.tau) == (0, 0, -1.0)
    assert compare({"p": ranked("ab", undecided=["ab"])}, {"p": ranked("ba")}).flips is None


def test_flips_are_a_mean_over_lists_and_unpaired_lists_are_left_out():
    """Prevents one long list, or a list without a verdict, from dominating the metric."""
    before = {name: ranked(order, name) for name, order in (("p", "abcd"), ("q", "ab"), ("r", "ab"))}
    after = {"p": ranked("abcd", "p"), "q": ranked("ba", "q")}
    found = compare(before, after)
    assert (found.flips.value, found.flips.count, found.pairs) == (0.5, 2, 7)
    assert [each.prompt_id for each in found.most_changed(3)] == ["q"]
    assert rank_changes(found.diffs[1]) == [("a", 1, 2), ("b", 2, 1)]


@given(ORDERS, ORDERS)
def test_on_complete_orders_tau_is_one_minus_twice_the_flips(first, second):
    """Prevents the two metrics from contradicting each other."""
    found = diff_of(ranked(first), Ranking("p", "judge", tuple(second)))
    assert found.pairs == 6
    assert abs(found.tau - (1 - 2 * found.flipped / found.pairs)) < 1e-12
