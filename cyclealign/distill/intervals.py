"""95 % intervals: by the bootstrap over items, by Student's t over runs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Indices drawn at once: bounds the memory of a bootstrap over many items.
DRAWN_AT_ONCE = 4_000_000
TAILS = (0.025, 0.975)


def bootstrap_mean(values: ArrayLike, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """The mean of the items and its percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13).

    Args:
        values: one number an item, shape (items,).
        seed: of the resampling; the same seed gives the same bounds.
        draws: how many resamples of the items.

    Raises:
        ValueError: there are no items, or the values are not one-dimensional.
    """
    given = _items(values)
    generator = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    rows = max(1, DRAWN_AT_ONCE // len(given))
    for start in range(0, draws, rows):
        chosen = generator.integers(len(given), size=(min(rows, draws - start), len(given)))
        means.append(given[chosen].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), TAILS)
    return float(given.mean()), float(low), float(high)


def paired_difference(a: ArrayLike, b: ArrayLike, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """The mean of ``a - b`` and its bootstrap interval; both arms are resampled by the same items.

    Args:
        a: one number an item, shape (items,).
        b: the same items under the other arm, in the same order.

    Raises:
        ValueError: the two do not hold the same number of items.
    """
    first, second = _items(a), _items(b)
    if first.shape != second.shape:
        raise ValueError(f"arms of a pair must share their items: {len(first)} and {len(second)} were given")
    return bootstrap_mean(first - second, seed, draws)


def of_runs(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean over runs (seeds) and its interval by Student's t; one run alone has no interval."""
    from scipy.stats import t

    given = _items(values)
    mean = float(given.mean())
    if len(given) == 1:
        return mean, None, None
    half = float(t.ppf(TAILS[1], len(given) - 1) * given.std(ddof=1) / np.sqrt(len(given)))
    return mean, mean - half, mean + half


def _items(values: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(f"an interval needs one number an item and at least one item; the shape is {given.shape}")
    return given
