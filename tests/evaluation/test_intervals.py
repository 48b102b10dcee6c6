"""Intervals against scipy and against every resample there is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cyclealign.evaluation.intervals import MAX_INDICES, bootstrap_mean, of_runs, paired_difference

items = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


def test_bootstrap_agrees_with_every_resample():
    """Prevents a resampling without replacement, or of the wrong size: the interval would be too narrow."""
    values = np.array([0.0, 1.0, 1.5, 4.0, 9.0])
    means = np.array([np.mean(drawn) for drawn in product(values, repeat=5)])
    mean, low, high = bootstrap_mean(values, resamples=40_000)
    assert mean == 3.1
    assert np.mean(means < low) == pytest.approx(0.025, abs=0.006)
    assert np.mean(means > high) == pytest.approx(0.025, abs=0.006)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(5).normal(size=80)
    mean, low, high = bootstrap_mean(values, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.01)


def test_of_runs_agrees_with_scipy():
    values = [0.61, 0.64, 0.58, 0.66, 0.63]
    mean, low, high = of_runs(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((np.mean(values), theirs.low, theirs.high))


def test_one_run_has_no_interval():
    """Prevents a single seed from looking certain."""
    assert of_runs([0.5]) == (0.5, None, None)


@given(items, st.integers(0, 5))
def test_a_shared_part_of_both_arms_does_not_widen_their_difference(values, seed):
    """Prevents arms from being resampled apart: what makes an item hard must cancel."""
    hard = np.array(values)
    mean, low, high = paired_difference(hard + 0.25, hard, seed, resamples=50)
    assert (mean, low, high) == pytest.approx((0.25, 0.25, 0.25), abs=1e-9)


@given(items)
def test_the_mean_lies_in_its_interval_and_the_seed_fixes_it(values):
    mean, low, high = bootstrap_mean(values, resamples=400)
    assert low - 1e-9 <= mean <= high + 1e-9 or min(values) == max(values)
    assert (mean, low, high) == bootstrap_mean(values, resamples=400)


def test_many_items_are_resampled_in_portions():
    """Prevents a bootstrap over many items from taking all memory: portions must give as many draws."""
    values = np.arange(MAX_INDICES // 3, dtype=np.float32) % 2
    mean, low, high = bootstrap_mean(values, resamples=5)
    assert low < mean < high


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]]])
def test_what_has_no_items_is_refused(values):
    with pytest.raises(ValueError, match="at least one item"):
        bootstrap_mean(values)


def test_arms_with_different_items_are_refused():
    with pytest.raises(ValueError, match="share their items"):
        paired_difference([1.0, 2.0], [1.0])
