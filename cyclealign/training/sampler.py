"""Which rows a training step takes, and how several processes share it: the same step, however many there are.

The usual way multiplies the batch by the number of processes and fills up the last one by rows that were seen before:
another machine would be another experiment.
"""

from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Tensor
from torch.utils.data import Sampler


class SharedSteps(Sampler[list[int]]):
    """The batches of one process, as row numbers; those of all processes together make up the steps.

    Rows are shuffled anew for each epoch. A step takes ``size`` of them, the last of an epoch what is left; the number
    ``rows`` stands for a row that counts for nothing and fills up, so that all batches of a step have one length.
    """

    def __init__(self, rows: int, size: int, seed: int, process: int, processes: int) -> None:
        self._rows, self._size, self._seed = rows, size, seed
        self._process, self._processes = process, processes
        self._epoch = 0

    def __len__(self) -> int:
        return ceil(self._rows / self._size)

    def __iter__(self) -> Iterator[list[int]]:
        draw = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(self._rows, generator=draw).tolist()
        self._epoch += 1
        for start in range(0, self._rows, self._size):
            step = order[start : start + self._size]
            yield share(step, self._process, self._processes, padding=self._rows)


def share(step: Sequence[int], process: int, processes: int, padding: int) -> list[int]:
    """What one of the processes takes of a step: every so-manieth row, filled up to the length of the longest share."""
    mine = list(step[process::processes])
    return mine + [padding] * (ceil(len(step) / processes) - len(mine))


def part_of_mean(sum_of_mine: Tensor, count_of_all: Tensor | float, processes: int) -> Tensor:
    """This process's loss, such that the *average* over processes, which is what they make of their gradients, is the
    mean over the whole step: processes * sum_of_mine / count_of_all."""
    return sum_of_mine * processes / count_of_all
