"""Data sets from files, as their owners publish them, and errors that name file and line."""

import gzip
import json

import pytest

from cyclealign.distill.idcm import reading, world
from cyclealign.distill.idcm.config import DataSettings
from cyclealign.errors import DistillError


@pytest.fixture
def beir(tmp_path):
    """A data set in BEIR's format; a function that writes another text into one of its files, and its settings."""
    rows = [
        {"_id": f"d{n}", "title": "On", "text": f"{word} stones"} for n, word in enumerate(["red", "blue", "green"])
    ]
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "a", "text": "blue stones"}\n{"_id": "b", "text": "green"}\n')
    (tmp_path / "train.tsv").write_text("query-id\tcorpus-id\tscore\na\td1\t1\na\td0\t0\n")
    (tmp_path / "test.tsv").write_text("b 0 d2 2\n".replace(" ", "\t"))
    (tmp_path / "triples.tsv").write_text("blue?\tblue\tred\n")
    names = {"corpus": "corpus.jsonl.gz", "queries": "queries.jsonl", "triples": "triples.tsv"}
    names |= {"train_qrels": "train.tsv", "test_qrels": "test.tsv"}

    def settings(**changes):
        given = {name: str(tmp_path / path) for name, path in (names | changes).items()}
        return DataSettings(source="files", candidates=2, **given)

    return settings, tmp_path


def test_beir_files_become_a_collection(beir):
    """BM25 finds the candidates; a judgement of 0 is not relevant; TREC's four columns are read as BEIR's three."""
    found = reading.load(beir[0](), 0)
    assert found.documents["d1"] == "On blue stones"
    assert found.train[0].relevant == {"d1"}
    assert found.train[0].candidates[0] == "d1"
    assert found.test[0].candidates[0] == "d2"
    assert found.passages[0].positive == "blue"


def test_a_run_says_what_is_re_ranked(beir):
    settings, folder = beir
    (folder / "run.txt").write_text("a Q0 d0 1 2.5 x\na Q0 d1 2 3.5 x\na Q0 d2 3 0.5 x\nb Q0 d0 1 1 x\n")
    found = reading.load(settings(run="run.txt"), 0)
    assert found.train[0].candidates == ("d1", "d0")
    assert found.test == ()  # its relevant document is not among the candidates: no order of them is better


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("queries.jsonl", '{"id": "a"}\n', "queries.jsonl:1: not a line of"),
        ("test.tsv", "b\td2\t1\nb d2 1\n", "test.tsv:2: not a line of query, document and relevance"),
        ("test.tsv", "a\td2\t1\n", "'a' for one"),
        ("triples.tsv", "a\tb\n", "triples.tsv:1: not a line of query, positive"),
    ],
)
def test_bad_lines_are_named(beir, name, text, said):
    settings, folder = beir
    (folder / name).write_text(text)
    with pytest.raises(DistillError, match=said):
        reading.load(settings(), 0)


def test_a_missing_file_is_named(beir):
    with pytest.raises(DistillError, match=r"nowhere\.jsonl: cannot be read"):
        reading.load(beir[0](corpus="nowhere.jsonl"), 0)


def test_the_world_is_the_same_again_and_one_document_answers():
    size = world.Size(passages=3, train_queries=2, test_queries=2, candidates=3, least_passages=4, most_passages=6)
    first = world.make(size)
    assert first == world.make(size)
    assert all(len(each.relevant) == 1 and len(each.candidates) == 3 for each in (*first.train, *first.test))
    assert not {each.query for each in first.train} & {each.query for each in first.test}
