"""Scores of the policy, and their length control, on values small enough to check by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.ranking import scores
from cyclealign.ranking.agreement import rank_by_score

FLOATS = st.floats(-50, 50)


def test_each_score_by_hand() -> None:
    """Prevents a sum in place of a mean, and a difference with the wrong sign: both give a plausible ranking."""
    assert scores.mean_logprob(-6.0, 4) == -1.5
    assert scores.pmi(-6.0, -10.0) == 4.0
    assert scores.implicit_reward(-6.0, -5.0) == -1.0


def test_an_empty_answer_divides_by_one() -> None:
    assert scores.mean_logprob(0.0, 0) == 0.0


def test_label_logprobs_are_those_given_that_a_label_is_named() -> None:
    """Prevents a request whose reply hardly begins with a label from weighing more than the others of its list."""
    assert scores.label_logprobs([-1000.0, -1000.0]) == pytest.approx([-0.693147, -0.693147])
    assert scores.label_logprobs([-1.0, -3.0]) == pytest.approx([-0.126928, -2.126928])


@given(
    st.lists(FLOATS, min_size=4, max_size=4),
    st.lists(FLOATS, min_size=4, max_size=4),
)
def test_a_bias_for_places_or_labels_changes_no_difference(own: list[float], bias: list[float]) -> None:
    """Prevents a ranking by the letters: small models prefer one label whatever it stands for."""
    places = [[(item + shift) % 4 for item in range(4)] for shift in range(4)]
    orders = [
        dict(zip("abcd", scores.label_logprobs([own[i] + bias[place[i]] for i in range(4)]), strict=True))
        for place in places
    ]
    mean = scores.mean_over_orders(orders)
    assert mean["a"] - mean["b"] == pytest.approx(own[0] - own[1], abs=1e-9)
    assert mean["c"] - mean["d"] == pytest.approx(own[2] - own[3], abs=1e-9)


def test_the_slope_is_that_within_lists() -> None:
    """Prevents lists about long answers with low scores from giving the slope: within each list it is 0.1 per token."""
    lists = [[(0.0, 10), (1.0, 20)], [(-50.0, 110), (-49.0, 120)]]
    assert scores.length_slope(lists) == pytest.approx(0.1)


def test_equal_lengths_have_no_slope() -> None:
    """Prevents a division by zero where every answer is cut at the same length."""
    assert scores.length_slope([[(1.0, 8), (2.0, 8)], [(0.5, 3)]]) == 0.0
    assert scores.length_slope([]) == 0.0


@given(st.lists(st.tuples(FLOATS, st.integers(1, 400)), min_size=2, max_size=6))
def test_residuals_have_no_slope_in_length(answers: list[tuple[float, int]]) -> None:
    """Prevents a length control that leaves a part of the length in the score, or turns its sign."""
    slope = scores.length_slope([answers])
    controlled = [(scores.length_controlled(value, tokens, slope), tokens) for value, tokens in answers]
    assert scores.length_slope([controlled]) == pytest.approx(0, abs=1e-6)


def test_a_score_that_is_length_alone_is_left_with_ties() -> None:
    """Prevents a judge and a policy that both prefer length from agreeing by it under length control."""
    answers = {"short": (0.5, 10), "middle": (1.0, 20), "long": (1.5, 30)}
    slope = scores.length_slope([list(answers.values())])
    values = {item: scores.length_controlled(value, tokens, slope) for item, (value, tokens) in answers.items()}
    assert set(values.values()) == {0.0}
    assert rank_by_score(values) == ("long", "middle", "short")  # by id
