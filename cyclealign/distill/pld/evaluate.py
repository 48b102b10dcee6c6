"""Accuracies of the teacher and of the arms, averaged over runs, and paired differences of the arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.evaluation.intervals import bootstrap_mean, of_runs
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

REFERENCE = "pld"  # the arm that the others are compared with, and whose student is kept


@dataclass(frozen=True)
class ArmResult:
    """The accuracies of an arm, from 0 to 1.

    Attributes:
        validation: by try, averaged over the tuning runs; empty if there was one try only.
        chosen: index of the try with the best validation accuracy.
        top1: on the test items, by run.
        top5: on the test items, by run.
    """

    validation: tuple[float, ...]
    chosen: int
    top1: tuple[float, ...]
    top5: tuple[float, ...]


def hits(logits: NDArray[np.float32], labels: NDArray[np.int64], top: int = 1) -> NDArray[np.float64]:
    """Return 1 where the label is among the ``top`` largest logits, else 0; shape (items,). Ties count as misses."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    return ((logits >= own).sum(axis=1) <= top).astype(np.float64)


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64], top: int = 1) -> float:
    """Return the share of items whose label is among the ``top`` largest logits."""
    return float(hits(logits, labels, top).mean())


def teacher_measures(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Metric]:
    """Return the teacher's accuracies, with intervals over items."""
    return [
        Metric(f"top-{top}", *bootstrap_mean(hits(logits, labels, top)), count=len(labels), arm="teacher")
        for top in (1, 5)
    ]


def run_measures(name: str, runs: Mapping[str, Sequence[float]]) -> list[Metric]:
    """Return the mean of each arm over its runs, with its interval over runs."""
    return [Metric(name, *of_runs(values), count=len(values), arm=arm) for arm, values in runs.items()]


def difference_measures(runs: Mapping[str, Sequence[float]]) -> list[Metric]:
    """Return PLD minus each other arm, paired by run: all arms of a run share initial weights and batches."""
    measures = []
    for arm, values in runs.items():
        if arm != REFERENCE and REFERENCE in runs:
            differences = [pld - other for pld, other in zip(runs[REFERENCE], values, strict=True)]
            measures.append(Metric("PLD above it", *of_runs(differences), count=len(differences), arm=arm))
    return measures


def tuning_measures(arms: Mapping[str, ArmResult]) -> list[Metric]:
    """Return the chosen try of each tuned arm, counted from 1, and its validation accuracy."""
    measures = []
    for name, arm in arms.items():
        if arm.validation:
            measures.append(Metric("chosen try", arm.chosen + 1, count=len(arm.validation), arm=name))
            measures.append(Metric("validation top-1", arm.validation[arm.chosen], arm=name))
    return measures


def arm_measures(arms: Mapping[str, ArmResult]) -> list[Metric]:
    """Return all measures of the arms."""
    top1 = {name: arm.top1 for name, arm in arms.items()}
    top5 = {name: arm.top5 for name, arm in arms.items()}
    return [
        *run_measures("top-1", top1),
        *difference_measures(top1),
        *run_measures("top-5", top5),
        *tuning_measures(arms),
    ]


def tuning_curves(arms: Mapping[str, ArmResult]) -> list[Curve]:
    """Return the validation accuracy by try: how sensitive an arm is to its settings."""
    return [
        Curve(name, "validation top-1 by try", "try", tuple(range(1, len(arm.validation) + 1)), arm.validation)
        for name, arm in arms.items()
        if arm.validation
    ]
