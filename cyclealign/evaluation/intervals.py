"""Confidence intervals: bootstrap over items, Wilson for shares."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean

import numpy as np

from cyclealign.records import Metric

RESAMPLES = 2_000


Z_95 = 1.959964  # the standard normal's 97.5 % quantile


def with_interval(name: str, values: Sequence[float], unit: str = "", seed: int = 0) -> Metric:
    """The mean of ``values`` with a 95 % percentile bootstrap interval over them.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError(f"No values for '{name}'.")
    sample = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(0, len(sample), size=(RESAMPLES, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), [0.025, 0.975])
    return Metric(name, float(sample.mean()), float(low), float(high), len(sample), unit)


def share(name: str, outcomes: Sequence[float]) -> Metric:
    """The mean of outcomes in [0, 1] (a tie is 0.5) with its 95 % score interval (Wilson, JASA 1927).

    Unlike the bootstrap's, the interval has a width where all of a few outcomes are alike. It takes them for
    independent.

    Raises:
        ValueError: there are no outcomes.
    """
    if not outcomes:
        raise ValueError(f"No outcomes for '{name}'.")
    count, mean = len(outcomes), fmean(outcomes)
    shrunk = 1 + Z_95**2 / count
    centre = (mean + Z_95**2 / (2 * count)) / shrunk
    half = Z_95 / shrunk * sqrt(mean * (1 - mean) / count + Z_95**2 / (4 * count**2))
    return Metric(name, mean, max(0.0, centre - half), min(1.0, centre + half), count)
