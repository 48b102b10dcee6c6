"""Margin-MSE as a flow: demo data with minimal settings, and collections in files with cross-encoders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from cyclealign.config import checked_settings
from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
from cyclealign.distill.margin_mse.config import Config, StudentSettings
from cyclealign.distill.margin_mse.data import draw_triples, pairs_of, read_collection
from cyclealign.distill.margin_mse.demo_models import write_encoder
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.students.registry import build_student, load_student, save_student
from cyclealign.distill.registry import JOBS
from cyclealign.distill.run import run_job
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_folder
from cyclealign.store import Store
from tests.distill.margin_mse.conftest import PASSAGES, QUERIES
from tests.distill.margin_mse.test_data import write_beir

pytestmark = pytest.mark.slow

TINY = {
    "data": {
        "candidates": 20,
        "negatives": 2,
        "demo": {"passages": 120, "train_queries": 12, "test_queries": 10},
    },
    "student": {"model": "demo", "pooling": "mean", "query_tokens": 8, "passage_tokens": 16},
    "training": {"arms": ["margin_mse", "ranknet"], "offsets": [5.0], "offset_arms": ["margin_mse"], "batch": 8},
    "evaluation": {"recall": 20},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs the job with some settings and returns the run's row in the store."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))

    def run_with(settings):
        run_id = run_job(JOBS["margin-mse"], checked_settings(settings, "test", Config))
        with Store.open() as store:
            return next(run for run in store.distillations.runs("margin-mse") if run["id"] == run_id)

    return run_with


def measure_of(row, arm, name):
    """Return the measure of an arm."""
    (measure,) = [measure for measure in row["measures"] if (measure["arm"], measure["name"]) == (arm, name)]
    return measure


def test_a_run_measures_all_arms_and_resumes(run, monkeypatch):
    """Prevents an interruption from costing trained students, and a report without its control arms."""
    import cyclealign.distill.margin_mse.job as module

    trained = []
    fit = module.fit

    def interrupted_once(*arguments, **more):
        trained.append(arguments[3])
        if trained == ["margin_mse", "ranknet"]:
            raise KeyboardInterrupt
        return fit(*arguments, **more)

    monkeypatch.setattr(module, "fit", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        run(TINY)
    row = run(TINY)
    assert trained == ["margin_mse", "ranknet", "ranknet", "margin_mse"]
    arms = ["BM25", "teacher", "margin_mse", "ranknet", "margin_mse, offset 5"]
    assert [measure["arm"] for measure in row["measures"] if measure["name"] == "nDCG@10"][:5] == arms
    assert measure_of(row, "teacher", "nDCG@10")["value"] > measure_of(row, "BM25", "nDCG@10")["value"]
    assert 0 < measure_of(row, "margin_mse", "dense recall@20")["value"] <= 1
    assert measure_of(row, "margin_mse - ranknet", "nDCG@10")["items"] == 10
    flat = measure_of(row, "margin_mse - margin_mse, offset 5", "nDCG@10")
    assert flat["value"] == pytest.approx(0, abs=0.05)
    assert {step["step"] for step in row["steps"]} >= {"label", "fit margin_mse", "examine"}
    assert isinstance(load_student(Path(row["student_path"])), BiEncoderStudent)


def test_real_collections_and_cross_encoders(run, tmp_path):
    """Prevents errors in the paper's setting: BEIR files, two teachers trained with RankNet, a ColBERT student."""
    encoder = tmp_path / "encoder"
    write_encoder(encoder, [*PASSAGES.values(), *QUERIES.values()], seed=1)
    queries = {**QUERIES, "q1": "cat under tree", "q2": "young bird"}
    settings = {
        "data": {"source": str(write_beir(tmp_path, queries=queries)), "candidates": 4, "negatives": 2},
        "teacher": {"kind": "trained", "models": [str(encoder), str(encoder)], "part": 3},
        "student": {"kind": "colbert", "model": str(encoder), "query_tokens": 8, "passage_tokens": 12},
        "training": {"arms": ["margin_mse"], "batch": 2, "learning_rate": 1e-3},
    }
    row = run(settings)
    assert 0 < measure_of(row, "margin_mse", "nDCG@10")["value"] <= 1
    assert 0 < measure_of(row, "teacher", "nDCG@10")["value"] <= 1


def test_a_teacher_in_training_is_validated_on_the_validation_split(run, tmp_path, monkeypatch):
    """Prevents a teacher whose training fails at its first validation, or is validated on the test split."""
    import cyclealign.distill.margin_mse.job as module

    validated = []
    rerank = module.predict.rerank

    def watched(student, collection, queries, candidates):
        validated.append((student.settings.kind, *sorted(queries)))
        return rerank(student, collection, queries, candidates)

    monkeypatch.setattr(module.predict, "rerank", watched)
    encoder = tmp_path / "encoder"
    write_encoder(encoder, [*PASSAGES.values(), *QUERIES.values()], seed=1)
    queries = {**QUERIES, "q1": "cat under tree", "q2": "young bird"}
    qrels = {"train": {"q1": {"p1": 1}}, "dev": {"q2": {"p2": 1}}, "test": {"q3": {"p3": 2}}}
    folder = write_beir(tmp_path, queries=queries, qrels=qrels)
    settings = {
        "data": {"source": str(folder), "validation_split": "dev", "candidates": 4, "negatives": 2},
        "teacher": {"kind": "trained", "models": [str(encoder)]},
        "student": {"kind": "tk", "embedding_size": 12, "query_tokens": 8, "passage_tokens": 12},
        "training": {"arms": ["margin_mse"], "batch": 1, "epochs": 2, "validate_every": 1, "patience": 9},
    }
    row = run(settings)
    assert {call for call in validated if call[0] == "cat"} == {("cat", "q2")}
    assert {call for call in validated if call[0] == "tk"} == {("tk", "q2"), ("tk", "q3")}
    assert not list(Path(row["student_path"]).parent.glob("*steps*"))


