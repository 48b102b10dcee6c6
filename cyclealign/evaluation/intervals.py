"""95 % intervals: bootstrap over items, Student's t over runs, Wilson for shares."""

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cyclealign.evaluation.metric_table import unit_of
from cyclealign.records import Metric

RESAMPLES = 2_000
# Indices drawn at a time: bounds the memory of a bootstrap over many items.
MAX_INDICES = 4_000_000
TAILS = (0.025, 0.975)
Z_95 = 1.959964  # the standard normal's 97.5 % quantile


def bootstrap_mean(values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """Return the mean of the items and its percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13).

    Args:
        values: one number per item, shape (items,).
        seed: of the resampling; the same seed gives the same bounds.

    Raises:
        ValueError: there are no items, or the values are not one-dimensional.
    """
    items = _items(values)
    generator = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    rows = max(1, MAX_INDICES // len(items))
    for start in range(0, resamples, rows):
        indices = generator.integers(len(items), size=(min(rows, resamples - start), len(items)))
        means.append(items[indices].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), TAILS)
    return float(items.mean()), float(low), float(high)


def paired_difference(
    a: ArrayLike, b: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Return the mean of ``a - b`` and its bootstrap interval; both arms are resampled by the same items.

    Args:
        a: one number per item, shape (items,).
        b: the same items under the other arm, in the same order.

    Raises:
        ValueError: the two do not hold the same number of items.
    """
    first, second = _items(a), _items(b)
    if first.shape != second.shape:
        raise ValueError(f"arms of a pair must share their items: {len(first)} and {len(second)} were given")
    return bootstrap_mean(first - second, seed, resamples)


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.intp]], float], items: int, seed: int = 0
) -> tuple[float, float, float]:
    """Return a statistic of all items and its percentile bootstrap interval; resamples without a value are left out.

    Args:
        statistic: function of the indices of the items, such as a ratio of means; NaN if it has no value.
        items: number of items.
    """
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, items, items)) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(values, TAILS)
    return statistic(np.arange(items)), float(low), float(high)


def of_runs(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean over runs (seeds) and its interval by Student's t; a single run has no interval."""
    from scipy.stats import t

    items = _items(values)
    mean = float(items.mean())
    if len(items) == 1:
        return mean, None, None
    half = float(t.ppf(TAILS[1], len(items) - 1) * items.std(ddof=1) / np.sqrt(len(items)))
    return mean, mean - half, mean + half


def with_interval(name: str, values: Sequence[float], seed: int = 0) -> Metric:
    """Return the mean of ``values`` as a metric with a 95 % bootstrap interval over them, in the unit of that name.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError(f"No values for '{name}'.")
    return Metric(name, *bootstrap_mean(values, seed), count=len(values), unit=unit_of(name))


def share_with_interval(name: str, outcomes: Sequence[float]) -> Metric:
    """Return the mean of outcomes in [0, 1] (a tie is 0.5) with its 95 % score interval (Wilson, JASA 1927).

    Unlike the bootstrap's, the interval has a width even if the outcomes are few and all alike. It assumes that they
    are independent.

    Raises:
        ValueError: there are no outcomes.
    """
    if not outcomes:
        raise ValueError(f"No outcomes for '{name}'.")
    count, mean = len(outcomes), fmean(outcomes)
    shrinkage = 1 + Z_95**2 / count
    centre = (mean + Z_95**2 / (2 * count)) / shrinkage
    half = Z_95 / shrinkage * sqrt(mean * (1 - mean) / count + Z_95**2 / (4 * count**2))
    return Metric(name, mean, max(0.0, centre - half), min(1.0, centre + half), count)


def _items(values: ArrayLike) -> NDArray[np.float64]:
    items = np.asarray(values, dtype=np.float64)
    if items.ndim != 1 or len(items) == 0:
        raise ValueError(f"an interval needs one number per item and at least one item; the shape is {items.shape}")
    return items
