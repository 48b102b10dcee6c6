"""Data sets in their published formats, and errors that name file and line."""

import gzip
import json

import pytest

from cyclealign.distill.idcm import sources
from cyclealign.distill.idcm.config import DataSettings, DemoSettings
from cyclealign.distill.idcm.demo_data import demo_collection
from cyclealign.errors import DistillError


@pytest.fixture
def beir(tmp_path):
    """A function that returns settings of a data set in BEIR's format, and its folder."""
    rows = [
        {"_id": f"d{n}", "title": "On", "text": f"{word} stones"} for n, word in enumerate(["red", "blue", "green"])
    ]
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "a", "text": "blue stones"}\n{"_id": "b", "text": "green stones"}\n'
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\na\td1\t1\na\td0\t0\n")
    (tmp_path / "qrels" / "test.txt").write_text("b 0 d2 2\n")
    (tmp_path / "triples.tsv").write_text("blue?\tblue\tred\n")

    def settings(**files):
        paths = {name: str(tmp_path / path) for name, path in ({"triples": "triples.tsv"} | files).items()}
        return DataSettings(source=str(tmp_path), candidates=2, **paths)

    return settings, tmp_path


def test_a_collection_is_read_with_its_candidates_and_triples(beir):
    """Prevents grade 0 from counting as relevant, and candidates that BM25 does not rank first."""
    collection = sources.read_collection(beir[0](), 0)
    assert collection.documents["d1"] == "On blue stones"
    assert collection.train[0].relevant == ["d1"]
    assert collection.train[0].candidates[0] == "d1"
    assert collection.test[0].candidates[0] == "d2"
    assert collection.test[0].grades == {"d2": 2}
    assert collection.passages[0].positive == "blue"


def test_a_run_sets_the_candidates(beir):
    """Prevents BM25's candidates, or the order of the lines, from replacing those of the run."""
    settings, folder = beir
    (folder / "run.txt").write_text("a Q0 d0 1 2.5 x\na Q0 d1 2 3.5 x\na Q0 d2 3 0.5 x\nb Q0 d0 2 1 x\nb Q0 d2 1 2 x\n")
    collection = sources.read_collection(settings(run="run.txt"), 0)
    assert collection.train[0].candidates == ("d1", "d0")
    assert collection.test[0].candidates == ("d2", "d0")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("qrels/test.txt", "a 0 d2 1\n", "for example 'a'"),
        ("triples.tsv", "a\tb\n", "triples.tsv, line 1: expected query, positive"),
        ("run.txt", "a Q0 d1 1 1 x\na Q0 d0 2 1 x\nb Q0 d0 1 1 x\n", "no query of split 'test' has a relevant"),
    ],
)
def test_unusable_data_are_refused_before_training(beir, name, text, message):
    """Prevents three stages of training that leave nothing to evaluate."""
    settings, folder = beir
    (folder / name).write_text(text)
    more = {"run": "run.txt"} if name == "run.txt" else {}
    with pytest.raises(DistillError, match=message):
        sources.read_collection(settings(**more), 0)


def test_demo_data_follow_from_the_seed_and_have_one_answer_per_query():
    """Prevents demo results that cannot be reproduced, and queries shared by training and test."""
    sizes = DemoSettings(passages=3, train_queries=2, test_queries=2, candidates=3, min_passages=4, max_passages=6)
    first = demo_collection(sizes, 0)
    assert first == demo_collection(sizes, 0)
    assert all(len(query.relevant) == 1 and len(query.candidates) == 3 for query in (*first.train, *first.test))
    assert not {query.query for query in first.train} & {query.query for query in first.test}
