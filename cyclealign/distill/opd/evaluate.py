"""Measures of teacher and students on the same prompts: scores of answers, divergences, and the share of the gap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.evaluation.intervals import bootstrap_mean, bootstrap_statistic, paired_difference
from cyclealign.records import Metric

Vector = NDArray[np.float64]
TEACHER, BEFORE = "teacher", "student before"
REVERSE, FORWARD = "reverse KL", "forward KL"


@dataclass(frozen=True)
class ArmValues:
    """Values of one arm per prompt, each of shape (prompts,).

    Attributes:
        scores: of its answers; None if the data have no scale for them.
        reverse: KL(student || teacher) on its own answers, in nats per token; None for the teacher.
        forward: KL(teacher || student) on the teacher's answers, in nats per token; None for the teacher.
        tokens: length of its answers.
    """

    scores: Vector | None
    reverse: Vector | None
    forward: Vector | None
    tokens: Vector

    def by_name(self, score: str) -> dict[str, Vector]:
        """Return the values under the names of their measures."""
        values = {score: self.scores, REVERSE: self.reverse, FORWARD: self.forward, "answer tokens": self.tokens}
        return {name: vector for name, vector in values.items() if vector is not None}


def exact_matches(answers: Sequence[str], given: Sequence[str]) -> Vector:
    """Return 1 for each answer that is the given one up to white space, else 0."""
    pairs = zip(answers, given, strict=True)
    return np.array([float(answer.split() == expected.split()) for answer, expected in pairs])


def measures(arms: Mapping[str, ArmValues], score: str) -> list[Metric]:
    """Return each arm's means, the shares of the gap that students close, and differences, with 95 % intervals.

    Intervals are bootstraps over prompts; differences and shares resample all arms by the same prompts.

    Args:
        arms: the teacher, the student before, and the trained ones in the order of the settings.
        score: name of the score.
    """
    result = [
        Metric(name, *bootstrap_mean(values), count=len(values), arm=arm)
        for arm, each in arms.items()
        for name, values in each.by_name(score).items()
    ]
    trained = [arm for arm in arms if arm not in (TEACHER, BEFORE)]
    for arm in trained:
        result += gap_closed(arm, arms, score)
    first = trained[0]
    for other in (BEFORE, *trained[1:]):
        result += differences(f"{first} - {other}", arms[first].by_name(score), arms[other].by_name(score))
    return result


def gap_closed(arm: str, arms: Mapping[str, ArmValues], score: str) -> list[Metric]:
    """Return the share of the distance from the student before to the teacher that an arm has covered.

    By the score, and by both divergences, in which the teacher has 0. A measure in which the teacher is no better than
    the student before has no such share.
    """
    before, after = arms[BEFORE].by_name(score), arms[arm].by_name(score)
    goal = arms[TEACHER].by_name(score) | {name: np.zeros_like(before[name]) for name in (REVERSE, FORWARD)}
    shares = []
    for name in (score, REVERSE, FORWARD):
        if name not in before or not gap(goal[name], before[name], name) > 0:
            continue
        share = share_of(goal[name], before[name], after[name], name)
        shares.append(Metric(f"gap closed, {name}", *share, count=len(before[name]), arm=arm))
    return shares


def gap(goal: Vector, before: Vector, name: str) -> float:
    """Return the distance from the student before to the teacher; above 0 if the teacher is better."""
    sign = -1 if name in (REVERSE, FORWARD) else 1
    return sign * float(goal.mean() - before.mean())


def share_of(goal: Vector, before: Vector, after: Vector, name: str) -> tuple[float, float, float]:
    """Return the share of the gap that is closed, with its interval; resamples without a gap are left out."""

    def share(prompts: NDArray[np.intp]) -> float:
        of_resample = gap(goal[prompts], before[prompts], name)
        return gap(after[prompts], before[prompts], name) / of_resample if of_resample > 0 else float("nan")

    return bootstrap_statistic(share, len(before))


def differences(arm: str, first: Mapping[str, Vector], second: Mapping[str, Vector]) -> list[Metric]:
    """Return the differences of two arms in every measure that both have, paired by prompts."""
    return [
        Metric(name, *paired_difference(first[name], second[name]), count=len(first[name]), arm=arm)
        for name in first
        if name in second
    ]
