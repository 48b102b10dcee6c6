"""Published files of teacher scores: tab-separated pos_score, neg_score, query_id, pos_id, neg_id."""

from itertools import islice
from pathlib import Path

import numpy as np

from cyclealign.distill.margin_mse.data import Collection, Triple
from cyclealign.distill.margin_mse.labels import TrainingSet
from cyclealign.errors import DistillError
from cyclealign.files import numbered_lines


def read_scores(path: Path, collection: Collection, max_triples: int) -> TrainingSet:
    """Read triples with their scores; lines after the first ``max_triples`` are ignored.

    Raises:
        DistillError: the file cannot be read or is empty, a line is malformed, or an id is not in the collection.
    """
    triples: list[Triple] = []
    scores: list[tuple[float, float]] = []
    for where, line in islice(numbered_lines(path, DistillError), max_triples):
        triple, pair_scores = _parse_line(line, where, collection)
        triples.append(triple)
        scores.append(pair_scores)
    if not triples:
        raise DistillError(f"{path}: the file holds no scores.")
    return TrainingSet(triples, np.array(scores))


def _parse_line(line: str, where: str, collection: Collection) -> tuple[Triple, tuple[float, float]]:
    try:
        positive_score, negative_score, query, positive, negative = line.split("\t")
        scores = float(positive_score), float(negative_score)
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a finite number")
    except ValueError as error:
        raise DistillError(
            f"{where}: expected pos_score, neg_score, query_id, pos_id, neg_id, tab-separated ({error})."
        ) from error
    unknown = [passage for passage in (positive, negative) if passage not in collection.documents]
    if query not in collection.queries:
        unknown.append(query)
    if unknown:
        raise DistillError(f"{where}: '{unknown[0]}' is not among the passages and queries of data.source.")
    return (query, positive, negative), scores


def write_scores(path: Path, training_set: TrainingSet) -> None:
    """Write a file for `read_scores`."""
    rows = zip(training_set.triples, training_set.scores_T2.tolist(), strict=True)
    lines = [f"{scores[0]!r}\t{scores[1]!r}\t" + "\t".join(triple) for triple, scores in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
