"""Retrieval collections in their published formats, and errors that name file and line."""

import gzip
import json
from pathlib import Path

import pytest

from cyclealign.distill.data.retrieval import collection_hashes, read_retrieval, read_run
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


def test_a_beir_folder_keeps_ids_grades_and_titles(folder):
    """Prevents ids read as numbers, which match nothing, and graded judgements read as binary."""
    collection = read_retrieval(str(folder), ["test"])
    assert collection.documents == {"007": "Moon is far", "9": "sun"}
    assert collection.qrels["test"] == {"b": {"9": 2}, "a": {"007": 1, "9": 0}}
    assert collection.queries_of("test") == {"a": "moon?", "b": "sun?"}
    names = {Path(each).name for each in collection_hashes(str(folder), ["test"])}
    assert names == {"corpus.jsonl.gz", "queries.jsonl", "test.tsv"}


class Hub:
    """A fake of `datasets.load_dataset`: tables by name, configuration and split."""

    def __init__(self, tables):
        self.tables = tables

    def __call__(self, name, config=None, split="train"):
        from datasets import Dataset

        return Dataset.from_list(self.tables[name, config, split])


@pytest.mark.parametrize("judged_table", [("org/moons-qrels", None, "test"), ("org/moons", "default", "test")])
def test_a_collection_on_the_hub_is_hashed_by_its_tables(monkeypatch, judged_table):
    """Prevents a finished run from being reused after its data set changed on the hub."""
    tables = {
        ("org/moons", "corpus", "corpus"): [{"_id": "7", "title": "Moon", "text": "is far"}],
        ("org/moons", "queries", "queries"): [{"_id": "a", "text": "moon?"}],
        judged_table: [{"query-id": "a", "corpus-id": "7", "score": 2}],
    }
    monkeypatch.setattr("datasets.load_dataset", Hub(tables))
    collection = read_retrieval("org/moons", ["test"])
    assert (collection.documents, collection.qrels) == ({"7": "Moon is far"}, {"test": {"a": {"7": 2}}})
    before = collection_hashes("org/moons", ["test"])
    assert len(before) == 3
    assert before == collection_hashes("org/moons", ["test"])
    tables[judged_table][0]["score"] = 1
    after = collection_hashes("org/moons", ["test"])
    assert [name for name in before if after[name] != before[name]] == ["org/moons/qrels/test"]


def test_a_missing_collection_has_no_hashes_and_its_reader_reports_it(monkeypatch):
    """Prevents a run whose data cannot be fetched from failing before it is in the history."""
    monkeypatch.setattr("datasets.load_dataset", Hub({}))
    assert collection_hashes("org/moons", ["test"]) == {}
    with pytest.raises(DistillError, match="org/moons"):
        read_retrieval("org/moons", ["test"])


@pytest.mark.parametrize("row", [{"query-id": None, "corpus-id": "7", "score": 1}, {"query-id": "a", "score": 1}])
def test_a_judgement_on_the_hub_without_an_id_is_named(monkeypatch, row):
    """Prevents judgements without a query from being stored under the id 'None'."""
    tables = {
        ("org/moons", "corpus", "corpus"): [{"_id": "7", "title": None, "text": "is far"}],
        ("org/moons", "queries", "queries"): [{"_id": 1, "text": "moon?"}],
        ("org/moons-qrels", None, "test"): [row],
    }
    monkeypatch.setattr("datasets.load_dataset", Hub(tables))
    with pytest.raises(DistillError, match="org/moons, judgements, row 1: expected query-id, corpus-id and score"):
        read_retrieval("org/moons", ["test"])


@pytest.mark.parametrize(
    "heading", ["\ufeffquery-id\tcorpus-id\tscore", "Query_ID\tdocid\trelevance", "qid 0 docid rel"]
)
def test_a_heading_is_recognised_by_its_column_names(folder, heading):
    """Prevents other spellings of a heading from being refused as malformed judgements."""
    (folder / "qrels" / "dev.tsv").write_text(f"{heading}\na\t007\t1\n", encoding="utf-8")
    assert read_retrieval(str(folder), ["dev"]).qrels["dev"] == {"a": {"007": 1}}


