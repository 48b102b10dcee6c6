"""How far two rankings of the same lists differ."""

from hypothesis import given
from hypothesis import strategies as st

from cyclealign.judge.comparison import compare, diff_of, rank_changes
from cyclealign.records import Preference, Ranking

ORDERS = st.permutations(["a", "b", "c", "d"])


def ranked(order, prompt="p", undecided=()):
    pairs = [(x, y) for place, x in enumerate(order) for y in order[place + 1 :]]
    votes = [Preference(x, y, 0.5 if {x, y} in map(set, undecided) else 1.0, 2) for x, y in pairs]
    return Ranking(prompt, "judge", tuple(order), preferences=tuple(votes))


def test_a_reversed_order_turns_every_pair_and_the_same_order_none():
    """Prevents a judge that says the opposite from looking like one that agrees."""
    turned = compare({"p": ranked("abcd")}, {"p": ranked("dcba")})
    assert (turned.flips.value, turned.tau.value, turned.pairs) == (1.0, -1.0, 6)
    same = compare({"p": ranked("abcd")}, {"p": ranked("abcd")})
    assert (same.flips.value, same.tau.value, same.most_changed(3)) == (0.0, 1.0, [])


def test_a_pair_that_one_side_left_undecided_is_no_flip():
    """Prevents the reading of a tie from being counted as a change of mind."""
    found = diff_of(ranked("ab", undecided=["ab"]), ranked("ba"))
    assert (found.pairs, found.flipped, found.tau) == (0, 0, -1.0)
    assert compare({"p": ranked("ab", undecided=["ab"])}, {"p": ranked("ba")}).flips is None


def test_flips_are_a_mean_over_lists_and_lists_of_one_side_are_left_out():
    """Prevents one long list, or a list that was never read, from deciding the figure."""
    before = {name: ranked(order, name) for name, order in (("p", "abcd"), ("q", "ab"), ("r", "ab"))}
    after = {"p": ranked("abcd", "p"), "q": ranked("ba", "q")}
    found = compare(before, after)
    assert (found.flips.value, found.flips.count, found.pairs) == (0.5, 2, 7)
    assert [each.prompt_id for each in found.most_changed(3)] == ["q"]
    assert rank_changes(found.diffs[1]) == [("a", 1, 2), ("b", 2, 1)]


@given(ORDERS, ORDERS)
def test_of_whole_orders_tau_is_one_less_twice_the_flips(first, second):
    """Prevents the two figures from telling different stories."""
    found = diff_of(ranked(first), Ranking("p", "judge", tuple(second)))
    assert found.pairs == 6
    assert abs(found.tau - (1 - 2 * found.flipped / found.pairs)) < 1e-12
