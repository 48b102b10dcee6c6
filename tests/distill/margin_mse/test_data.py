"""Collections, candidates and triples: files in BEIR's format, demo data, errors that name the line."""

import json

import numpy as np
import pytest

from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
from cyclealign.distill.margin_mse.config import Config, DataSettings, DemoSettings, TeacherSettings
from cyclealign.distill.margin_mse.data import draw_triples, pairs_of, read_collection
from cyclealign.distill.margin_mse.demo_data import demo_collection
from cyclealign.errors import DistillError
from tests.distill.margin_mse.conftest import PASSAGES, QRELS, QUERIES

READY = TeacherSettings(kind="cross_encoders", models=("ready",))


def write_beir(folder, passages=PASSAGES, queries=QUERIES, qrels=QRELS):
    corpus = [{"_id": key, "title": "", "text": text} for key, text in passages.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)), encoding="utf-8")
    query_rows = [{"_id": key, "text": text} for key, text in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, query_rows)), encoding="utf-8")
    (folder / "qrels").mkdir(exist_ok=True)
    for split, rows in qrels.items():
        lines = [f"{query}\t{passage}\t{grade}" for query, judged in rows.items() for passage, grade in judged.items()]
        text = "\n".join(["query-id\tcorpus-id\tscore", *lines])
        (folder / "qrels" / f"{split}.tsv").write_text(text + "\n", encoding="utf-8")
    return folder


def read(folder):
    return read_collection(Config(data=DataSettings(source=str(folder)), teacher=READY))


def test_a_folder_in_beir_format_is_read(tmp_path):
    """Prevents lost passages, queries or judgements."""
    collection = read(write_beir(tmp_path))
    assert collection.documents == PASSAGES
    assert collection.queries == QUERIES
    assert collection.qrels == QRELS
    assert collection.queries_of("test") == {"q3": QUERIES["q3"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", '{"_id": "p1", "text": "a"}\n{"_id": "p2"}\n', "corpus.jsonl, line 2"),
        ("queries.jsonl", "no json\n", "queries.jsonl, line 1"),
        ("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\n", "train.tsv, line 2"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\tp1\t1\n", "split 'test'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, name, content, message):
    """Prevents a run on part of a collection."""
    (write_beir(tmp_path) / name).write_text(content, encoding="utf-8")
    with pytest.raises(DistillError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_training_and_validation_queries_are_not_test_queries(tmp_path, split):
    """Prevents metrics of a student that was trained or selected on its test queries."""
    folder = write_beir(tmp_path, qrels={"dev": {"q2": {"p2": 1}}, **QRELS, split: {"q3": {"p4": 1}}})
    data = {"source": str(folder), "validation_split": "dev"}
    config = Config(data=data, teacher=READY, training={"validate_every": 1})
    with pytest.raises(DistillError, match=rf"1 queries are in both split '(test|{split})' .* for example 'q3'"):
        read_collection(config)


def test_demo_splits_must_exist_and_differ():
    """Prevents a demo run that is tested on its training queries, or fails late because of a misspelt split."""
    demo = DemoSettings(passages=120, train_queries=10, test_queries=10)
    with pytest.raises(DistillError, match="10 queries are in both split 'train' and split 'train'"):
        read_collection(Config(data=DataSettings(demo=demo, test_split="train")))
    with pytest.raises(DistillError, match="have no split 'dev', only train, test"):
        read_collection(Config(data=DataSettings(demo=demo, test_split="dev")))


def test_a_missing_file_is_named(tmp_path):
    """Prevents a bare FileNotFoundError of a library."""
    (write_beir(tmp_path) / "queries.jsonl").unlink()
    with pytest.raises(DistillError, match=r"queries\.jsonl"):
        read(tmp_path)


def test_bm25_ranks_by_shared_rare_words(collection):
    """Prevents candidates that share no word with their query."""
    run = bm25_run(collection.documents, {"q": "bird sings", "none": "zebra"}, 3)
    assert candidate_ids(run)["q"] == ["p3", "p4"]
    assert run["none"] == {}


def test_a_positive_is_never_a_negative(collection):
    """Prevents triples that contradict the judgements, and triples that differ between runs of one seed."""
    candidates = {query_id: ["p1", "p2", "p3", "p4"] for query_id in collection.queries}
    data = DataSettings(negatives=2)
    triples = draw_triples(collection, "train", candidates, data, 0)
    assert len(triples) == 4
    assert all(positive in QRELS["train"][query] for query, positive, _ in triples)
    assert all(negative not in QRELS["train"][query] for query, _, negative in triples)
    assert {query for query, _, _ in triples} == {"q1", "q2"}
    assert draw_triples(collection, "train", candidates, data, 0) == triples
    assert len(pairs_of(triples)) == 6
    with pytest.raises(DistillError, match="no training triple"):
        draw_triples(collection, "train", {}, data, 0)


def test_demo_data_follow_from_the_seed_and_grades_follow_relevance():
    """Prevents demo results that cannot be reproduced, and judgements that contradict the true relevance."""
    settings = DemoSettings(passages=150, train_queries=10, test_queries=10)
    first, second, other = demo_collection(settings, 3), demo_collection(settings, 3), demo_collection(settings, 4)
    assert (first.passages, first.qrels) == (second.passages, second.qrels)
    assert first.passages != other.passages
    graded = [
        (grade, first.relevance(query, passage))
        for query, judged in first.qrels["test"].items()
        for passage, grade in judged.items()
    ]
    assert all((grade == 3) == (relevance > 0.9) and relevance > 0.6 for grade, relevance in graded)
    assert {len(judged) for judged in first.qrels["train"].values()} == {1}


def test_word_overlap_does_not_decide_demo_relevance():
    """Prevents demo data on which BM25 leaves nothing to learn."""
    demo = demo_collection(DemoSettings(passages=400, train_queries=10, test_queries=30), 0)
    shared, unshared = [], []
    for query, judged in demo.qrels["test"].items():
        words = set(demo.queries[query].split())
        for passage in judged:
            (shared if words & set(demo.passages[passage].split()) else unshared).append(passage)
    assert len(unshared) > 0.2 * len(shared)
    assert np.mean([len(judged) for judged in demo.qrels["test"].values()]) > 5
