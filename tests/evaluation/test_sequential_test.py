"""The test of "the mean score of paired duels is above one half": values by hand, and its promise under the null."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.evaluation.sequential_test import MAX_E_VALUE, Look, bet, e_process, e_values, look

DRAWS = 50_000
SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=40)


def null_scores(name: str, draws: int, count: int) -> np.ndarray:
    """Draw scores, shape (draws, count), whose expected value, given all earlier ones, is one half."""
    generator = np.random.default_rng(7)
    drawn = generator.random((draws, count))
    if name == "fair":
        return (drawn < 0.5).astype(float)
    if name == "ties":
        return np.select([drawn < 0.35, drawn < 0.65], [1.0, 0.5], 0.0)
    if name == "skewed":  # rare wins, frequent small losses
        return np.where(drawn < 1 / 6, 1.0, 0.4)
    # Ties follow a loss, decided duels a win: an order chosen so that luck would show.
    scores = np.full((draws, count), 0.5)
    scores[:, 0] = drawn[:, 0] < 0.5
    for place in range(1, count):
        lost = scores[:, place - 1] == 0
        scores[:, place] = np.where(lost, 0.5, (drawn[:, place] < 0.5).astype(float))
    return scores


def test_values_by_hand():
    """Prevents a wrong formula: with 4 planned scores the bet is 3/2, so a win multiplies by 7/4, a loss by 1/4."""
    assert bet(4) == 1.5
    assert e_process([1, 1, 0, 0.5], 4) == pytest.approx([1.75, 3.0625, 0.765625, 0.765625])
    assert e_values([1, 1, 0, 0.5], 4) == pytest.approx(0.765625)
    assert e_values([0.75], 4) == pytest.approx(1.375)
    # sqrt(2 ln 20 / (24 / 4)) = sqrt(0.998577) = 0.999288; 18 wins, 6 losses: 1.499644^18 x 0.500356^6
    assert bet(24) == pytest.approx(0.999288, abs=1e-6)
    assert e_values([1] * 18 + [0] * 6, 24) == pytest.approx(23.09, abs=0.01)


def test_no_scores_are_no_evidence():
    """Prevents a round without readable duels from failing here, or from being evidence."""
    assert e_values([], 24) == 1
    assert e_process([], 24).shape == (0,)
    assert e_values(np.empty((3, 0)), 24).tolist() == [1, 1, 1]


@given(SCORES, st.randoms(use_true_random=False))
def test_order_does_not_matter(scores, random):
    """Prevents a verdict that depends on which prompt was judged first."""
    shuffled = random.sample(scores, len(scores))
    assert e_values(shuffled, 40) == pytest.approx(float(e_values(scores, 40)))


@given(SCORES)
def test_ties_do_not_move_it(scores):
    """Prevents a policy that answers as before from gaining or losing evidence."""
    assert e_values([0.5, *scores, 0.5, 0.5], 40) == pytest.approx(float(e_values(scores, 40)))


@given(SCORES)
def test_wins_and_losses_cannot_both_be_evidence(scores):
    """Prevents a round from being shown as better and as worse: the product of both e-values is at most 1."""
    both = e_values(scores, 40) * e_values([1 - score for score in scores], 40)
    assert both <= 1 + 1e-9


@pytest.mark.parametrize("name", ["fair", "ties", "skewed", "dependent"])
@pytest.mark.parametrize("count", [12, 60])
def test_under_the_null_it_is_fair_and_seldom_raises_a_false_alarm(name, count):
    """Prevents a test that promotes more than alpha of the rounds that learnt nothing, however often one looks."""
    paths = e_process(null_scores(name, DRAWS, count), count)
    for place in (0, count // 2, count - 1):
        values = paths[:, place]
        assert values.mean() <= 1 + 4 * values.std() / np.sqrt(DRAWS)
    stopped = np.where(paths.max(axis=1) >= 3, 3, paths[:, -1])  # stops at a first success, as a hopeful person does
    assert stopped.mean() <= 1.02
    alarms = paths.max(axis=1) >= 20
    assert alarms.mean() <= 0.05


def test_a_better_policy_is_noticed():
    """Prevents a test that is safe because it never decides."""
    drawn = np.random.default_rng(3).random((2_000, 200))
    scores = np.select([drawn < 0.45, drawn < 0.75], [1.0, 0.5], 0.0)  # win rate 0.6
    assert (e_values(scores, 200) >= 20).mean() > 0.75
    assert (e_values(1 - scores, 200) >= 20).mean() == 0


def test_a_long_series_of_wins_stays_a_finite_number():
    """Prevents an e-value of infinity, which no database takes."""
    assert e_values([1] * 5_000, 5_000) == MAX_E_VALUE
    assert 0 <= e_values([0] * 5_000, 5_000) < 1e-9


@pytest.mark.parametrize("wrong", [[1.2], [-0.1], [float("nan")]])
def test_a_number_that_is_no_score_is_refused(wrong):
    """Prevents a difference of scores from being taken for a score."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        e_values(wrong, 3)


def test_a_test_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one planned score"):
        e_values([], 0)


@pytest.mark.parametrize(
    ("scores", "left", "expected"),
    [
        ([], 0, Look.DECIDED),
        ([1] * 6, 10, Look.DECIDED),  # 1.75^6 = 28.7
        ([0] * 6, 10, Look.DECIDED),
        ([0.5] * 4, 6, Look.UNDECIDED),  # 1.75^6 is within reach of either side
        ([0.5] * 4, 5, Look.DECIDED),  # 1.75^5 = 16.4 is not enough
        ([0] * 3, 6, Look.CANNOT_WIN),
        ([1] * 3, 6, Look.UNDECIDED),
    ],
)
def test_a_look_by_hand(scores, left, expected):
    """Prevents prompts from being paid for that cannot decide, and a stop while they can; the bet of 4 is 3/2."""
    assert look(scores, 4, 0.05, left, against=0.05) == expected


@pytest.mark.parametrize("name", ["fair", "ties", "skewed", "dependent"])
def test_drawing_more_while_undecided_keeps_the_promise(name):
    """Prevents false promotions that come of looking at the result before more prompts are drawn."""
    scores, step, most = null_scores(name, 4_000, 96), 24, 96
    won = 0
    for row in scores:
        for count in range(step, most + 1, step):
            if look(row[:count], most // 2, 0.05, most - count, against=0.05) != Look.UNDECIDED:
                won += bool(e_values(row[:count], most // 2) >= 20)
                break
    assert won / len(scores) <= 0.05
