"""Effectiveness of the cascade: re-ranking by all windows, and by k of them as several selections choose them.

Window scores of both modules are given, so every k and every selection costs no further forward pass: a window's score
does not depend on which others are scored, which a test of `predict.Cascade` holds to.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
import torch
from ir_measures import RR, nDCG
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.idcm.data import Judged
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
class Scored:
    """Candidates of the test queries with window scores: ``etm_NP``, and one ``selections`` tensor (N, P) a selection.

    The ``k`` windows of highest selection score are given to ETM.
    """

    judged: Sequence[Judged]
    pairs: Sequence[Pair]
    etm_NP: Tensor  # noqa: N815
    mask_NP: Tensor  # noqa: N815
    selections: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, judged: Sequence[Judged], pairs: Sequence[Pair], etm: Sequence[Tensor], selections: Mapping[str, Tensor]
    ) -> "Scored":
        """From ETM's window scores of each pair, shape (P,) each."""
        scores_NP, mask_NP = by_document(torch.cat(list(etm)), [len(each) for each in etm])
        return cls(judged, pairs, scores_NP, mask_NP, selections)


def among_best(scores_NP: Tensor, mask_NP: Tensor, k: int) -> Tensor:
    """True for the ``k`` windows of highest score of each document, earlier ones first among equals: (N, P)."""
    order_NP = scores_NP.masked_fill(~mask_NP, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(mask_NP).scatter(1, order_NP[:, :k], True) & mask_NP


def values_by_query(scored: Scored, aggregate: TopWindows, chosen_NP: Tensor) -> Values:
    """Each metric of each query, in the order of ``judged``, when ETM scores the chosen windows."""
    with torch.no_grad():
        documents_N = aggregate(scored.etm_NP, chosen_NP & scored.mask_NP).tolist()
    run = [
        ir_measures.ScoredDoc(pair.query, pair.document, score)
        for pair, score in zip(scored.pairs, documents_N, strict=True)
    ]
    qrels = {each.query: dict(each.grades) for each in scored.judged}
    # A query without a candidate is in no ranking, and has 0.
    found = {(str(measure), each.query): 0.0 for measure in METRICS.values() for each in scored.judged}
    for metric in ir_measures.iter_calc(list(METRICS.values()), qrels, run):
        found[str(metric.measure), metric.query_id] = metric.value
    return {
        name: np.array([found[str(measure), each.query] for each in scored.judged]) for name, measure in METRICS.items()
    }


def of_selection(scored: Scored, aggregate: TopWindows, selection: str, k: int) -> Values:
    """`values_by_query` of ``k`` windows by a selection."""
    chosen_NP = among_best(scored.selections[selection], scored.mask_NP, k)
    return values_by_query(scored, aggregate, chosen_NP)


def recall_of_best(scored: Scored, selection: str, k: int) -> NDArray[np.float64]:
    """Share of ETM's own ``k`` best windows that a selection chooses, by document: intra-document recall."""
    wanted_NP = among_best(scored.etm_NP, scored.mask_NP, k)
    chosen_NP = among_best(scored.selections[selection], scored.mask_NP, k)
    shares: NDArray[np.float64] = ((wanted_NP & chosen_NP).sum(1) / wanted_NP.sum(1)).double().numpy()
    return shares


def share_of_all(values: NDArray[np.float64], every: NDArray[np.float64]) -> float:
    """Mean of a metric as a share of its mean over all windows."""
    return float(values.mean() / every.mean()) if every.mean() > 0 else 0.0


def measures(scored: Scored, aggregate: TopWindows, ks: Iterable[int]) -> list[Metric]:
    """All windows, then every selection at every k: metrics, difference from all windows, share of them, recall, and
    how far the first selection, the cascade's own, is above each other one.
    """
    every = values_by_query(scored, aggregate, scored.mask_NP)
    found = [_mean(ALL, name, values) for name, values in every.items()]
    for k in ks:
        values = {name: of_selection(scored, aggregate, name, k) for name in scored.selections}
        for name in scored.selections:
            found += _compared(f"{name}, k = {k}", values[name], every)
            found.append(_mean(f"{name}, k = {k}", "recall of ETM's best windows", recall_of_best(scored, name, k)))
        found += _above(values, k)
    return found


def _above(values: Mapping[str, Values], k: int) -> list[Metric]:
    (first, own), *others = values.items()
    name = next(iter(METRICS))
    return [
        Metric(
            f"{first} above it, {name}",
            *paired_difference(own[name], each[name]),
            count=len(own[name]),
            arm=f"{other}, k = {k}",
        )
        for other, each in others
    ]


def _compared(arm: str, values: Values, every: Values) -> list[Metric]:
    name = next(iter(METRICS))
    difference = paired_difference(values[name], every[name])
    return [
        *[_mean(arm, metric, each) for metric, each in values.items()],
        Metric(
            f"share of all windows' {name}", share_of_all(values[name], every[name]), count=len(every[name]), arm=arm
        ),
        Metric(f"{name} - all windows", *difference, count=len(every[name]), arm=arm),
    ]


def _mean(arm: str, name: str, values: NDArray[np.float64]) -> Metric:
    return Metric(name, *bootstrap_mean(values), count=len(values), arm=arm)
