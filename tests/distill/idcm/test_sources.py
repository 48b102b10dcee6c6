"""Data sets from files, as their owners publish them, and errors that name file and line."""

import gzip
import json

import pytest

from cyclealign.distill.idcm import demo_data, sources
from cyclealign.distill.idcm.config import DataSettings
from cyclealign.errors import DistillError


@pytest.fixture
def beir(tmp_path):
    """A data set in BEIR's format; a function that gives its settings, and its folder."""
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
        given = {name: str(tmp_path / path) for name, path in ({"triples": "triples.tsv"} | files).items()}
        return DataSettings(source=str(tmp_path), candidates=2, **given)

    return settings, tmp_path


def test_a_collection_is_read_with_its_candidates_and_triples(beir):
    """Prevents a judgement of 0 from counting as relevant; BM25 finds the candidates."""
    found = sources.load(beir[0](), 0)
    assert found.documents["d1"] == "On blue stones"
    assert found.train[0].relevant == ["d1"]
    assert found.train[0].candidates[0] == "d1"
    assert found.test[0].candidates[0] == "d2"
    assert found.test[0].grades == {"d2": 2}
    assert found.passages[0].positive == "blue"


def test_a_run_says_what_is_re_ranked(beir):
    settings, folder = beir
    (folder / "run.txt").write_text("a Q0 d0 1 2.5 x\na Q0 d1 2 3.5 x\na Q0 d2 3 0.5 x\nb Q0 d0 2 1 x\nb Q0 d2 1 2 x\n")
    found = sources.load(settings(run="run.txt"), 0)
    assert found.train[0].candidates == ("d1", "d0")
    assert found.test[0].candidates == ("d2", "d0")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("qrels/test.txt", "a 0 d2 1\n", "'a' for one"),
        ("triples.tsv", "a\tb\n", "triples.tsv, line 1: not a line of query, positive"),
        ("run.txt", "a Q0 d1 1 1 x\na Q0 d0 2 1 x\nb Q0 d0 1 1 x\n", "no query of split 'test' has a relevant"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_before_any_training(beir, name, text, said):
    """Prevents three stages of training that end in nothing to be measured."""
    settings, folder = beir
    (folder / name).write_text(text)
    more = {"run": "run.txt"} if name == "run.txt" else {}
    with pytest.raises(DistillError, match=said):
        sources.load(settings(**more), 0)


def test_the_world_is_the_same_again_and_one_document_answers():
    size = demo_data.Size(passages=3, train_queries=2, test_queries=2, candidates=3, min_passages=4, max_passages=6)
    first = demo_data.make(size)
    assert first == demo_data.make(size)
    assert all(len(each.relevant) == 1 and len(each.candidates) == 3 for each in (*first.train, *first.test))
    assert not {each.query for each in first.train} & {each.query for each in first.test}
