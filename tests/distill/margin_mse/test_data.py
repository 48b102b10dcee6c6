"""Collections, candidates and triples: files in BEIR's format, the demo world, errors that name the line."""

import json

import numpy as np
import pytest

from cyclealign.distill.data.bm25 import bm25, candidate_ids
from cyclealign.distill.margin_mse.config import Config, DataSettings, TeacherSettings, WorldSettings
from cyclealign.distill.margin_mse.data import draw_triples, load_collection, pairs_of
from cyclealign.distill.margin_mse.demo_data import make_world
from cyclealign.errors import DistillError
from tests.distill.margin_mse.conftest import PASSAGES, QRELS, QUERIES

READY = TeacherSettings(kind="cross_encoders", models=("ready",))


def write_beir(folder, passages=PASSAGES, queries=QUERIES, qrels=QRELS):
    corpus = [{"_id": key, "title": "", "text": text} for key, text in passages.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)), encoding="utf-8")
    asked = [{"_id": key, "text": text} for key, text in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    (folder / "qrels").mkdir(exist_ok=True)
    for split, rows in qrels.items():
        lines = [f"{query}\t{passage}\t{grade}" for query, judged in rows.items() for passage, grade in judged.items()]
        text = "\n".join(["query-id\tcorpus-id\tscore", *lines])
        (folder / "qrels" / f"{split}.tsv").write_text(text + "\n", encoding="utf-8")
    return folder


def read(folder):
    return load_collection(Config(data=DataSettings(source=str(folder)), teacher=READY))


def test_a_folder_in_beirs_format_is_read(tmp_path):
    found = read(write_beir(tmp_path))
    assert found.documents == PASSAGES
    assert found.queries == QUERIES
    assert found.qrels == QRELS
    assert found.asked("test") == {"q3": QUERIES["q3"]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("corpus.jsonl", '{"_id": "p1", "text": "a"}\n{"_id": "p2"}\n', "corpus.jsonl, line 2"),
        ("queries.jsonl", "no json\n", "queries.jsonl, line 1"),
        ("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\n", "train.tsv, line 2"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\tp1\t1\n", "split 'test'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, name, content, said):
    """Prevents a run on half of a collection."""
    (write_beir(tmp_path) / name).write_text(content, encoding="utf-8")
    with pytest.raises(DistillError, match=said):
        read(tmp_path)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_what_is_learnt_or_chosen_on_is_not_tested_on(tmp_path, split):
    """Prevents figures of a student that was trained, or stopped at its best, on the queries of its test."""
    folder = write_beir(tmp_path, qrels={"dev": {"q2": {"p2": 1}}, **QRELS, split: {"q3": {"p4": 1}}})
    data = {"source": str(folder), "validation_split": "dev"}
    config = Config(data=data, teacher=READY, training={"validate_every": 1})
    with pytest.raises(DistillError, match=rf"1 queries are in split '(test|{split})' .* 'q3' for one"):
        load_collection(config)


def test_the_demo_world_is_not_tested_on_what_it_teaches():
    """Prevents the demo's form from taking a split twice, or one that is not there."""
    world = WorldSettings(passages=120, train_queries=10, test_queries=10)
    with pytest.raises(DistillError, match="10 queries are in split 'train' and in split 'train'"):
        load_collection(Config(data=DataSettings(demo=world, test_split="train")))
    with pytest.raises(DistillError, match="has no split 'dev', only train, test"):
        load_collection(Config(data=DataSettings(demo=world, test_split="dev")))


def test_a_missing_file_is_named(tmp_path):
    (write_beir(tmp_path) / "queries.jsonl").unlink()
    with pytest.raises(DistillError, match=r"queries\.jsonl"):
        read(tmp_path)


def test_bm25_ranks_by_shared_rare_words(collection):
    run = bm25(collection.documents, {"q": "bird sings", "none": "zebra"}, 3)
    assert candidate_ids(run)["q"] == ["p3", "p4"]
    assert run["none"] == {}


def test_a_judged_positive_is_never_a_negative(collection):
    """Prevents a triple that teaches against the judgements; and the same seed draws the same triples."""
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


def test_the_world_is_the_same_for_a_seed_and_its_judgements_are_true():
    settings = WorldSettings(passages=150, train_queries=10, test_queries=10)
    world, again, other = make_world(settings, 3), make_world(settings, 3), make_world(settings, 4)
    assert (world.passages, world.qrels) == (again.passages, again.qrels)
    assert world.passages != other.passages
    graded = [
        (grade, world.relevance(query, passage))
        for query, judged in world.qrels["test"].items()
        for passage, grade in judged.items()
    ]
    assert all((grade == 3) == (truth > 0.9) and truth > 0.6 for grade, truth in graded)
    assert {len(judged) for judged in world.qrels["train"].values()} == {1}


def test_words_alone_do_not_tell_what_is_relevant():
    """Prevents a world in which word overlap is the whole truth and nothing is left to be taught."""
    world = make_world(WorldSettings(passages=400, train_queries=10, test_queries=30), 0)
    shared, unshared = [], []
    for query, judged in world.qrels["test"].items():
        words = set(world.queries[query].split())
        for passage in judged:
            (shared if words & set(world.passages[passage].split()) else unshared).append(passage)
    assert len(unshared) > 0.2 * len(shared)
    assert np.mean([len(judged) for judged in world.qrels["test"].values()]) > 5
