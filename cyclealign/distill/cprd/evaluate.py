"""Retrieval of the own caption and image, and the order of all others against the graded truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cyclealign.evaluation.intervals import of_runs
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

DEPTHS = (1, 5, 10)
CURVE = (1, 2, 3, 5, 8, 10, 15, 20, 30)
REFERENCE = "cprd"

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


def recall(similarity: Matrix, own: Mask, depth: int) -> float:
    """Share of images that find a text of theirs, and of texts that find their image, among the first ``depth``; their
    mean."""
    return float(np.mean([_found(similarity, own, depth), _found(similarity.T, own.T, depth)]))


def _found(similarity: Matrix, own: Mask, depth: int) -> float:
    best = np.where(own, similarity, -np.inf).max(axis=1)[:, None]
    return float(((similarity > best).sum(axis=1) < depth).mean())


def graded(similarity: Matrix, truth: Matrix, own: Mask) -> float | None:
    """Spearman correlation of similarity and true overlap over the others of each query, mean of both directions.

    Queries whose others all overlap alike are left out; None where no query is left.
    """
    return _mean([*_spearman(similarity, truth, own), *_spearman(similarity.T, truth.T, own.T)])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _spearman(similarity: Matrix, truth: Matrix, own: Mask) -> list[float]:
    found = []
    for row, given, mask in zip(similarity, truth, ~own, strict=True):
        if mask.any() and np.ptp(given[mask]) > 0:
            flat = np.ptp(row[mask]) == 0  # a student that tells nothing apart has no order
            found.append(0.0 if flat else float(np.corrcoef(rankdata(row[mask]), rankdata(given[mask]))[0, 1]))
    return found


def ndcg(similarity: Matrix, truth: Matrix, own: Mask, depth: int = 10) -> float | None:
    """nDCG of the others of each query, gains are overlaps, mean of both directions.

    Queries without gain are left out; None where no query is left.
    """
    return _mean([*_ndcg(similarity, truth, own, depth), *_ndcg(similarity.T, truth.T, own.T, depth)])


def _ndcg(similarity: Matrix, truth: Matrix, own: Mask, depth: int) -> list[float]:
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    found = []
    for row, given, others in zip(similarity, truth, ~own, strict=True):
        gains = given[others]
        ideal = np.sort(gains)[::-1][:depth]
        if ideal.sum() > 0:
            ranked = gains[np.argsort(-row[others], kind="stable")][:depth]
            found.append(float((ranked * discounts[: len(ranked)]).sum() / (ideal * discounts[: len(ideal)]).sum()))
    return found


def figures(similarity: Matrix, truth: Matrix, own: Mask) -> dict[str, float]:
    """All figures of one student; one that the test pairs leave undefined is left out.

    Args:
        similarity, truth, own: shape (images, texts); ``own`` says which texts are captions of which image.
    """
    found = {f"recall@{depth}": recall(similarity, own, depth) for depth in DEPTHS}
    degrees = {"graded (Spearman)": graded(similarity, truth, own), "graded (nDCG@10)": ndcg(similarity, truth, own)}
    return {**found, **{name: value for name, value in degrees.items() if value is not None}}


def measures(arms: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Metric]:
    """Means over runs of each arm, and how far CPRD is above each other arm, paired by run."""
    made = []
    for arm, runs in arms.items():
        for name in runs[0]:
            made.append(Metric(name, *of_runs([run[name] for run in runs]), count=len(runs), arm=arm))
    for arm, runs in arms.items():
        if REFERENCE in arms and arm != REFERENCE:
            for name in runs[0]:
                above = [ours[name] - theirs[name] for ours, theirs in zip(arms[REFERENCE], runs, strict=True)]
                made.append(Metric(f"CPRD above it, {name}", *of_runs(above), count=len(above), arm=arm))
    return made


def curve(arm: str, similarities: Sequence[Matrix], own: Mask) -> Curve:
    """Recall over depth, mean over runs."""
    depths = [depth for depth in CURVE if depth <= len(similarities[0])]
    heights = [float(np.mean([recall(each, own, depth) for each in similarities])) for depth in depths]
    return Curve(arm, "recall", "depth", tuple(float(depth) for depth in depths), tuple(heights))
