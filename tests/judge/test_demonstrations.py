"""Demonstrations: selection, promotion, retirement and gain."""

import pytest

from cyclealign.judge.demonstrations import (
    GAIN,
    GAIN_P,
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


def test_static_demonstrations_are_always_shown_first():
    """Prevents collapse: a judge whose demonstrations are only its own agreements with the policy."""
    for by in ("newest", "most_agreed", "most_similar"):
        assert select(POOL, "q", 2, 2, by)[:2] == tuple(STATIC[:2])


def test_the_three_selections_differ():
    """Prevents a setting that is parsed but never used."""
    assert questions(select(POOL, "", 0, 1, "newest")) == ["what is the tallest mountain"]
    assert questions(select(POOL, "", 0, 1, "most_agreed")) == ["how to bake bread"]
    assert questions(select(POOL, "my bicycle has a flat tyre", 0, 1, "most_similar")) == ["how to fix a bicycle tyre"]


def test_the_selection_does_not_depend_on_the_order_of_the_pool():
    """Prevents two runs of one round from showing different demonstrations."""
    for by in ("newest", "most_agreed", "most_similar"):
        assert select(POOL, "bread", 1, 3, by) == select([*STATIC, *reversed(POOL[3:])], "bread", 1, 3, by)


def agreement(prompt_id, length, answers, tau=1.0):
    return Agreement(prompt_id, tuple("abcdef"[:length]), length, answers, chance_of_lcs(answers, length), tau)


def test_only_agreements_that_beat_chance_are_promoted():
    """Prevents demonstrations by chance: three of four agree in 42 % of random pairs of orders."""
    rows = [agreement("p3of4", 3, 4), agreement("p4of4", 4, 4), agreement("p2of2", 2, 2), agreement("p5of5", 5, 5)]
    assert [each.prompt_id for each in promotable(rows, 0.05)] == ["p5of5", "p4of4"]
    assert [each.prompt_id for each in promotable(rows, 1.0)] == ["p5of5", "p4of4", "p3of4"]


def test_the_oldest_are_retired_first():
    """Prevents the set from growing without bound, or from losing its newest members."""
    assert to_retire(POOL, promoted=1, max_kept=2) == [POOL[3].id, POOL[4].id]
    assert to_retire(POOL, promoted=1, max_kept=9) == []


def test_similarity_is_a_cosine():
    """Prevents long questions from looking similar to everything."""
    assert similarity("bake bread", "bread bake") > 0.999
    assert similarity("bake bread", "fix tyre") == 0
    assert similarity("", "") == 0


def test_the_gain_is_paired_over_lists_with_verdicts_in_both_arms():
    """Prevents a set from winning because the judge gave no verdict on hard lists."""
    found = {each.name: each for each in accuracy_metrics({STATIC_ARM: [1.0, 0.0, 0.5], NEXT: [0.5, 0.5, None]})}
    assert (found[STATIC_ARM].value, found[NEXT].value) == (0.5, 0.5)
    assert (found[GAIN].value, found[GAIN].count) == (0.0, 2)
    assert gain_summary(found) == "accuracy 0.500 with, 0.500 without, 2 lists, p = 0.75"
    assert GAIN not in {each.name for each in accuracy_metrics({STATIC_ARM: [1.0, None], NEXT: [None, 1.0]})}


@pytest.mark.parametrize(("min_gain", "shown"), [(0.0, True), (0.01, False), (-1.0, True)])
def test_a_set_is_shown_if_its_gain_reaches_the_minimum(min_gain, shown):
    """Prevents a set without effect from being dropped by a rounding error."""
    assert show_dynamic({GAIN: Metric(GAIN, -1e-17)}, min_gain) is shown
    assert show_dynamic({}, min_gain)


def test_questions_are_compared_without_whitespace_and_case():
    """Prevents a labelled list from being judged with its own answer in the prompt."""
    left = exclude_same_question(POOL, "How to  BAKE bread\n")
    assert set(POOL) - set(left) == {POOL[3]}


def test_a_gain_must_pass_the_paired_test_if_there_is_one():
    """Prevents a mean above zero on a few lists from deciding what the judge is shown, if a test was asked for."""
    lucky = {GAIN: Metric(GAIN, 0.1), GAIN_P: Metric(GAIN_P, 0.2)}
    assert show_dynamic(lucky, 0.0)
    assert not show_dynamic(lucky, 0.0, 0.025)
    assert show_dynamic({**lucky, GAIN_P: Metric(GAIN_P, 0.02)}, 0.0, 0.025)
    assert not show_dynamic({**lucky, GAIN_P: Metric(GAIN_P, 0.02)}, 0.2, 0.025)
    assert not show_dynamic({GAIN: Metric(GAIN, 0.1)}, 0.0, 0.025)  # measured by an earlier version, without the test


def test_a_diverse_selection_shows_one_of_a_kind_and_fills_up():
    """Prevents four demonstrations of one question in other words, and empty places where there is nothing else."""
    alike = [demonstration(f"how to bake bread {n}", n) for n in range(5, 8)]
    pool = [demonstration("what is the tallest mountain", 1), *alike]
    shown = questions(select(pool, "", 0, 2, "diverse"))
    assert shown == ["how to bake bread 7", "what is the tallest mountain"]
    assert len(select(pool, "", 0, 4, "diverse")) == 4
