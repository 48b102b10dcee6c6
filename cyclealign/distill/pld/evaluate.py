"""Accuracy of teacher and arms, over runs, and their paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.intervals import bootstrap_mean, of_runs
from cyclealign.records.distillation import Curve, Measure

REFERENCE = "pld"


@dataclass(frozen=True)
class Trained:
    """What an arm came to: validation accuracy of each try, which was best, and test accuracies by run."""

    tried: tuple[float, ...]
    chosen: int
    top1: tuple[float, ...]
    top5: tuple[float, ...]


def hits(logits: NDArray[np.float32], labels: NDArray[np.int64], top: int = 1) -> NDArray[np.float64]:
    """1 where the label is among the ``top`` largest logits, else 0; shape (items,). Ties count against it."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    return ((logits >= own).sum(axis=1) <= top).astype(np.float64)


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64], top: int = 1) -> float:
    """The share of the items that are hit."""
    return float(hits(logits, labels, top).mean())


def teacher_measures(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Measure]:
    """The teacher's accuracies, with their intervals over the items."""
    return [
        Measure("teacher", f"top-{top}", *bootstrap_mean(hits(logits, labels, top)), items=len(labels))
        for top in (1, 5)
    ]


def run_measures(name: str, runs: Mapping[str, Sequence[float]]) -> list[Measure]:
    """The mean of each arm over its runs, with the interval over runs."""
    return [Measure(arm, name, *of_runs(values), items=len(values)) for arm, values in runs.items()]


def above_measures(runs: Mapping[str, Sequence[float]]) -> list[Measure]:
    """How far PLD is above each other arm: differences within runs, which share start and batches."""
    measures = []
    for arm, values in runs.items():
        if arm != REFERENCE and REFERENCE in runs:
            above = [ours - theirs for ours, theirs in zip(runs[REFERENCE], values, strict=True)]
            measures.append(Measure(arm, "PLD above it", *of_runs(above), items=len(above)))
    return measures


def choice_measures(arms: Mapping[str, Trained]) -> list[Measure]:
    """Which of its settings each arm chose (the first is 1), and the validation accuracy that they had."""
    measures = []
    for name, arm in arms.items():
        if arm.tried:
            measures.append(Measure(name, "chosen try", arm.chosen + 1, items=len(arm.tried)))
            measures.append(Measure(name, "validation top-1", arm.tried[arm.chosen]))
    return measures


def arm_measures(arms: Mapping[str, Trained]) -> list[Measure]:
    """All measures of the arms."""
    top1 = {name: arm.top1 for name, arm in arms.items()}
    top5 = {name: arm.top5 for name, arm in arms.items()}
    return [
        *run_measures("top-1", top1),
        *above_measures(top1),
        *run_measures("top-5", top5),
        *choice_measures(arms),
    ]


def choice_curves(arms: Mapping[str, Trained]) -> list[Curve]:
    """Validation accuracy of every try: how much an arm depends on its settings."""
    return [
        Curve(name, "validation top-1 by try", "try", tuple(range(1, len(arm.tried) + 1)), arm.tried)
        for name, arm in arms.items()
        if arm.tried
    ]
