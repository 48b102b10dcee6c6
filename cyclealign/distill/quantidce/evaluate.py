"""How a metric agrees with people, and whether it tells the levels apart."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cyclealign.distill.quantidce.data import Graded
from cyclealign.distill.quantidce.losses import LOWEST, SPAN
from cyclealign.evaluation.intervals import bootstrap_mean
from cyclealign.records import Metric

Vector = NDArray[np.float64]
DRAWS = 300

CORRELATIONS: Mapping[str, Callable[[Vector, Vector], float]] = {
    "Pearson": lambda found, given: float(np.corrcoef(found, given)[0, 1]),
    "Spearman": lambda found, given: float(np.corrcoef(stats.rankdata(found), stats.rankdata(given))[0, 1]),
    "Kendall": lambda found, given: float(stats.kendalltau(found, given).statistic),
}


def correlation(name: str, found: Vector, given: Vector) -> float:
    """A correlation of scores with human ones; 0 where either is constant, since it then tells nothing."""
    if np.ptp(found) == 0 or np.ptp(given) == 0:
        return 0.0
    return CORRELATIONS[name](found, given)


def mean_over_runs(name: str, runs: Sequence[Vector], given: Vector) -> float:
    """The correlation, averaged over the runs of an arm."""
    return float(np.mean([correlation(name, found, given) for found in runs]))


def agreement(test: str, arms: Mapping[str, Sequence[Vector]], given: Vector, seed: int = 0) -> list[Metric]:
    """Each arm's correlations with people on one test set, and how far the first arm is above each other.

    Args:
        arms: arm -> scores by run, each of shape (items,).
        given: human scores, shape (items,).

    The intervals are percentile bootstraps over items, the same items for all arms and runs.
    """
    generator = np.random.default_rng(seed)
    picks = generator.integers(len(given), size=(DRAWS, len(given)))
    measures, first = [], next(iter(arms))
    for name in CORRELATIONS:
        whole = {arm: mean_over_runs(name, runs, given) for arm, runs in arms.items()}
        resampled = {
            arm: np.array([mean_over_runs(name, [run[pick] for run in runs], given[pick]) for pick in picks])
            for arm, runs in arms.items()
        }
        for arm in arms:
            low, high = np.quantile(resampled[arm], [0.025, 0.975])
            measures.append(Metric(f"{name}, {test}", whole[arm], float(low), float(high), len(given), arm=arm))
        for arm in [each for each in arms if each != first]:
            low, high = np.quantile(resampled[first] - resampled[arm], [0.025, 0.975])
            above = whole[first] - whole[arm]
            measures.append(
                Metric(f"{first} above it, {name}, {test}", above, float(low), float(high), len(given), arm=arm)
            )
    return measures


def levels(arm: str, held_out: Sequence[Graded], found: Vector) -> list[Metric]:
    """Mean score of each level of the held-out contexts (1 is the best level), and the share of contexts in order.

    Args:
        found: scores from 1 to 5 of all responses, context by context, level by level, best level first.
    """
    shape = (len(held_out), len(held_out[0].levels), len(held_out[0].levels[0]))
    centroids = ((found - LOWEST) / SPAN).reshape(shape).mean(axis=2)
    measures = [
        Metric(f"centroid of level {number + 1}", *bootstrap_mean(centroids[:, number]), count=len(held_out), arm=arm)
        for number in range(shape[1])
    ]
    in_order = (np.diff(centroids, axis=1) < 0).all(axis=1).astype(float)
    return [*measures, Metric("levels in order", *bootstrap_mean(in_order), count=len(held_out), arm=arm)]
