"""Batches of a training step, divided among processes: every number of processes takes the same steps.

Accelerate's own sharding multiplies the batch by the number of processes and pads the last one with rows that were
seen before, so that the result would depend on the number of GPUs.
"""

from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import Sampler


class StepBatchSampler(Sampler[list[int]]):
    """One process's batches, as row numbers; together, the batches of all processes make up the steps.

    Rows are reshuffled each epoch. A step takes ``step_size`` rows, the last of an epoch the remaining ones. The number
    ``num_rows`` stands for a padding row of weight 0, which gives all batches of a step one length.

    ``epoch`` is the number of the next epoch; set it to go on from a checkpoint.
    """

    def __init__(self, num_rows: int, step_size: int, seed: int, process: int, num_processes: int) -> None:
        self._num_rows, self._step_size, self._seed = num_rows, step_size, seed
        self._process, self._num_processes = process, num_processes
        self.epoch = 0

    def __len__(self) -> int:
        return ceil(self._num_rows / self._step_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed + self.epoch)
        order = torch.randperm(self._num_rows, generator=generator).tolist()
        self.epoch += 1
        for start in range(0, self._num_rows, self._step_size):
            step = order[start : start + self._step_size]
            yield process_rows(step, self._process, self._num_processes, padding=self._num_rows)


def process_rows(step: Sequence[int], process: int, num_processes: int, padding: int) -> list[int]:
    """Return one process's rows of a step: every n-th row, n = number of processes, padded to the longest share."""
    rows = list(step[process::num_processes])
    return rows + [padding] * (ceil(len(step) / num_processes) - len(rows))


def scale_to_step_mean(loss_sum: Tensor, step_count: Tensor | float, num_processes: int) -> Tensor:
    """Return num_processes * loss_sum / step_count.

    Data parallelism averages gradients over processes; with this scale the average is the mean over the whole step.

    Args:
        loss_sum: sum of the losses of this process's rows, a scalar.
        step_count: number of rows of the step over all processes, without padding.
    """
    return loss_sum * num_processes / step_count
