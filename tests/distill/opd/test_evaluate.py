"""Measures from fixed values."""

import numpy as np
import pytest

from cyclealign.distill.opd.evaluate import BEFORE, TEACHER, ArmValues, exact_matches, measures

TOKENS = np.full(4, 5.0)


def arm(scores, reverse=None, forward=None):
    """An arm's values; lists of one number stand for four."""
    vectors = [
        None if each is None else np.array(each * (4 // len(each)), dtype=float) for each in (scores, reverse, forward)
    ]
    return ArmValues(*vectors, TOKENS)


def by_name(arms, score="quality"):
    return {(each.arm, each.name): each for each in measures(arms, score)}


def test_the_share_of_the_gap_runs_from_the_student_before_to_the_teacher():
    """Prevents a share of the teacher's own score, and a divergence whose sign makes a worse student better."""
    found = by_name(
        {
            TEACHER: arm([0.9]),
            BEFORE: arm([0.4], [2.0], [1.0]),
            "opd": arm([0.8], [0.5], [0.25]),
            "sft": arm([0.6], [3.0], [0.5]),
        }
    )
    assert found["opd", "gap closed, quality"].value == pytest.approx(0.8)
    assert found["opd", "gap closed, reverse KL"].value == pytest.approx(0.75)
    assert found["sft", "gap closed, reverse KL"].value == pytest.approx(-0.5)
    assert found["sft", "gap closed, forward KL"].value == pytest.approx(0.5)
    assert found["opd - student before", "quality"].value == pytest.approx(0.4)
    assert found["opd - sft", "reverse KL"].value == pytest.approx(-2.5)
    assert (TEACHER, "reverse KL") not in found


def test_a_teacher_that_is_no_better_has_no_gap():
    """Prevents a share of a gap that does not exist, or a division by zero."""
    arms = {TEACHER: arm([0.4]), BEFORE: arm([0.4], [1.0], [1.0]), "opd": arm([0.6], [0.5], [0.5])}
    found = by_name(arms)
    assert ("opd", "gap closed, quality") not in found
    assert found["opd", "gap closed, reverse KL"].value == pytest.approx(0.5)


def test_without_given_answers_the_divergences_are_left():
    """Prevents a score of nothing."""
    arms = {TEACHER: arm(None), BEFORE: arm(None, [1.0], [1.0]), "opd": arm(None, [0.5, 0.1], [0.5])}
    found = by_name(arms, "exact match")
    assert not [name for _, name in found if "exact match" in name]
    assert found["opd", "reverse KL"].value == pytest.approx(0.3)
    assert found["opd", "reverse KL"].low < 0.3 < found["opd", "reverse KL"].high


def test_exact_matches_leave_white_space_out():
    """Prevents a right answer from counting as wrong for a line break."""
    assert exact_matches(["a  b\n", "a"], ["a b", "b"]).tolist() == [1.0, 0.0]
