"""Teachers: scores of (query, passage) pairs, made once and kept; or read from a published file."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.data.retrieval import Run, hashes_of
from cyclealign.distill.label_cache import cached_labels_in_parts, parts_of
from cyclealign.distill.margin_mse.config import DEMO, Config
from cyclealign.distill.margin_mse.data import Collection, Triple
from cyclealign.distill.margin_mse.students.cat import cross_encoder, ready_cross_encoder
from cyclealign.distill.margin_mse.train import Tell, TrainingSet
from cyclealign.distill.models.encoders import identity
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, numbered_lines

Pair = tuple[str, str]
Scorer = Callable[[Sequence[Pair]], NDArray[np.float64]]

# The simulated teacher's scores span about what a cross-encoder's do (the paper's figure: margins of about twelve).
SIMULATED_RANGE = 8.0


def simulated(collection: Collection, noise: float, seed: int) -> Scorer:
    """The demo world's truth with normal noise; a pair has the same noise whenever it is asked for."""

    def noise_of(pair: Pair) -> float:
        digest = hashlib.sha256(json.dumps([seed, *pair]).encode()).digest()
        return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).normal())

    def score(pairs: Sequence[Pair]) -> NDArray[np.float64]:
        return np.array([SIMULATED_RANGE * collection.gold(*pair) + noise * noise_of(pair) for pair in pairs])

    return score


def ensemble(models: Sequence[str], collection: Collection, config: Config) -> Scorer:
    """The mean of the raw scores of cross-encoders, without rescaling (the paper's T2); of one model, its own (T1).

    Raises:
        DistillError: a model cannot be loaded, or was not trained to give one score.
    """
    loaded = [ready_cross_encoder(each, _longest(config)) for each in models]

    def score(pairs: Sequence[Pair]) -> NDArray[np.float64]:
        texts = [(collection.queries[query], collection.documents[passage]) for query, passage in pairs]
        rows = [
            model.predict(
                texts, batch_size=config.teacher.batch, show_progress_bar=False, activation_fn=torch.nn.Identity()
            )
            for model in loaded
        ]
        return np.mean(np.asarray(rows, dtype=np.float64), axis=0)

    return score


def ready(config: Config, collection: Collection) -> Scorer | None:
    """The teacher, if it can be had without training; made before the long work, so that it is refused before that.

    Raises:
        DistillError: a model of the settings does not suit the kind of teacher.
    """
    if config.teacher.kind == "simulated":
        return simulated(collection, config.data.demo.teacher_noise, config.seed)
    if config.teacher.kind == "cross_encoders":
        return ensemble(config.teacher.models, collection, config)
    if config.teacher.kind == "trained":
        for each in config.teacher.models:
            if each != DEMO:
                cross_encoder(each, _longest(config))
    return None


def _longest(config: Config) -> int:
    """Tokens of a query and a passage together."""
    return config.student.query_tokens + config.student.passage_tokens


def label_pairs(
    score: Scorer, pairs: Sequence[Pair], made_of: Mapping[str, object], folder: Path, size: int, tell: Tell
) -> dict[Pair, float]:
    """The teacher's score of each pair, computed once and kept part by part."""
    digest = hashlib.sha256(json.dumps(list(pairs)).encode()).hexdigest()
    found = cached_labels_in_parts(
        folder,
        {**made_of, "pairs": digest},
        parts_of(len(pairs), size),
        lambda part: {"scores": score([pairs[number] for number in part])},
        tell,
    )
    return dict(zip(pairs, found["scores"].astype(np.float64).tolist(), strict=True)) if pairs else {}


def made_of(config: Config, collection: Collection, models: Sequence[str]) -> dict[str, object]:
    """All that the teacher's scores depend on, besides the pairs."""
    texts = hashlib.sha256(json.dumps([dict(collection.documents), dict(collection.queries)]).encode()).hexdigest()
    told: dict[str, object] = {"teacher": config.teacher.kind, "texts": texts}
    if config.teacher.kind == "simulated":
        return {**told, "noise": config.data.demo.teacher_noise, "seed": config.seed}
    longest = [config.student.query_tokens, config.student.passage_tokens]
    return {**told, "models": [identity(each) for each in models], "longest": longest}


def lesson_of(triples: Sequence[Triple], scores: Mapping[Pair, float]) -> TrainingSet:
    """Triples with the scores of their two pairs."""
    rows = [[scores[query, positive], scores[query, negative]] for query, positive, negative in triples]
    return TrainingSet(triples, np.array(rows, dtype=np.float64))


def run_of(scores: Mapping[Pair, float]) -> Run:
    """The teacher's own ranking of the pairs that it scored."""
    run: Run = {}
    for (query_id, passage_id), score in scores.items():
        run.setdefault(query_id, {})[passage_id] = score
    return run


def read_scores(path: Path, collection: Collection, most: int) -> TrainingSet:
    """Triples and scores of a published file: pos_score, neg_score, query_id, pos_id, neg_id between tabs.

    Raises:
        DistillError: it cannot be read, a row has another form, or an id is not in the collection.
    """
    triples: list[Triple] = []
    scores: list[tuple[float, float]] = []
    for where, line in islice(numbered_lines(path, DistillError), most):
        triple, pair = _row(line, where, collection)
        triples.append(triple)
        scores.append(pair)
    if not triples:
        raise DistillError(f"{path}: there is no score in it.")
    return TrainingSet(triples, np.array(scores))


def _row(line: str, where: str, collection: Collection) -> tuple[Triple, tuple[float, float]]:
    try:
        positive_score, negative_score, query, positive, negative = line.split("\t")
        scores = float(positive_score), float(negative_score)
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a finite number")
    except ValueError as error:
        raise DistillError(
            f"{where}: want pos_score, neg_score, query_id, pos_id, neg_id between tabs ({error})."
        ) from error
    missing = [each for each in (positive, negative) if each not in collection.documents]
    if query not in collection.queries or missing:
        raise DistillError(
            f"{where}: '{(missing or [query])[0]}' is not among the passages and queries of data.source."
        )
    return (query, positive, negative), scores


def write_scores(path: Path, lesson: TrainingSet) -> None:
    """Write the file that `read_scores` reads."""
    rows = zip(lesson.triples, lesson.scores_T2.tolist(), strict=True)
    lines = [f"{scores[0]!r}\t{scores[1]!r}\t" + "\t".join(triple) for triple, scores in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def unlabelled(triples: Sequence[Triple]) -> TrainingSet:
    """Triples for a loss that asks no teacher."""
    return TrainingSet(triples, np.zeros((len(triples), 2)))


def inputs_of(config: Config) -> dict[str, str]:
    """What data and models that the settings name are known by: others are another run."""
    names = [config.teacher.scores, config.student.embeddings]
    paths = [Path(each) for each in names if each]
    models = [*config.teacher.models, *([config.student.model] if config.student.kind != "tk" else [])]
    return {
        **(hashes_of(config.data.source, config.splits) if config.data.source != DEMO else {}),
        **{str(path): hash_of_file(path) for path in paths if path.exists()},
        **{each: identity(each) for each in models if each != DEMO},
    }
