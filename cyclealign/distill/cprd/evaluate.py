"""Retrieval of the own caption or image, and the order of all others against their graded relevance."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cyclealign.evaluation.intervals import of_runs
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

DEPTHS = (1, 5, 10)
CURVE_DEPTHS = (1, 2, 3, 5, 8, 10, 15, 20, 30)
REFERENCE = "cprd"  # the arm that the others are compared with, and whose student is kept

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


def recall(similarity: Matrix, own: Mask, depth: int) -> float:
    """Return recall at ``depth``, the mean of both directions.

    It is the share of images with a text of their own among the first ``depth``, and of texts with their image.
    """
    return float(np.mean([_recall(similarity, own, depth), _recall(similarity.T, own.T, depth)]))


def _recall(similarity: Matrix, own: Mask, depth: int) -> float:
    best = np.where(own, similarity, -np.inf).max(axis=1)[:, None]
    return float(((similarity > best).sum(axis=1) < depth).mean())


def graded(similarity: Matrix, truth: Matrix, own: Mask) -> float | None:
    """Return the Spearman correlation of similarity and overlap over the others of each query, mean of both directions.

    Queries whose others all have the same overlap are left out; None if no query is left.
    """
    return _mean([*_spearman(similarity, truth, own), *_spearman(similarity.T, truth.T, own.T)])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _spearman(similarity: Matrix, truth: Matrix, own: Mask) -> list[float]:
    correlations = []
    for scores, overlaps, others in zip(similarity, truth, ~own, strict=True):
        if others.any() and np.ptp(overlaps[others]) > 0:
            if np.ptp(scores[others]) == 0:  # equal scores give no order
                correlations.append(0.0)
                continue
            ranks = rankdata(scores[others]), rankdata(overlaps[others])
            correlations.append(float(np.corrcoef(*ranks)[0, 1]))
    return correlations


def ndcg(similarity: Matrix, truth: Matrix, own: Mask, depth: int = 10) -> float | None:
    """Return nDCG at ``depth`` of the others of each query, with overlaps as gains, mean of both directions.

    Queries without gain are left out; None if no query is left.
    """
    return _mean([*_ndcg(similarity, truth, own, depth), *_ndcg(similarity.T, truth.T, own.T, depth)])


def _ndcg(similarity: Matrix, truth: Matrix, own: Mask, depth: int) -> list[float]:
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    values = []
    for scores, overlaps, others in zip(similarity, truth, ~own, strict=True):
        gains = overlaps[others]
        ideal = np.sort(gains)[::-1][:depth]
        if ideal.sum() > 0:
            ranked = gains[np.argsort(-scores[others], kind="stable")][:depth]
            values.append(float((ranked * discounts[: len(ranked)]).sum() / (ideal * discounts[: len(ideal)]).sum()))
    return values


def figures(similarity: Matrix, truth: Matrix, own: Mask) -> dict[str, float]:
    """Return all figures of one student, without those that the test pairs leave undefined.

    Args:
        similarity: cosines, shape (images, texts).
        truth: overlap, from 0 to 1, the same shape.
        own: which texts are captions of which image, the same shape.
    """
    recalls = {f"recall@{depth}": recall(similarity, own, depth) for depth in DEPTHS}
    by_grade = {"graded (Spearman)": graded(similarity, truth, own), "graded (nDCG@10)": ndcg(similarity, truth, own)}
    return {**recalls, **{name: value for name, value in by_grade.items() if value is not None}}


def measures(arms: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Metric]:
    """Return the means of each arm over its runs, and CPRD minus each other arm, paired by run."""
    rows = []
    for arm, runs in arms.items():
        for name in runs[0]:
            rows.append(Metric(name, *of_runs([run[name] for run in runs]), count=len(runs), arm=arm))
    for arm, runs in arms.items():
        if REFERENCE in arms and arm != REFERENCE:
            for name in runs[0]:
                differences = [cprd[name] - other[name] for cprd, other in zip(arms[REFERENCE], runs, strict=True)]
                rows.append(Metric(f"CPRD above it, {name}", *of_runs(differences), count=len(differences), arm=arm))
    return rows


def curve(arm: str, similarities: Sequence[Matrix], own: Mask) -> Curve:
    """Return recall over depth, averaged over runs."""
    depths = [depth for depth in CURVE_DEPTHS if depth <= len(similarities[0])]
    heights = [float(np.mean([recall(run, own, depth) for run in similarities])) for depth in depths]
    return Curve(arm, "recall", "depth", tuple(float(depth) for depth in depths), tuple(heights))
