"""Accuracy of the arms, over runs, and their paired differences."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.intervals import bootstrap_mean, of_runs
from cyclealign.distill.outcome import Measure

REFERENCE = "pld"


def hits(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 where the largest logit is the label's, else 0; shape (items,)."""
    return (logits.argmax(axis=1) == labels).astype(np.float64)


def teacher_measure(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Measure:
    """The teacher's accuracy, with its interval over the items."""
    return Measure("teacher", "top-1", *bootstrap_mean(hits(logits, labels)), items=len(labels))


def arm_measures(accuracies: Mapping[str, Sequence[float]]) -> list[Measure]:
    """Mean accuracy of each arm over the runs, and how far PLD is above each other arm, paired by run."""
    measures = [Measure(arm, "top-1", *of_runs(values), items=len(values)) for arm, values in accuracies.items()]
    if REFERENCE not in accuracies:
        return measures
    for arm, values in accuracies.items():
        if arm != REFERENCE:
            above = [ours - theirs for ours, theirs in zip(accuracies[REFERENCE], values, strict=True)]
            measures.append(Measure(arm, "PLD above it", *of_runs(above), items=len(above)))
    return measures
