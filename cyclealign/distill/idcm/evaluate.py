"""Effectiveness of the cascade: re-ranking by all windows, and by the k windows of several selections.

Window scores of both modules are computed once; a window's score does not depend on the others, so every k and every
selection is evaluated without another forward pass. A test compares the result with `predict.Cascade`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
import torch
from ir_measures import RR, nDCG
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.idcm.data import JudgedQuery
from cyclealign.distill.idcm.etm import TopWindows
from cyclealign.distill.idcm.tokenized import Pair
from cyclealign.distill.idcm.windows import by_document
from cyclealign.evaluation.intervals import bootstrap_mean, paired_difference
from cyclealign.records import Metric

CUTOFF = 10
ALL = "all windows"
METRICS = {f"nDCG@{CUTOFF}": nDCG @ CUTOFF, f"MRR@{CUTOFF}": RR @ CUTOFF}

Values = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class WindowScores:
    """Window scores of the test queries' candidates, each tensor of shape (N, P).

    Attributes:
        etm_NP: ETM's scores.
        mask_NP: True at windows.
        selections: scores by selection; its k best windows are the ones that ETM scores.
    """

    judged: Sequence[JudgedQuery]
    pairs: Sequence[Pair]
    etm_NP: Tensor  # noqa: N815
    mask_NP: Tensor  # noqa: N815
    selections: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        judged: Sequence[JudgedQuery],
        pairs: Sequence[Pair],
        etm: Sequence[Tensor],
        selections: Mapping[str, Tensor],
    ) -> "WindowScores":
        """Pad ETM's window scores of each pair, shape (P,) each."""
        scores_NP, mask_NP = by_document(torch.cat(list(etm)), [len(scores_P) for scores_P in etm])
        return cls(judged, pairs, scores_NP, mask_NP, selections)


def best_windows(scores_NP: Tensor, mask_NP: Tensor, k: int) -> Tensor:
    """Return True at the ``k`` best windows of each document, shape (N, P); equal scores prefer earlier windows."""
    order_NP = scores_NP.masked_fill(~mask_NP, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(mask_NP).scatter(1, order_NP[:, :k], True) & mask_NP


def values_by_query(scores: WindowScores, aggregate: TopWindows, chosen_NP: Tensor) -> Values:
    """Return each metric per query, in the order of ``judged``, if ETM scores only the chosen windows."""
    with torch.no_grad():
        documents_N = aggregate(scores.etm_NP, chosen_NP & scores.mask_NP).tolist()
    run = [
        ir_measures.ScoredDoc(pair.query, pair.document, score)
        for pair, score in zip(scores.pairs, documents_N, strict=True)
    ]
    qrels = {judged.query: dict(judged.grades) for judged in scores.judged}
    # ir_measures skips queries without a candidate; they count 0.
    values = {(str(measure), judged.query): 0.0 for measure in METRICS.values() for judged in scores.judged}
    for metric in ir_measures.iter_calc(list(METRICS.values()), qrels, run):
        values[str(metric.measure), metric.query_id] = metric.value
    return {
        name: np.array([values[str(measure), judged.query] for judged in scores.judged])
        for name, measure in METRICS.items()
    }


def of_selection(scores: WindowScores, aggregate: TopWindows, selection: str, k: int) -> Values:
    """Return `values_by_query` for the ``k`` best windows of a selection."""
    chosen_NP = best_windows(scores.selections[selection], scores.mask_NP, k)
    return values_by_query(scores, aggregate, chosen_NP)


def recall_of_best(scores: WindowScores, selection: str, k: int) -> NDArray[np.float64]:
    """Return the share of ETM's own ``k`` best windows that a selection chooses, per document (N,)."""
    best_NP = best_windows(scores.etm_NP, scores.mask_NP, k)
    chosen_NP = best_windows(scores.selections[selection], scores.mask_NP, k)
    shares: NDArray[np.float64] = ((best_NP & chosen_NP).sum(1) / best_NP.sum(1)).double().numpy()
    return shares


def share_of_all(values: NDArray[np.float64], all_windows: NDArray[np.float64]) -> float:
    """Return the mean of a metric as a share of its mean with all windows; 0 if that is 0."""
    return float(values.mean() / all_windows.mean()) if all_windows.mean() > 0 else 0.0


def measures(scores: WindowScores, aggregate: TopWindows, ks: Iterable[int]) -> list[Metric]:
    """Measure all windows, then every selection at every k.

    Of a selection: metrics, difference from all windows and share of them, recall of ETM's best windows, and how far
    the first selection, which is the cascade's, is above it.
    """
    all_windows = values_by_query(scores, aggregate, scores.mask_NP)
    rows = [_mean(ALL, name, values) for name, values in all_windows.items()]
    for k in ks:
        values = {name: of_selection(scores, aggregate, name, k) for name in scores.selections}
        for name in scores.selections:
            rows += _compared(f"{name}, k = {k}", values[name], all_windows)
            rows.append(_mean(f"{name}, k = {k}", "recall of ETM's best windows", recall_of_best(scores, name, k)))
        rows += _above(values, k)
    return rows


def _above(values: Mapping[str, Values], k: int) -> list[Metric]:
    """Return how far the first selection is above each other one, on the first metric."""
    (first, first_values), *others = values.items()
    name = next(iter(METRICS))
    return [
        Metric(
            f"{first} above it, {name}",
            *paired_difference(first_values[name], other_values[name]),
            count=len(first_values[name]),
            arm=f"{other}, k = {k}",
        )
        for other, other_values in others
    ]


def _compared(arm: str, values: Values, all_windows: Values) -> list[Metric]:
    name = next(iter(METRICS))
    queries = len(all_windows[name])
    difference = paired_difference(values[name], all_windows[name])
    return [
        *[_mean(arm, metric, per_query) for metric, per_query in values.items()],
        Metric(f"share of all windows' {name}", share_of_all(values[name], all_windows[name]), count=queries, arm=arm),
        Metric(f"{name} - all windows", *difference, count=queries, arm=arm),
    ]


def _mean(arm: str, name: str, values: NDArray[np.float64]) -> Metric:
    return Metric(name, *bootstrap_mean(values), count=len(values), arm=arm)
