"""Length of answers: its growth over the parent's, and the win rate that is left without it. Pure."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from cyclealign.evaluation.intervals import bootstrap_statistic
from cyclealign.records import Candidate, Metric

GROWTH, CONTROLLED = "length_growth", "win_rate_length_controlled"
MIN_PROMPTS = 8  # fewer points say nothing about a slope


def length_growth(new: Sequence[Sequence[Candidate]], parent: Sequence[Sequence[Candidate]]) -> Metric:
    """Return the growth of the mean length of answers, 0.1 for 10 % longer than the parent's, with its interval.

    Args:
        new: answers by prompt.
        parent: the parent's, of the same prompts.
    """
    after, before = (np.array([mean_tokens(row) for row in rows]) for rows in (new, parent))

    def growth(indices: np.ndarray) -> float:
        return float(after[indices].sum() / max(before[indices].sum(), 1e-9) - 1)

    return Metric(GROWTH, *bootstrap_statistic(growth, len(after)), count=len(after))


def length_controlled(scores: Sequence[float], differences: Sequence[float]) -> Metric | None:
    """Return the win rate at equal length: the intercept of score = a + c tanh(difference / sd); None if undefined.

    As in length-controlled AlpacaEval (Dubois et al., arXiv 2404.04475), the length enters as the tanh of the
    standardised difference; a linear model replaces the logistic one, since scores of ties and split verdicts lie
    between 0 and 1. The value is cut to [0, 1].

    Args:
        scores: of the new answer to each prompt, in [0, 1].
        differences: length of the new answer minus that of the parent's, in tokens, of the same prompts.
    """
    spread = float(np.std(differences))
    if len(scores) < MIN_PROMPTS or spread == 0:
        return None
    points = np.column_stack([np.ones(len(scores)), np.tanh(np.asarray(differences) / spread)])
    values = np.asarray(scores)

    def intercept(indices: np.ndarray) -> float:
        solution, *_ = np.linalg.lstsq(points[indices], values[indices], rcond=None)
        return float(np.clip(solution[0], 0, 1))

    return Metric(CONTROLLED, *bootstrap_statistic(intercept, len(scores)), count=len(scores))


def mean_tokens(answers: Sequence[Candidate]) -> float:
    """Return the mean length of the answers to a prompt, in tokens, thoughts excluded."""
    return fmean(answer.answer_tokens for answer in answers)