def test_an_ensemble_of_trained_cross_encoders_gives_their_mean_raw_score(run, tmp_path):
    """Prevents a sigmoid or rescaling between models and labels, and an ensemble of one member."""
    encoder = tmp_path / "encoder"
    write_encoder(encoder, [*PASSAGES.values(), *QUERIES.values()], seed=1)
    models = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(models):
        cat = StudentSettings(kind="cat", model=str(encoder), query_tokens=8, passage_tokens=12)
        save_student(build_student(cat, [], seed), folder)
    queries = {**QUERIES, "q1": "cat under tree", "q2": "young bird"}
    settings = {
        "data": {"source": str(write_beir(tmp_path, queries=queries)), "candidates": 4, "negatives": 2},
        "teacher": {"kind": "cross_encoders", "models": list(map(str, models)), "part": 3},
        "student": {"kind": "dot", "model": str(encoder), "query_tokens": 8, "passage_tokens": 12},
        "training": {"arms": ["margin_mse"], "batch": 2, "learning_rate": 1e-3},
        "evaluation": {"dense": False},
    }
    row = run(settings)
    labels = tmp_path / "home" / "distill" / "margin-mse" / "labels"
    (training,) = [folder for folder in labels.iterdir() if len(list(folder.glob("part-*.npz"))) > 1]
    stored = np.concatenate([np.load(part)["scores"] for part in sorted(training.glob("part-*.npz"))])
    made_of = json.loads((training / "made_of.json").read_text())
    assert made_of["models"] == [hash_of_folder(model) for model in models]
    config = checked_settings(settings, "test", Config)
    collection = read_collection(config)
    candidates = candidate_ids(bm25_run(collection.documents, collection.queries_of("train"), 4))
    pairs = pairs_of(draw_triples(collection, "train", candidates, config.data, 0))
    texts = [(collection.queries[query], collection.documents[passage]) for query, passage in pairs]
    raw = [CrossEncoder(str(model), device="cpu").predict(texts, activation_fn=torch.nn.Identity()) for model in models]
    assert stored == pytest.approx((raw[0] + raw[1]) / 2, abs=1e-6)
    assert abs(raw[0] - raw[1]).max() > 1e-4
    assert 0 < measure_of(row, "teacher", "nDCG@10")["value"] <= 1


def test_a_score_file_replaces_the_teacher(run, tmp_path):
    """Prevents a score file from being refused because training judgements, which are not needed, are missing."""
    folder = write_beir(tmp_path)
    (folder / "qrels" / "train.tsv").unlink()
    (tmp_path / "scores.tsv").write_text("6\t-3\tq1\tp1\tp2\n4\t-1\tq2\tp2\tp3\n", encoding="utf-8")
    settings = {
        "data": {"source": str(folder), "candidates": 4},
        "teacher": {"kind": "scores", "scores": str(tmp_path / "scores.tsv")},
        "student": {"kind": "tk", "embedding_size": 12},
        "training": {"arms": ["margin_mse"], "batch": 2, "learning_rate": 1e-3},
    }
    first = run(settings)
    assert {measure["arm"] for measure in first["measures"]} == {"BM25", "margin_mse", "margin_mse - BM25"}
    assert run(settings)["id"] == first["id"]
    with (tmp_path / "scores.tsv").open("a") as file:
        file.write("2\t1\tq1\tp1\tp3\n")
    assert run(settings)["id"] != first["id"]  # prevents results of the old file


def test_a_score_file_with_test_queries_is_refused(run, tmp_path):
    """Prevents metrics of a student that was trained on its test queries."""
    (tmp_path / "scores.tsv").write_text("6\t-3\tq1\tp1\tp2\n5\t-2\tq3\tp3\tp1\n", encoding="utf-8")
    settings = {
        "data": {"source": str(write_beir(tmp_path)), "candidates": 4},
        "teacher": {"kind": "scores", "scores": str(tmp_path / "scores.tsv")},
        "student": {"kind": "tk", "embedding_size": 12},
    }
    with pytest.raises(DistillError, match=r"1 queries are in both .*scores\.tsv and split 'test', for example 'q3'"):
        run(settings)


def test_contradictory_settings_are_refused():
    """Prevents a run that fails, or ignores a setting, after its training."""
    from cyclealign.errors import BadConfig

    for settings, message in (
        ({"data": {"source": "folder"}}, "simulated"),
        ({"teacher": {"kind": "cross_encoders"}}, "at least one model"),
        ({"teacher": {"kind": "scores"}}, "teacher.scores is missing"),
        ({"training": {"validate_every": 5}}, "validation_split"),
        ({"data": {"validation_split": "dev"}}, "validate_every and data.validation_split go together"),
        ({"training": {"arms": ["ranknet", "ranknet"]}}, "twice"),
    ):
        with pytest.raises(BadConfig, match=message):
            checked_settings(settings, "test", Config)


def test_the_form_starts_from_the_demo():
    """Prevents a form whose defaults do not run on any machine."""
    config = JOBS["margin-mse"].config()
    assert config.data.source == config.student.model == "demo"
    assert len(read_collection(config).documents) == config.data.demo.passages
