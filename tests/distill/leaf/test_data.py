"""Reading texts, tasks and files of vectors: what is found by name, and what is refused with a reason."""

import gzip
import json

import numpy as np
import pytest

from cyclealign.distill.leaf import data
from cyclealign.distill.leaf.config import Config, DataSettings
from cyclealign.distill.leaf.demo_data import Sizes, demo_material
from cyclealign.distill.leaf.labels import label
from cyclealign.distill.leaf.teacher import FileTeacher
from cyclealign.errors import BadConfig, DistillError


def lines(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "task"
    lines(
        folder / "corpus.jsonl.gz",
        [{"_id": "7", "title": "Moon", "text": "is far"}, {"_id": "9", "title": "", "text": "sun"}],
    )
    lines(folder / "queries.jsonl", [{"_id": "a", "text": "moon?"}, {"_id": "b", "text": "nothing?"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\t7\t1\na\t9\t0\nb\t9\t0\na\t404\t1\n")
    return folder


def test_a_task_in_beirs_layout(beir):
    """Prevents judgements of 0 from counting as relevant, and unanswerable queries from counting as failures."""
    task = data.read_task(str(beir), "test")
    assert task == data.Task(("moon?",), ("Moon is far", "sun"), ({0: 1},))


def test_sources_of_texts(tmp_path):
    source = lines(tmp_path / "a.jsonl", [{"text": "one"}, {"text": "two"}, {"text": "one"}, {"text": " "}])
    other = lines(tmp_path / "b.jsonl", [{"question": "three"}, {"question": "two"}])
    (tmp_path / "c.txt").write_text("four\nfive\n")
    found = data.texts([source, f"{other}#question", str(tmp_path / "c.txt")])
    assert found == ("one", "two", "three", "four", "five")
    assert data.texts([source, f"{other}#question"], max_texts=1) == ("one", "three")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda folder: (folder / "queries.jsonl").unlink(), r"queries\.jsonl is missing"),
        (
            lambda folder: (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\t7\t0\n"),
            "no relevant document",
        ),
    ],
)
def test_a_broken_task_is_refused_with_what_is_missing(beir, broken, message):
    broken(beir)
    with pytest.raises(DistillError, match=message):
        data.read_task(str(beir), "test")


def test_sources_that_cannot_be_read(tmp_path):
    with pytest.raises(DistillError, match="neither a file that can be read here"):
        data.texts([str(tmp_path / "absent.jsonl")])
    with pytest.raises(DistillError, match=r"no column \['text'\]; it has \['txt'\]"):
        data.texts([lines(tmp_path / "a.jsonl", [{"txt": "one"}])])
    with pytest.raises(DistillError, match="no text in it"):
        data.texts([lines(tmp_path / "b.jsonl", [{"text": " "}])])
    with pytest.raises(DistillError, match=r"data\.queries or data\.documents"):
        data.read(DataSettings(task="somewhere"))


def test_vectors_are_found_by_text_and_kind(tmp_path):
    """Prevents vectors from sliding to other texts: the file's order says nothing, and a query is not a document."""
    rows = [
        {"text": "b", "vector": [0, 2], "kind": "document"},
        {"text": "a", "vector": [1, 0], "kind": "query"},
        {"text": "a", "vector": [0, 1], "kind": "document"},
    ]
    teacher = FileTeacher(lines(tmp_path / "v.jsonl", rows), None)
    assert teacher.vectors(["a", "b"], "document", lambda *_: None).tolist() == [[0, 1], [0, 2]]
    assert teacher.vectors(["a"], "query", lambda *_: None).tolist() == [[1, 0]]
    with pytest.raises(DistillError, match="lacks the vectors of 1 of 2 texts of kind 'query', the first: 'b'"):
        teacher.vectors(["a", "b"], "query", lambda *_: None)
    rows.append({"text": "c", "vector": [1, 2, 3], "kind": "document"})
    with pytest.raises(DistillError, match=r"\[2, 3\]"):
        FileTeacher(lines(tmp_path / "w.jsonl", rows), None)


@pytest.mark.parametrize("vector", [[1.0, float("nan")], None])
def test_a_vector_that_is_none_is_refused(tmp_path, vector):
    """Prevents a student that learns NaN from the one row that is broken."""
    rows = [{"text": "a", "vector": [1.0, 0.0]}, {"text": "b", "vector": vector}]
    with pytest.raises(DistillError, match=r"row 2: 'vector' must be"):
        FileTeacher(lines(tmp_path / "v.jsonl", rows), None)


def test_a_text_with_two_vectors_is_refused(tmp_path):
    """Prevents a student from learning whichever vector of a text stands last."""
    rows = [
        {"text": "a", "vector": [1.0, 0.0]},
        {"text": "b", "vector": [0.0, 1.0]},
        {"text": "a", "vector": [1.0, 0.0]},
    ]
    assert FileTeacher(lines(tmp_path / "v.jsonl", rows), None).vectors(["a"], "document", lambda *_: None).any()
    rows[2]["vector"] = [0.5, 0.5]
    with pytest.raises(DistillError, match="rows 1 and 3: the same text has different vectors, 'a'"):
        FileTeacher(lines(tmp_path / "v.jsonl", rows), None)


class CountingTeacher:
    """Writes the length of a text and its kind into its vector."""

    identity, query_prompt = "counting", ""

    def __init__(self, stop_after=None):
        self.seen, self.stop_after = 0, stop_after

    def vectors(self, texts, kind, progress):
        if self.stop_after is not None and self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(texts)
        return np.float32([[len(text), kind == "query"] for text in texts])


def test_labels_are_in_order_and_a_stopped_run_loses_one_part(tmp_path):
    """Prevents queries and documents from being mixed up in parts that hold both, and paid labels from being lost."""
    material = demo_material(0, Sizes(train_queries=5, train_documents=4, queries=3, documents=6))
    with pytest.raises(KeyboardInterrupt):
        label(CountingTeacher(stop_after=8), material, tmp_path, 4, lambda *_: None)
    resumed = CountingTeacher()
    labels = label(resumed, material, tmp_path, 4, lambda *_: None)
    assert resumed.seen == 10
    for vectors, texts, kind in (
        (labels.queries, material.queries, 1),
        (labels.documents, material.documents, 0),
        (labels.task_queries, material.task.queries, 1),
        (labels.task_documents, material.task.documents, 0),
    ):
        assert vectors.tolist() == [[len(text), kind] for text in texts]
    again = CountingTeacher(stop_after=0)
    assert np.array_equal(label(again, material, tmp_path, 4, lambda *_: None).training, labels.training)


def test_the_world_is_fair():
    """Prevents a task that words alone would solve, or judgements that miss documents which answer."""
    material = demo_material(3, Sizes(train_queries=20, train_documents=20, queries=60, documents=100))
    assert material == demo_material(3, Sizes(train_queries=20, train_documents=20, queries=60, documents=100))
    assert material.queries != demo_material(4, Sizes(20, 20, 60, 100)).queries
    shared = [
        len(set(query.split()) & set(material.task.documents[min(wanted)].split()))
        for query, wanted in zip(material.task.queries, material.task.relevant, strict=True)
    ]
    assert all(material.task.relevant)
    assert np.mean(shared) < 1.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": {"vectors": "x.jsonl"}}, "either a model, or"),
        ({"data": {"task": "folder"}, "teacher": {"model": "m"}}, "student.backbone 'demo'"),
        ({"evaluation": {"precisions": ["int8"]}}, "must hold 'float32'"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    from cyclealign.config import checked_settings

    with pytest.raises(BadConfig, match=message):
        checked_settings(settings, "run.toml", Config)


def test_a_changed_file_is_another_run(tmp_path, beir):
    source = tmp_path / "a.txt"
    source.write_text("one\n")
    data_settings = {"documents": [f"{source}#text"], "task": str(beir)}
    config = Config.model_validate(
        {"data": data_settings, "teacher": {"model": "org/t"}, "student": {"backbone": "org/s"}}
    )
    before = data.hashes(config)
    assert set(before) == {f"{source}#text", *map(str, [*beir.glob("*.jsonl*"), *beir.glob("qrels/test.tsv*")])}
    source.write_text("two\n")
    assert data.hashes(config)[f"{source}#text"] != before[f"{source}#text"]
