"""The judge's biases from its verdicts: golden values of scripted judges."""

import json
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.judge.biases import (
    ShownVerdict,
    bias_metrics,
    first_bias,
    length_bias,
    position_consistency,
    shown_verdicts,
    wins_by_position,
)
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_template
from cyclealign.ranking.agreement import kendall_tau
from cyclealign.ranking.consensus import strict_tiers
from cyclealign.records import Reply
from tests.support.paths import PROMPTS

TEMPLATE = load_template(PROMPTS, "rank")
TEXTS = {"a": "the best of all answers", "b": "good words", "c": "fair", "d": "no"}
MIRRORED = [("c", "a", "d", "b"), ("b", "d", "a", "c")]


def of(judge, orders=MIRRORED):
    return [ShownVerdict(tuple(order), judge(order)) for order in orders]


def fair(order):
    return strict_tiers(sorted(order))


def as_shown(order):
    return strict_tiers(order)


def longest(order):
    return strict_tiers(sorted(order, key=lambda item: -len(TEXTS[item])))


def shortest(order):
    return strict_tiers(sorted(order, key=lambda item: len(TEXTS[item])))


def indifferent(order):
    return (tuple(sorted(order)),)


@pytest.mark.parametrize(
    ("judge", "consistency", "first", "length"),
    [
        (fair, 1.0, 0.0, 1.0),
        (as_shown, 0.0, 1.0, 0.0),
        (lambda order: strict_tiers(order[::-1]), 0.0, -1.0, 0.0),
        (longest, 1.0, 0.0, 1.0),
        (shortest, 1.0, 0.0, -1.0),
        (indifferent, 1.0, 0.0, 0.0),
    ],
)
def test_each_bias_shows_in_its_own_metric(judge, consistency, first, length):
    """Prevents position bias from being reported as length bias, or either from being missed."""
    row = of(judge)
    assert position_consistency(row) == consistency
    assert first_bias(row) == pytest.approx(first)
    assert length_bias(row, TEXTS) == pytest.approx(length)


def test_wins_are_counted_by_position():
    """Prevents positions from being taken from the labels or counted from the end."""
    assert wins_by_position(of(as_shown)) == {1: 1.0, 2: pytest.approx(2 / 3), 3: pytest.approx(1 / 3), 4: 0.0}
    assert wins_by_position(of(fair)) == pytest.approx(dict.fromkeys((1, 2, 3, 4), 0.5))
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")]
    assert wins_by_position(of(as_shown, pairs)) == {1: 1.0, 2: 0.0}


def test_measures_without_data_are_left_out():
    """Prevents a judge that was asked once from being called consistent, and equal lengths from counting as bias."""
    alone = of(fair, MIRRORED[:1])
    assert position_consistency(alone) is None
    assert length_bias(of(fair, [("a", "b")]), {"a": "one", "b": "two"}) is None
    measured = {each.name for each in bias_metrics({"p": alone}, TEXTS)}
    assert "judge_position_consistency" not in measured
    assert {"judge_first_bias", "judge_length_bias", "judge_wins_at_1", "judge_wins_at_4"} <= measured
    assert bias_metrics({}, TEXTS) == []


def test_metrics_are_means_over_lists_with_an_interval():
    """Prevents long lists from outweighing short ones, and metrics that look certain after two lists."""
    found = {
        each.name: each for each in bias_metrics({"p": of(fair), "q": of(as_shown, [("a", "b"), ("b", "a")])}, TEXTS)
    }
    assert found["judge_position_consistency"].value == 0.5
    assert found["judge_first_bias"].value == 0.5
    assert (found["judge_first_bias"].low, found["judge_first_bias"].high) == (0.0, 1.0)
    assert (found["judge_wins_at_1"].count, found["judge_wins_at_4"].count) == (2, 1)


def test_verdicts_are_matched_to_stored_calls_by_label():
    """Prevents positions from being taken from the reply, and an unreadable reply from counting as a verdict."""
    spec = PromptSpec(TEMPLATE, "scripted", (), seed=5)
    question = RankingTask(spec, "rank", "p", "Which?", TEXTS)
    calls = [question.call(0), question.call(1)]

    def reply(text):
        return Reply(text, "scripted", 0, 0, 0.0, 0.0)

    best_first = [label for item in "abcd" for label, other in calls[0].shown if other == item]
    found = shown_verdicts(
        [(calls[0], reply(json.dumps({"ranking": best_first}))), (calls[1], reply("They are all lovely."))]
    )
    (only,) = found["p"]
    assert only.order == tuple(item for _, item in calls[0].shown)
    assert only.verdict == strict_tiers("abcd")


@given(st.permutations("abcde"), st.permutations("abcde"))
def test_on_complete_orders_the_biases_are_kendalls_tau(order, ranked):
    """Prevents a home-made measure under a known name."""
    one = ShownVerdict(tuple(order), strict_tiers(ranked))
    assert first_bias([one]) == pytest.approx(kendall_tau(order, ranked))
    texts = {item: "x" * number for number, item in enumerate("edcba")}
    assert length_bias([one], texts) == pytest.approx(kendall_tau("abcde", ranked))
    assert fmean(wins_by_position([one]).values()) == pytest.approx(0.5)
