"""Correlation of a metric with human scores, and order of the levels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cyclealign.distill.quantidce.data import Graded
from cyclealign.distill.quantidce.losses import MIN_SCORE, SCORE_RANGE
from cyclealign.evaluation.intervals import TAILS, bootstrap_mean
from cyclealign.records import Metric

Vector = NDArray[np.float64]
DRAWS = 300  # bootstrap resamples; each takes a correlation per arm and run

CORRELATIONS: Mapping[str, Callable[[Vector, Vector], float]] = {
    "Pearson": lambda scores, human: float(np.corrcoef(scores, human)[0, 1]),
    "Spearman": lambda scores, human: float(np.corrcoef(stats.rankdata(scores), stats.rankdata(human))[0, 1]),
    "Kendall": lambda scores, human: float(stats.kendalltau(scores, human).statistic),
}


def correlation(name: str, scores: Vector, human: Vector) -> float:
    """Return a correlation of scores with human scores; 0 if either is constant and it is undefined."""
    if np.ptp(scores) == 0 or np.ptp(human) == 0:
        return 0.0
    return CORRELATIONS[name](scores, human)


def mean_over_runs(name: str, runs: Sequence[Vector], human: Vector) -> float:
    """Return the correlation, averaged over the runs of an arm."""
    return float(np.mean([correlation(name, scores, human) for scores in runs]))


def agreement(test: str, arms: Mapping[str, Sequence[Vector]], human: Vector, seed: int = 0) -> list[Metric]:
    """Return each arm's correlations with human scores on one test set, and the first arm minus each other arm.

    The intervals are percentile bootstraps over items, with the same resamples for all arms and runs.

    Args:
        test: name of the test set.
        arms: arm -> scores by run, each of shape (items,).
        human: human scores, shape (items,).
        seed: of the resamples.
    """
    generator = np.random.default_rng(seed)
    resamples = generator.integers(len(human), size=(DRAWS, len(human)))
    measures, first = [], next(iter(arms))
    for name in CORRELATIONS:
        whole = {arm: mean_over_runs(name, runs, human) for arm, runs in arms.items()}
        resampled = {
            arm: np.array([mean_over_runs(name, [run[draw] for run in runs], human[draw]) for draw in resamples])
            for arm, runs in arms.items()
        }
        for arm in arms:
            low, high = np.quantile(resampled[arm], TAILS)
            measures.append(Metric(f"{name}, {test}", whole[arm], float(low), float(high), len(human), arm=arm))
        for arm in [other for other in arms if other != first]:
            low, high = np.quantile(resampled[first] - resampled[arm], TAILS)
            above = whole[first] - whole[arm]
            measures.append(
                Metric(f"{first} above it, {name}, {test}", above, float(low), float(high), len(human), arm=arm)
            )
    return measures


def levels(arm: str, held_out: Sequence[Graded], scores: Vector) -> list[Metric]:
    """Return the mean coherence (0 to 1) of each level, 1 being the best level, and the share of contexts in order.

    Args:
        arm: its name.
        held_out: the contexts.
        scores: from 1 to 5, of all responses, context by context, level by level, best level first.
    """
    shape = (len(held_out), len(held_out[0].levels), len(held_out[0].levels[0]))
    centroids = ((scores - MIN_SCORE) / SCORE_RANGE).reshape(shape).mean(axis=2)
    measures = [
        Metric(f"centroid of level {number + 1}", *bootstrap_mean(centroids[:, number]), count=len(held_out), arm=arm)
        for number in range(shape[1])
    ]
    in_order = (np.diff(centroids, axis=1) < 0).all(axis=1).astype(float)
    return [*measures, Metric("levels in order", *bootstrap_mean(in_order), count=len(held_out), arm=arm)]
