"""Labels: the teacher's scores of (query, passage) pairs, computed once and cached; training sets made of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.label_cache import cached_labels_in_parts, parts_of
from cyclealign.distill.margin_mse.config import Config
from cyclealign.distill.margin_mse.data import Collection, Triple
from cyclealign.distill.margin_mse.teacher_models import Pair, Scorer
from cyclealign.distill.models.encoders import model_identity
from cyclealign.progress import OnProgress


@dataclass(frozen=True)
class TrainingSet:
    """Triples with the teacher's scores of (positive, negative), shape (T, 2)."""

    triples: Sequence[Triple]
    scores_T2: NDArray[np.float64]  # noqa: N815


def label_pairs(
    score: Scorer,
    pairs: Sequence[Pair],
    made_of: Mapping[str, object],
    folder: Path,
    pairs_per_part: int,
    on_progress: OnProgress,
) -> dict[Pair, float]:
    """Return the teacher's score of each pair, computed once and cached in parts.

    Args:
        made_of: everything else that the scores depend on, from `label_key`.
        folder: the job's label cache.
        pairs_per_part: an interrupted run loses at most so many pairs.
    """
    digest = hashlib.sha256(json.dumps(list(pairs)).encode()).hexdigest()
    labels = cached_labels_in_parts(
        folder,
        {**made_of, "pairs": digest},
        parts_of(len(pairs), pairs_per_part),
        lambda part: {"scores": score([pairs[number] for number in part])},
        on_progress,
    )
    return dict(zip(pairs, labels["scores"].astype(np.float64).tolist(), strict=True)) if pairs else {}


def label_key(config: Config, collection: Collection, models: Sequence[str]) -> dict[str, object]:
    """Return everything that the teacher's scores depend on, apart from the pairs."""
    texts = hashlib.sha256(json.dumps([dict(collection.documents), dict(collection.queries)]).encode()).hexdigest()
    key: dict[str, object] = {"teacher": config.teacher.kind, "texts": texts}
    if config.teacher.kind == "simulated":
        return {**key, "noise": config.data.demo.teacher_noise, "seed": config.seed}
    longest = [config.student.query_tokens, config.student.passage_tokens]
    return {**key, "models": [model_identity(model) for model in models], "longest": longest}


def training_set(triples: Sequence[Triple], scores: Mapping[Pair, float]) -> TrainingSet:
    """Return triples with the scores of their two pairs."""
    rows = [[scores[query, positive], scores[query, negative]] for query, positive, negative in triples]
    return TrainingSet(triples, np.array(rows, dtype=np.float64))


def unlabelled(triples: Sequence[Triple]) -> TrainingSet:
    """Return triples with scores of 0, for a loss without a teacher."""
    return TrainingSet(triples, np.zeros((len(triples), 2)))


def with_offsets(training_set: TrainingSet, deviation: float, seed: int) -> TrainingSet:
    """Add a random offset per query, drawn from N(0, deviation^2), to the teacher's scores.

    No ranking changes. The offset simulates a teacher whose range of scores differs between queries.
    """
    triples = training_set.triples
    draw = np.random.default_rng(seed)
    offset = {query: deviation * draw.normal() for query in dict.fromkeys(query for query, _, _ in triples)}
    offsets_T = np.array([offset[query] for query, _, _ in triples])
    return TrainingSet(triples, training_set.scores_T2 + offsets_T[:, None])


def run_of(scores: Mapping[Pair, float]) -> Run:
    """Return the teacher's own ranking of the pairs that it scored."""
    run: Run = {}
    for (query_id, passage_id), score in scores.items():
        run.setdefault(query_id, {})[passage_id] = score
    return run
