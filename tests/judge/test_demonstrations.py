"""Which demonstrations are shown, promoted and retired."""

import pytest

from cyclealign.judge.demonstrations import (
    GAIN,
    NEXT,
    accuracy_metrics,
    exclude_same_question,
    gain_summary,
    promotable,
    select,
    show_dynamic,
    similarity,
    to_retire,
)
from cyclealign.judge.demonstrations import STATIC as STATIC_ARM
from cyclealign.ranking.agreement import chance_of_lcs
from cyclealign.records import Agreement, Demonstration, Metric


def demonstration(question, number, chance=0.04, tau=1.0):
    return Demonstration.of(question, ("a", "b", "c"), "dynamic", tau, chance, number)


STATIC = [Demonstration.of(f"static {n}", ("x", "y"), "static") for n in range(3)]
POOL = [
    *STATIC,
    demonstration("how to bake bread", 1, chance=0.008),
    demonstration("how to fix a bicycle tyre", 2),
    demonstration("what is the tallest mountain", 3, tau=0.8),
]


def questions(shown):
    return [each.question for each in shown]


def test_static_ones_are_always_kept_and_come_first():
    """Prevents agreement collapse: a judge that is taught by its own agreements alone."""
    for by in ("newest", "most_agreed", "most_similar"):
        assert select(POOL, "q", 2, 2, by)[:2] == tuple(STATIC[:2])


def test_the_three_choices_differ():
    """Prevents a setting that is parsed and never read."""
    assert questions(select(POOL, "", 0, 1, "newest")) == ["what is the tallest mountain"]
    assert questions(select(POOL, "", 0, 1, "most_agreed")) == ["how to bake bread"]
    assert questions(select(POOL, "my bicycle has a flat tyre", 0, 1, "most_similar")) == ["how to fix a bicycle tyre"]


def test_the_choice_does_not_depend_on_the_order_of_the_pool():
    """Prevents two runs of one round from showing their judge different demonstrations."""
    for by in ("newest", "most_agreed", "most_similar"):
        assert select(POOL, "bread", 1, 3, by) == select([*STATIC, *reversed(POOL[3:])], "bread", 1, 3, by)


def agreement(prompt_id, length, answers, tau=1.0):
    return Agreement(prompt_id, tuple("abcdef"[:length]), length, answers, chance_of_lcs(answers, length), tau)


def test_only_agreements_that_beat_chance_are_promoted():
    """Prevents demonstrations made of luck: three of four agree in 42 % of random pairs of orders."""
    rows = [agreement("p3of4", 3, 4), agreement("p4of4", 4, 4), agreement("p2of2", 2, 2), agreement("p5of5", 5, 5)]
    assert [each.prompt_id for each in promotable(rows, 0.05)] == ["p5of5", "p4of4"]
    assert [each.prompt_id for each in promotable(rows, 1.0)] == ["p5of5", "p4of4", "p3of4"]


def test_the_oldest_are_retired_first():
    assert to_retire(POOL, promoted=1, max_kept=2) == [POOL[3].id, POOL[4].id]
    assert to_retire(POOL, promoted=1, max_kept=9) == []


def test_similarity_is_a_cosine():
    assert similarity("bake bread", "bread bake") > 0.999
    assert similarity("bake bread", "fix tyre") == 0
    assert similarity("", "") == 0


def test_the_gain_is_taken_list_by_list_over_lists_that_both_arms_judged():
    """Prevents a set from winning because the judge was silent on hard lists."""
    found = {each.name: each for each in accuracy_metrics({STATIC_ARM: [1.0, 0.0, 0.5], NEXT: [0.5, 0.5, None]})}
    assert (found[STATIC_ARM].value, found[NEXT].value) == (0.5, 0.5)
    assert (found[GAIN].value, found[GAIN].count) == (0.0, 2)
    assert gain_summary(found) == "accuracy 0.500 with, 0.500 without, 2 lists"
    assert GAIN not in {each.name for each in accuracy_metrics({STATIC_ARM: [1.0, None], NEXT: [None, 1.0]})}


@pytest.mark.parametrize(("least", "kept"), [(0.0, True), (0.01, False), (-1.0, True)])
def test_a_set_is_kept_if_it_gains_at_least_so_much(least, kept):
    """Prevents a set that changes nothing from being dropped over the rounding of a mean."""
    assert show_dynamic({GAIN: Metric(GAIN, -1e-17)}, least) is kept
    assert show_dynamic({}, least)


def test_a_question_is_recognised_behind_its_blanks_and_capitals():
    """Prevents a labelled list from being shown its own answer."""
    left = exclude_same_question(POOL, "How to  BAKE bread\n")
    assert set(POOL) - set(left) == {POOL[3]}
