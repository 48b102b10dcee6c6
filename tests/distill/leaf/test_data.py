"""Texts, tasks and vector files: reading, and refusals with a reason."""

import gzip
import json

import numpy as np
import pytest

from cyclealign.distill.leaf import data
from cyclealign.distill.leaf.config import Config, DataSettings
from cyclealign.distill.leaf.demo_data import DemoSizes, demo_corpus
from cyclealign.distill.leaf.labels import label
from cyclealign.distill.leaf.teacher_models import FileTeacher
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


def test_a_task_in_beir_layout(beir):
    """Prevents grade 0 from counting as relevant, and queries without an answer from counting as failures."""
    task = data.read_task(str(beir), "test")
    assert task == data.Task(("moon?",), ("Moon is far", "sun"), ({0: 1},))


def test_sources_of_texts(tmp_path):
    """Prevents repeated and blank texts in the training data, and a limit that counts over all sources."""
    source = lines(tmp_path / "a.jsonl", [{"text": "one"}, {"text": "two"}, {"text": "one"}, {"text": " "}])
    other = lines(tmp_path / "b.jsonl", [{"question": "three"}, {"question": "two"}])
    (tmp_path / "c.txt").write_text("four\nfive\n")
    texts = data.read_texts([source, f"{other}#question", str(tmp_path / "c.txt")])
    assert texts == ("one", "two", "three", "four", "five")
    assert data.read_texts([source, f"{other}#question"], max_texts=1) == ("one", "three")


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
def test_a_broken_task_is_refused_with_the_reason(beir, broken, message):
    """Prevents training for a task on which every metric is 0."""
    broken(beir)
    with pytest.raises(DistillError, match=message):
        data.read_task(str(beir), "test")


def test_unreadable_sources_are_refused(tmp_path):
    """Prevents training on an empty set of texts."""
    with pytest.raises(DistillError, match="neither a readable local file"):
        data.read_texts([str(tmp_path / "absent.jsonl")])
    with pytest.raises(DistillError, match=r"no column \['text'\]; it has \['txt'\]"):
        data.read_texts([lines(tmp_path / "a.jsonl", [{"txt": "one"}])])
    with pytest.raises(DistillError, match="holds no text"):
        data.read_texts([lines(tmp_path / "b.jsonl", [{"text": " "}])])
    with pytest.raises(DistillError, match=r"data\.queries or data\.documents"):
        data.read_corpus(DataSettings(task="somewhere"))


def test_vectors_are_looked_up_by_text_and_kind(tmp_path):
    """Prevents vectors of other texts: the file's order carries no meaning, and a query is not a document."""
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
def test_a_malformed_vector_is_refused(tmp_path, vector):
    """Prevents a student trained on NaN because of one broken row."""
    rows = [{"text": "a", "vector": [1.0, 0.0]}, {"text": "b", "vector": vector}]
    with pytest.raises(DistillError, match=r"row 2: 'vector' must be"):
        FileTeacher(lines(tmp_path / "v.jsonl", rows), None)


def test_a_text_with_two_vectors_is_refused(tmp_path):
    """Prevents a student from learning whichever vector of a text comes last."""
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
    """A fake teacher whose vectors are (length of the text, whether it is a query)."""

    identity, query_prompt = "counting", ""

    def __init__(self, stop_after=None):
        self.num_texts, self.stop_after = 0, stop_after

    def vectors(self, texts, kind, on_progress):
        if self.stop_after is not None and self.num_texts >= self.stop_after:
            raise KeyboardInterrupt
        self.num_texts += len(texts)
        return np.float32([[len(text), kind == "query"] for text in texts])


def test_labels_are_in_order_and_an_interrupted_run_loses_one_part(tmp_path):
    """Prevents queries and documents from being swapped in parts that hold both, and finished labels that are lost."""
    corpus = demo_corpus(0, DemoSizes(train_queries=5, train_documents=4, queries=3, documents=6))
    with pytest.raises(KeyboardInterrupt):
        label(CountingTeacher(stop_after=8), corpus, tmp_path, 4, lambda *_: None)
    resumed = CountingTeacher()
    labels = label(resumed, corpus, tmp_path, 4, lambda *_: None)
    assert resumed.num_texts == 10
    for vectors, texts, kind in (
        (labels.queries, corpus.queries, 1),
        (labels.documents, corpus.documents, 0),
        (labels.task_queries, corpus.task.queries, 1),
        (labels.task_documents, corpus.task.documents, 0),
    ):
        assert vectors.tolist() == [[len(text), kind] for text in texts]
    again = CountingTeacher(stop_after=0)
    assert np.array_equal(label(again, corpus, tmp_path, 4, lambda *_: None).training, labels.training)


def test_demo_queries_share_few_words_with_their_answers():
    """Prevents a task that word overlap solves, and queries without a relevant document."""
    corpus = demo_corpus(3, DemoSizes(train_queries=20, train_documents=20, queries=60, documents=100))
    assert corpus == demo_corpus(3, DemoSizes(train_queries=20, train_documents=20, queries=60, documents=100))
    assert corpus.queries != demo_corpus(4, DemoSizes(20, 20, 60, 100)).queries
    shared = [
        len(set(query.split()) & set(corpus.task.documents[min(grades)].split()))
        for query, grades in zip(corpus.task.queries, corpus.task.relevant, strict=True)
    ]
    assert all(corpus.task.relevant)
    assert np.mean(shared) < 1.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": {"vectors": "x.jsonl"}}, "set either teacher.model, or"),
        ({"data": {"task": "folder"}, "teacher": {"model": "m"}}, "student.backbone: 'demo' models need"),
        ({"evaluation": {"precisions": ["int8"]}}, "must include 'float32'"),
    ],
)
def test_contradictory_settings_are_refused(settings, message):
    """Prevents a run that fails, or measures nothing, after its training."""
    from cyclealign.config import checked_settings

    with pytest.raises(BadConfig, match=message):
        checked_settings(settings, "run.toml", Config)


def test_a_changed_file_changes_its_hash(tmp_path, beir):
    """Prevents a finished run from being reused after its data changed."""
    source = tmp_path / "a.txt"
    source.write_text("one\n")
    data_settings = {"documents": [f"{source}#text"], "task": str(beir)}
    config = Config.model_validate(
        {"data": data_settings, "teacher": {"model": "org/t"}, "student": {"backbone": "org/s"}}
    )
    before = data.input_hashes(config)
    assert set(before) == {f"{source}#text", *map(str, [*beir.glob("*.jsonl*"), *beir.glob("qrels/test.tsv*")])}
    source.write_text("two\n")
    assert data.input_hashes(config)[f"{source}#text"] != before[f"{source}#text"]
