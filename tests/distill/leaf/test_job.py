"""LEAF as a flow, with local models and files: results of a run, and of one that resumes."""

import json

import pytest
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf import demo_models, train
from cyclealign.distill.leaf.config import Config
from cyclealign.distill.leaf.demo_data import DemoSizes, demo_corpus
from cyclealign.distill.registry import JOBS
from cyclealign.distill.run import run_job
from cyclealign.store import Store
from tests.distill.leaf.conftest import RECIPE

pytestmark = pytest.mark.slow

SIZES = DemoSizes(train_queries=60, train_documents=60, queries=30, documents=60)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A task and texts in files, a teacher and a backbone in folders."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    corpus = demo_corpus(0, SIZES)
    (tmp_path / "queries.txt").write_text("\n".join(corpus.queries))
    (tmp_path / "documents.txt").write_text("\n".join(corpus.documents))
    task = tmp_path / "task"
    (task / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(corpus.task.documents)]
    queries = [{"_id": f"q{n}", "text": text} for n, text in enumerate(corpus.task.queries)]
    (task / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (task / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = [f"q{n}\td{index}\t1" for n, grades in enumerate(corpus.task.relevant) for index in grades]
    (task / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return Config.model_validate(
        {
            "data": {
                "queries": [str(tmp_path / "queries.txt")],
                "documents": [str(tmp_path / "documents.txt")],
                "task": str(task),
            },
            "teacher": {"model": str(demo_models.demo_teacher(tmp_path, recipe=RECIPE)), "axes": "principal"},
            "student": {"backbone": str(demo_models.demo_backbone(tmp_path, 0)), "dense_start": "least_squares"},
            "training": {"epochs": 1, "cycles": 1, "learning_rate": 5e-3},
            "evaluation": {"dims": [8], "precisions": ["float32", "int8"]},
        }
    )


def stored(run_id):
    with Store.open() as store:
        return next(run for run in store.distillations.runs("leaf") if run["id"] == run_id)


def test_a_resumed_run_leaves_a_model_of_two_branches(config, monkeypatch):
    """Prevents an interruption from costing the trained student, and a report without the controls."""
    trained = []
    fit = train.fit

    def interrupted_at_the_control(*arguments):
        trained.append(arguments[5].name.partition("-")[0])
        if trained == ["student", "rotated_student"]:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(train, "fit", interrupted_at_the_control)
    with pytest.raises(KeyboardInterrupt):
        run_job(JOBS["leaf"], config)
    run = stored(run_job(JOBS["leaf"], config))
    assert trained == ["student", "rotated_student", "rotated_student"]

    by_name = {(measure["arm"], measure["name"]): measure for measure in run["measures"]}
    arms = {"teacher", "symmetric", "asymmetric", "rotated_teacher", "rotated_asymmetric", "misaligned", "untrained"}
    assert {arm for arm, _ in by_name} == arms | {f"{arm} 8d" for arm in arms - {"misaligned", "untrained"}}
    assert by_name["asymmetric 8d", "ndcg_at_10_int8"]["items"] == 30
    assert by_name["teacher", "ndcg_at_10"]["value"] == pytest.approx(by_name["rotated_teacher", "ndcg_at_10"]["value"])
    loaded = SentenceTransformer(run["student_path"], device="cpu")
    assert loaded.encode_query("any").shape == loaded.encode_document("any").shape == (16,)
    assert run_job(JOBS["leaf"], config) == run["id"]
    assert len(trained) == 3
