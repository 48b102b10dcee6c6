"""Numbers with intervals, and the verdict on a round."""

import pytest

from cyclealign.evaluation.intervals import share_with_interval, with_interval
from cyclealign.evaluation.metrics import drift, duel_metrics, duel_score, labelled_ids, labelled_texts, pair_accuracy
from cyclealign.records import Candidate, LabelledList, Metric, Prompt


def test_an_interval_holds_its_mean_and_narrows_with_more_values():
    """Prevents a win rate from being shown as more certain than it is."""
    few, many = with_interval("x", [0.0, 1.0] * 5), with_interval("x", [0.0, 1.0] * 200)
    assert few.low < few.value == 0.5 < few.high
    assert many.high - many.low < few.high - few.low
    assert (few.count, many.count) == (10, 400)
    assert with_interval("x", [0.25] * 8) == Metric("x", 0.25, 0.25, 0.25, 8)


def test_no_values_are_no_metric():
    """Prevents the mean of nothing from being shown as zero."""
    with pytest.raises(ValueError, match="No values"):
        with_interval("x", [])
    with pytest.raises(ValueError, match="No outcomes"):
        share_with_interval("x", [])


def test_a_share_of_a_few_outcomes_has_wilsons_interval():
    """Prevents three right answers out of three from being shown as certainty, as the bootstrap would."""
    few = share_with_interval("x", [1.0, 1.0, 1.0])
    assert (few.value, few.high, few.count) == (1.0, 1.0, 3)
    assert few.low == pytest.approx(0.4385, abs=1e-4)  # 3 / (3 + 1.96^2)
    half = share_with_interval("x", [1.0, 0.0, 0.5, 0.5] * 3)
    assert (half.low, half.high) == pytest.approx((0.2538, 0.7462), abs=1e-4)


def test_a_duel_that_the_two_orders_decide_differently_is_a_tie():
    """Prevents a judge's liking for the first place from counting as a win."""
    assert duel_score("new", [(("new",), ("old",)), (("new",), ("old",))]) == 1
    assert duel_score("new", [(("new",), ("old",)), (("old",), ("new",))]) == 0.5
    assert duel_score("new", [(("new", "old"),)]) == 0.5
    assert duel_score("new", []) is None


def test_the_metrics_of_duels():
    """Prevents two duels of one prompt from counting as independent, and unreadable ones from passing as ties."""
    duels = [("p", 1.0), ("p", 1.0), ("q", 0.5), ("q", None), ("r", 0.0), ("r", 1.0), ("s", None), ("s", None)]
    metrics = {metric.name: metric for metric in duel_metrics(duels)}
    assert (metrics["win_rate"].value, metrics["win_rate"].count) == (pytest.approx(2 / 3), 3)  # 1, 0.5, 0.5
    assert (metrics["duels_readable"].value, metrics["duels_readable"].count) == (0.625, 8)
    assert (metrics["duels_tied"].value, metrics["duels_tied"].count) == (0.2, 5)
    # Four prompts were planned, so a win multiplies by 1.75 and a loss by 0.25.
    assert (metrics["win_e_value"].value, metrics["loss_e_value"].value) == (pytest.approx(1.75), pytest.approx(0.25))


def test_pair_accuracy_counts_pairs():
    assert pair_accuracy("abc", "abc") == 1
    assert pair_accuracy("cba", "abc") == 0
    assert pair_accuracy("bac", "abc") == pytest.approx(2 / 3)


def test_the_ids_of_labelled_answers_do_not_give_the_order_away():
    """Prevents a judge's accuracy from being measured on lists that are shown best first."""
    prompt = Prompt.of(({"role": "user", "content": "q"},))
    orders = set()
    for number in range(30):
        labelled = LabelledList(prompt, (f"a{number}", f"b{number}", f"c{number}"), "test")
        assert [labelled_texts(labelled)[each] for each in labelled_ids(labelled)] == list(labelled.answers)
        orders.add(tuple(sorted(labelled_ids(labelled)).index(each) for each in labelled_ids(labelled)))
    assert len(orders) == 6


def test_drift_is_per_token():
    """Prevents long answers from looking like a large drift."""
    answers = [
        Candidate("a", "p", 0, "", (1, 2), -2.0, "stop", None),
        Candidate("b", "p", 0, "", (1,) * 8, -8.0, "stop", None),
    ]
    assert drift(answers, [-3.0, -12.0]).value == pytest.approx(0.5)
