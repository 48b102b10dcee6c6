"""Steps divided among processes: together they equal the steps of one process."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.training.sampler import StepBatchSampler, process_rows, scale_to_step_mean

SIZES = {"num_rows": st.integers(1, 40), "step_size": st.integers(1, 12), "seed": st.integers(0, 2**32 - 1)}


@given(processes=st.integers(1, 5), **SIZES)
def test_the_steps_do_not_depend_on_the_number_of_processes(num_rows, step_size, seed, processes):
    """Prevents rows that are dropped, or counted twice, if they cannot be divided evenly."""
    alone = list(StepBatchSampler(num_rows, step_size, seed, 0, 1))
    shares = [list(StepBatchSampler(num_rows, step_size, seed, process, processes)) for process in range(processes)]
    assert sorted(chain(*alone)) == list(range(num_rows))
    assert len(alone) == len(StepBatchSampler(num_rows, step_size, seed, 0, 1))
    for step, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert sorted(row for part in parts for row in part if row != num_rows) == sorted(step)
        assert len({len(part) for part in parts}) == 1


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=12), processes=st.integers(1, 5))
def test_the_average_over_processes_is_the_mean_over_the_step(values, processes):
    """Prevents a mean of means, in which a row weighs more if its process has fewer rows."""
    shares = [process_rows(range(len(values)), process, processes, padding=-1) for process in range(processes)]
    sums = [torch.tensor([values[row] for row in part if row >= 0], dtype=torch.float64).sum() for part in shares]
    parts = [scale_to_step_mean(loss_sum, len(values), processes).item() for loss_sum in sums]
    assert sum(parts) / processes == pytest.approx(sum(values) / len(values), abs=1e-9)


def test_each_epoch_is_shuffled_anew_and_the_same_for_the_same_seed():
    """Prevents an order that never changes, and a run that cannot be reproduced."""
    steps, again = StepBatchSampler(20, 4, 7, 0, 1), StepBatchSampler(20, 4, 7, 0, 1)
    first, second = list(steps), list(steps)
    assert first != second
    assert [first, second] == [list(again), list(again)]
