"""Retrieval collections from files, as their owners publish them, and errors that name file and line."""

import gzip
import json
from pathlib import Path

import pytest

from cyclealign.distill.data.retrieval import hashes_of, read_retrieval, read_run
from cyclealign.errors import DistillError


@pytest.fixture
def folder(tmp_path):
    rows = [{"_id": "007", "title": "Moon", "text": "is far"}, {"_id": 9, "title": "", "text": "sun"}]
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    asked = [{"_id": "a", "text": "moon?"}, {"_id": "b", "text": "sun?"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nb\t9\t2.0\na\t007\t1\na\t9\t0\n")
    return tmp_path


def test_beirs_folder_keeps_ids_grades_and_titles(folder):
    """Prevents ids that are read as numbers and fit nothing, and grades that are all taken for 1."""
    found = read_retrieval(str(folder), ["test"])
    assert found.documents == {"007": "Moon is far", "9": "sun"}
    assert found.qrels["test"] == {"b": {"9": 2}, "a": {"007": 1, "9": 0}}
    assert found.asked("test") == {"a": "moon?", "b": "sun?"}
    names = {Path(each).name for each in hashes_of(str(folder), ["test"])}
    assert names == {"corpus.jsonl.gz", "queries.jsonl", "test.tsv"}


class Hub:
    """In the place of `datasets.load_dataset`: tables by name and configuration, as BEIR or MTEB has them."""

    def __init__(self, tables):
        self.tables = tables

    def __call__(self, name, config=None, split="train"):
        from datasets import Dataset

        return Dataset.from_list(self.tables[name, config, split])


@pytest.mark.parametrize("judged", [("org/moons-qrels", None, "test"), ("org/moons", "default", "test")])
def test_a_collection_on_the_hub_is_known_by_what_its_tables_hold(monkeypatch, judged):
    """Prevents a run on a data set that its owners changed since from being found finished."""
    tables = {
        ("org/moons", "corpus", "corpus"): [{"_id": "7", "title": "Moon", "text": "is far"}],
        ("org/moons", "queries", "queries"): [{"_id": "a", "text": "moon?"}],
        judged: [{"query-id": "a", "corpus-id": "7", "score": 2}],
    }
    monkeypatch.setattr("datasets.load_dataset", Hub(tables))
    found = read_retrieval("org/moons", ["test"])
    assert (found.documents, found.qrels) == ({"7": "Moon is far"}, {"test": {"a": {"7": 2}}})
    before = hashes_of("org/moons", ["test"])
    assert len(before) == 3
    assert before == hashes_of("org/moons", ["test"])
    tables[judged][0]["score"] = 1
    after = hashes_of("org/moons", ["test"])
    assert [name for name in before if after[name] != before[name]] == ["org/moons/qrels/test"]


def test_a_collection_that_is_not_there_is_left_to_its_reader(monkeypatch):
    """Prevents a run whose data cannot be fetched from leaving no trace in the history."""
    monkeypatch.setattr("datasets.load_dataset", Hub({}))
    assert hashes_of("org/moons", ["test"]) == {}
    with pytest.raises(DistillError, match="org/moons"):
        read_retrieval("org/moons", ["test"])


@pytest.mark.parametrize("row", [{"query-id": None, "corpus-id": "7", "score": 1}, {"query-id": "a", "score": 1}])
def test_a_judgement_on_the_hub_without_an_id_is_named(monkeypatch, row):
    """Prevents judgements of no query from being kept under the name None."""
    tables = {
        ("org/moons", "corpus", "corpus"): [{"_id": "7", "title": None, "text": "is far"}],
        ("org/moons", "queries", "queries"): [{"_id": 1, "text": "moon?"}],
        ("org/moons-qrels", None, "test"): [row],
    }
    monkeypatch.setattr("datasets.load_dataset", Hub(tables))
    with pytest.raises(DistillError, match="org/moons, judgements, row 1: want query-id, corpus-id and score"):
        read_retrieval("org/moons", ["test"])


@pytest.mark.parametrize(
    "heading", ["\ufeffquery-id\tcorpus-id\tscore", "Query_ID\tdocid\trelevance", "qid 0 docid rel"]
)
def test_a_heading_is_known_by_its_names(folder, heading):
    """Prevents a heading that is written in another way from being refused as a judgement."""
    (folder / "qrels" / "dev.tsv").write_text(f"{heading}\na\t007\t1\n", encoding="utf-8")
    assert read_retrieval(str(folder), ["dev"]).qrels["dev"] == {"a": {"007": 1}}


def test_what_is_there_twice_and_the_same_is_read(folder):
    """Prevents published files with repeated lines from being refused."""
    for name in ("queries.jsonl", "qrels/test.tsv"):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([*lines, lines[-1]]))
    found = read_retrieval(str(folder), ["test"])
    assert (len(found.queries), found.qrels["test"]["a"]) == (2, {"007": 1, "9": 0})


def test_trecs_judgements_are_read_too(folder):
    """Prevents a first line that is taken for a heading, since its cells lie between blanks."""
    (folder / "qrels" / "dev.txt").write_text("a 0 007 1\nb 0 9 3\n")
    assert read_retrieval(str(folder), ["dev"]).qrels["dev"] == {"a": {"007": 1}, "b": {"9": 3}}


def test_a_trec_run(tmp_path):
    """Prevents a run that is broken, or contradicts itself, from giving candidates."""
    path = tmp_path / "bm25.run"
    path.write_text("a Q0 7 1 2.5 x\na Q0 9 2 -1e-2 x\n")
    assert read_run(path) == {"a": {"7": 2.5, "9": -0.01}}
    for text, said in (
        ("a 7 1\n", r"bm25\.run, line 1: not a line of a TREC run"),
        ("a Q0 7 1 nan x\n", "no finite number"),
        ("a Q0 7 1 2 x\na Q0 7 2 1 x\n", r"bm25\.run, line 2: the score of '7' for query 'a' differs"),
    ):
        path.write_text(text)
        with pytest.raises(DistillError, match=said):
            read_run(path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("queries.jsonl", '{"id": "a"}\n', r"queries\.jsonl, line 1: want"),
        ("queries.jsonl", '{"_id": "a", "text": null}\n', r"queries\.jsonl, line 1: want"),
        ("queries.jsonl", '{"_id": "z", "text": "moon?"}\n', "no query of split 'test' is in the queries"),
        ("queries.jsonl", "", "the queries 'nothing'"),
        ("qrels/test.tsv", "b\t9\t1\nb d2\n", r"test\.tsv, line 2: want query, document and grade"),
        ("qrels/test.tsv", "b\t9\t1\nb\t9\thigh\n", "grade 'high' is no whole number"),
        ("qrels/test.tsv", "b\t9\tone\na\t9\t1\n", r"test\.tsv, line 1: the grade 'one' is no whole number"),
        ("qrels/test.tsv", "b\t9\t1\na\t9\t1\nb\t9\t0\n", r"test\.tsv, line 3: the grade of '9' for query 'b' differs"),
        ("queries.jsonl", '{"_id": true, "text": "moon?"}\n', r"queries\.jsonl, line 1: want .*no id: True"),
        ("queries.jsonl", '{"_id": "a", "title": {"en": "x"}, "text": "y"}\n', r"jsonl, line 1: want .*'title'"),
        (
            "queries.jsonl",
            '{"_id": "a", "text": "moon?"}\n{"_id": "a", "text": "sun?"}\n',
            r"queries\.jsonl, line 2: the text of 'a' differs from the one given before",
        ),
        ("qrels/test.tsv", "a\t7\t1\n", "name, for one, '7', the corpus '007'"),
    ],
)
def test_what_does_not_fit_is_named(folder, name, text, said):
    """Prevents hours of work whose every figure is 0 since two files are of different collections."""
    (folder / name).write_text(text)
    with pytest.raises(DistillError, match=said):
        read_retrieval(str(folder), ["test"])


def test_a_missing_file_is_named(folder):
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DistillError, match=r"queries\.jsonl is missing"):
        read_retrieval(str(folder), ["test"])
