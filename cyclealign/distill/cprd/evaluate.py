"""Retrieval of the own caption and image, and the order of all others against the graded truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cyclealign.distill.intervals import of_runs
from cyclealign.distill.outcome import Curve, Measure

DEPTHS = (1, 5, 10)
CURVE = (1, 2, 3, 5, 8, 10, 15, 20, 30)
REFERENCE = "cprd"

Matrix = NDArray[np.float64]


def recall(similarity: Matrix, depth: int) -> float:
    """Share of images that find their text, and texts that find their image, among the first ``depth``; their mean."""
    return float(np.mean([_found(similarity, depth), _found(similarity.T, depth)]))


def _found(similarity: Matrix, depth: int) -> float:
    own = similarity.diagonal()[:, None]
    return float(((similarity > own).sum(axis=1) < depth).mean())


def graded(similarity: Matrix, truth: Matrix) -> float:
    """Spearman correlation of similarity and true overlap over the others of each query, mean of both directions."""
    return float(np.mean([*_spearman(similarity, truth), *_spearman(similarity.T, truth.T)]))


def _spearman(similarity: Matrix, truth: Matrix) -> list[float]:
    others = ~np.eye(len(similarity), dtype=bool)
    found = []
    for row, given, mask in zip(similarity, truth, others, strict=True):
        if np.ptp(given[mask]) > 0:
            found.append(float(np.corrcoef(rankdata(row[mask]), rankdata(given[mask]))[0, 1]))
    return found


def ndcg(similarity: Matrix, truth: Matrix, depth: int = 10) -> float:
    """nDCG of the others of each query, gains are overlaps, mean of both directions; queries without gain left out."""
    return float(np.mean([*_ndcg(similarity, truth, depth), *_ndcg(similarity.T, truth.T, depth)]))


def _ndcg(similarity: Matrix, truth: Matrix, depth: int) -> list[float]:
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    found = []
    for number, (row, given) in enumerate(zip(similarity, truth, strict=True)):
        others = np.arange(len(row)) != number
        gains = given[others]
        ideal = np.sort(gains)[::-1][:depth]
        if ideal.sum() > 0:
            ranked = gains[np.argsort(-row[others], kind="stable")][:depth]
            found.append(float((ranked * discounts[: len(ranked)]).sum() / (ideal * discounts[: len(ideal)]).sum()))
    return found


def figures(similarity: Matrix, truth: Matrix) -> dict[str, float]:
    """All figures of one student."""
    recalls = {f"recall@{depth}": recall(similarity, depth) for depth in DEPTHS}
    return {**recalls, "graded (Spearman)": graded(similarity, truth), "graded (nDCG@10)": ndcg(similarity, truth)}


def measures(arms: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Measure]:
    """Means over runs of each arm, and how far CPRD is above each other arm, paired by run."""
    made = []
    for arm, runs in arms.items():
        for name in runs[0]:
            made.append(Measure(arm, name, *of_runs([run[name] for run in runs]), items=len(runs)))
    for arm, runs in arms.items():
        if REFERENCE in arms and arm != REFERENCE:
            for name in runs[0]:
                above = [ours[name] - theirs[name] for ours, theirs in zip(arms[REFERENCE], runs, strict=True)]
                made.append(Measure(arm, f"CPRD above it, {name}", *of_runs(above), items=len(above)))
    return made


def curve(arm: str, similarities: Sequence[Matrix]) -> Curve:
    """Recall over depth, mean over runs."""
    depths = [depth for depth in CURVE if depth <= len(similarities[0])]
    heights = [float(np.mean([recall(each, depth) for each in similarities])) for depth in depths]
    return Curve(arm, "recall", "depth", tuple(float(depth) for depth in depths), tuple(heights))