def test_repeated_identical_rows_are_accepted(folder):
    """Prevents published files with repeated lines from being refused."""
    for name in ("queries.jsonl", "qrels/test.tsv"):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([*lines, lines[-1]]))
    collection = read_retrieval(str(folder), ["test"])
    assert (len(collection.queries), collection.qrels["test"]["a"]) == (2, {"007": 1, "9": 0})


def test_trec_judgements_are_read(folder):
    """Prevents the first line of a file without a heading from being dropped."""
    (folder / "qrels" / "dev.txt").write_text("a 0 007 1\nb 0 9 3\n")
    assert read_retrieval(str(folder), ["dev"]).qrels["dev"] == {"a": {"007": 1}, "b": {"9": 3}}


def test_a_trec_run(tmp_path):
    """Prevents candidates from a malformed or contradictory run."""
    path = tmp_path / "bm25.run"
    path.write_text("a Q0 7 1 2.5 x\na Q0 9 2 -1e-2 x\n")
    assert read_run(path) == {"a": {"7": 2.5, "9": -0.01}}
    for text, message in (
        ("a 7 1\n", r"bm25\.run, line 1: not a line of a TREC run"),
        ("a Q0 7 1 nan x\n", "not a finite number"),
        ("a Q0 7 1 2 x\na Q0 7 2 1 x\n", r"bm25\.run, line 2: the score of '7' for query 'a' differs"),
    ):
        path.write_text(text)
        with pytest.raises(DistillError, match=message):
            read_run(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("queries.jsonl", '{"id": "a"}\n', r"queries\.jsonl, line 1: expected"),
        ("queries.jsonl", '{"_id": "a", "text": null}\n', r"queries\.jsonl, line 1: expected"),
        ("queries.jsonl", '{"_id": "z", "text": "moon?"}\n', "no query of split 'test' is in the queries"),
        ("queries.jsonl", "", "the queries 'nothing'"),
        ("qrels/test.tsv", "b\t9\t1\nb d2\n", r"test\.tsv, line 2: expected query, document and grade"),
        ("qrels/test.tsv", "b\t9\t1\nb\t9\thigh\n", "grade 'high' is not an integer"),
        ("qrels/test.tsv", "b\t9\tone\na\t9\t1\n", r"test\.tsv, line 1: the grade 'one' is not an integer"),
        ("qrels/test.tsv", "b\t9\t1\na\t9\t1\nb\t9\t0\n", r"test\.tsv, line 3: the grade of '9' for query 'b' differs"),
        ("queries.jsonl", '{"_id": true, "text": "moon?"}\n', r"queries\.jsonl, line 1: expected .*not an id: True"),
        (
            "queries.jsonl",
            '{"_id": "a", "title": {"en": "x"}, "text": "y"}\n',
            r"queries\.jsonl, line 1: expected .*'title'",
        ),
        (
            "queries.jsonl",
            '{"_id": "a", "text": "moon?"}\n{"_id": "a", "text": "sun?"}\n',
            r"queries\.jsonl, line 2: the text of 'a' differs from an earlier line",
        ),
        ("qrels/test.tsv", "a\t7\t1\n", "name '7', for example; the corpus '007'"),
    ],
)
def test_malformed_and_mismatched_files_are_refused(folder, name, text, message):
    """Prevents hours of work that end in metrics of 0 because two files are of different collections."""
    (folder / name).write_text(text)
    with pytest.raises(DistillError, match=message):
        read_retrieval(str(folder), ["test"])


def test_a_missing_file_is_named(folder):
    """Prevents a bare FileNotFoundError of a library."""
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DistillError, match=r"queries\.jsonl is missing"):
        read_retrieval(str(folder), ["test"])
