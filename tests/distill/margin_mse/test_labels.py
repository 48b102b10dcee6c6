"""Teachers, score files, training and evaluation."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cyclealign.distill.margin_mse import job, labels, score_file, teacher_models
from cyclealign.distill.margin_mse.config import Config, EvaluationSettings, TrainingSettings
from cyclealign.distill.margin_mse.evaluate import differences, measures_of, per_query
from cyclealign.distill.margin_mse.labels import TrainingSet, with_offsets
from cyclealign.distill.margin_mse.predict import rerank, retrieve
from cyclealign.distill.margin_mse.students.registry import build_student, save_student
from cyclealign.distill.margin_mse.train import fit
from cyclealign.distill.models.encoders import model_identity
from cyclealign.errors import DistillError
from cyclealign.evaluation.intervals import bootstrap_mean
from tests.distill.margin_mse.conftest import PASSAGES, QRELS, QUERIES

pytestmark = pytest.mark.slow

TRIPLES = [("q1", "p1", "p2"), ("q1", "p1", "p3"), ("q2", "p2", "p1"), ("q2", "p2", "p4"), ("q3", "p3", "p1")]
SCORES = np.array([[6.0, -5], [6, -2], [4, -4], [4, 0], [5, -6]])
SETTINGS = TrainingSettings(batch=2, epochs=4, learning_rate=5e-3)


def ignore_progress(done, total):
    pass


def test_a_score_file_is_read_as_it_was_written(collection, tmp_path):
    """Prevents rounded scores, swapped columns, and more triples than asked for."""
    score_file.write_scores(tmp_path / "scores.tsv", TrainingSet(TRIPLES, SCORES))
    training_set = score_file.read_scores(tmp_path / "scores.tsv", collection, 4)
    assert training_set.triples == TRIPLES[:4]
    assert (training_set.scores_T2 == SCORES[:4]).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.0\t2.0\tq1\tp1", "line 2: expected pos_score"),
        ("x\t2.0\tq1\tp1\tp2", "line 2: expected pos_score"),
        ("nan\t2.0\tq1\tp1\tp2", "line 2.*finite"),
        ("1.0\t2.0\tq1\tp1\tp99", "line 2: 'p99'"),
        ("1.0\t2.0\tq99\tp1\tp2", "line 2: 'q99'"),
    ],
)
def test_a_malformed_score_is_named_with_its_line(collection, tmp_path, line, message):
    """Prevents training on NaN, or on swapped columns."""
    (tmp_path / "scores.tsv").write_text(f"1.0\t-2.0\tq1\tp1\tp2\n{line}\n", encoding="utf-8")
    with pytest.raises(DistillError, match=message):
        score_file.read_scores(tmp_path / "scores.tsv", collection, 100)


def test_an_ensemble_is_the_mean_of_raw_scores(collection, student_settings, tmp_path):
    """Prevents rescaled members, a sigmoid, and a result that depends on their order."""
    for seed in (1, 2):
        save_student(build_student(student_settings("cat"), [], seed), tmp_path / str(seed))
    config = Config(student=student_settings("cat"))
    pairs = [("q1", "p1"), ("q2", "p3"), ("q3", "p4")]
    one, two, both = (
        teacher_models.ensemble([str(tmp_path / name) for name in names], collection, config)(pairs)
        for names in (["1"], ["2"], ["2", "1"])
    )
    assert both == pytest.approx((one + two) / 2, abs=1e-6)
    assert abs(one - two).max() > 1e-4


def save_with_tokenizer(model, tokenizer_of, folder):
    """Write a model with the tokenizer of another folder."""
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_of).save_pretrained(folder)
    return str(folder)


def test_a_bare_encoder_is_refused_as_a_teacher(collection, student_settings, encoder):
    """Prevents rankings by a random head, or a random pooler under it, from being distilled."""
    config = Config(student=student_settings("cat"))
    with pytest.raises(DistillError, match=r"without a trained head \(classifier.bias.*'trained'"):
        teacher_models.ensemble([str(encoder)], collection, config)


def test_a_bare_encoder_is_refused_early_unless_it_is_trained_first(collection, student_settings, encoder):
    """Prevents a refusal only after BM25, and one of an encoder that the job trains."""
    for kind in ("cross_encoders", "trained"):
        settings = {"kind": kind, "models": (str(encoder),)}
        config = Config(data={"source": "folder"}, student=student_settings("cat"), teacher=settings)
        if kind == "trained":
            assert teacher_models.load_scorer(config, collection) is None
        else:
            with pytest.raises(DistillError, match="noise"):
                teacher_models.load_scorer(config, collection)


@pytest.mark.parametrize("kind", ["cross_encoders", "trained"])
def test_a_classifier_of_two_classes_is_refused(collection, student_settings, encoder, tmp_path, kind):
    """Prevents the score of one class from being taken for a ranker's, and a bare error about shapes."""
    two = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    models = (save_with_tokenizer(two, encoder, tmp_path / "two"),)
    config = Config(
        data={"source": "folder"}, student=student_settings("cat"), teacher={"kind": kind, "models": models}
    )
    with pytest.raises(DistillError, match="does not give one score"):
        teacher_models.load_scorer(config, collection)


def test_the_label_key_holds_the_content_of_the_models(collection, student_settings, tmp_path):
    """Prevents scores of a model that was retrained since from being reused."""
    folder = tmp_path / "model"
    save_student(build_student(student_settings("cat"), [], 1), folder)
    config = Config(
        data={"source": "folder"},
        student=student_settings("cat"),
        teacher={"kind": "cross_encoders", "models": (str(folder),)},
    )
    key, inputs = labels.label_key(config, collection, [str(folder)]), job.inputs(config)
    assert key["models"] == [model_identity(str(folder))] == [inputs[str(folder)]]
    save_student(build_student(student_settings("cat"), [], 2), tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    assert labels.label_key(config, collection, [str(folder)])["models"] != key["models"]
    assert job.inputs(config) != inputs
    assert labels.label_key(config, collection, ["nobody/has-this"])["models"] == ["nobody/has-this@None"]


def test_a_loss_that_is_not_finite_ends_the_training(student_settings, collection, tmp_path):
    """Prevents a student of NaN from being trained to the end and saved."""
    student = build_student(student_settings("dot"), [], seed=0)
    with pytest.raises(DistillError, match="at step 1"):
        fit(student, TrainingSet(TRIPLES, SCORES + np.nan), collection, "margin_mse", SETTINGS, 0, tmp_path / "none")


def test_a_missing_validation_is_refused_before_the_first_step(student_settings, collection, tmp_path):
    """Prevents hours of training before the first validation fails."""
    student = build_student(student_settings("dot"), [], seed=0)
    settings = SETTINGS.model_copy(update={"validate_every": 3})
    steps = []
    with pytest.raises(ValueError, match="requires the argument validate"):
        fit(
            student,
            TrainingSet(TRIPLES, SCORES),
            collection,
            "ranknet",
            settings,
            0,
            tmp_path,
            lambda *at: steps.append(at),
        )
    assert not steps


def test_a_resumed_labelling_computes_only_missing_parts(tmp_path):
    """Prevents a teacher from scoring a pair twice after an interruption."""
    pairs = [("q1", f"p{number}") for number in range(5)]
    calls = []

    def score(part):
        calls.append(list(part))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.array([float(pair[1][1:]) for pair in part])

    with pytest.raises(KeyboardInterrupt):
        labels.label_pairs(score, pairs, {"teacher": "a"}, tmp_path, 2, ignore_progress)
    scores = labels.label_pairs(score, pairs, {"teacher": "a"}, tmp_path, 2, ignore_progress)
    assert calls == [pairs[:2], pairs[2:4], pairs[4:], pairs[4:]]
    assert scores == {pair: float(number) for number, pair in enumerate(pairs)}
    labels.label_pairs(score, pairs[:2], {"teacher": "b"}, tmp_path, 2, ignore_progress)
    assert len(calls) == 5


def test_the_simulated_teacher_is_deterministic(collection):
    """Prevents noise that differs between calls, or that is the same for all pairs."""
    demo = type(collection)(PASSAGES, QUERIES, QRELS, lambda query, passage: 0.5)
    score = teacher_models.simulated(demo, 1.0, 0)
    pairs = [("q1", "p1"), ("q1", "p2")]
    assert (score(pairs) == score(pairs)).all()
    assert score(pairs)[0] != score(pairs)[1]
    assert teacher_models.simulated(demo, 0.0, 0)(pairs).tolist() == [4.0, 4.0]


def test_an_offset_is_the_same_for_a_query(collection):
    """Prevents a sweep that changes margins, or nothing."""
    offsets = with_offsets(TrainingSet(TRIPLES, SCORES), 10, 0).scores_T2 - SCORES
    assert offsets[:, 0] == pytest.approx(offsets[:, 1])
    assert offsets[0] == pytest.approx(offsets[1])
    assert abs(offsets[0] - offsets[2]).max() > 1
    assert with_offsets(TrainingSet(TRIPLES, SCORES), 0, 0).scores_T2.tolist() == SCORES.tolist()


def test_a_student_learns_the_margins(student_settings, collection, tmp_path):
    """Prevents passages from being paired with scores of others."""
    student = build_student(student_settings("dot"), [], seed=0)
    steps = []
    settings = SETTINGS.model_copy(update={"epochs": 30.0})
    fit(
        student,
        TrainingSet(TRIPLES, SCORES),
        collection,
        "margin_mse",
        settings,
        0,
        tmp_path,
        lambda *at: steps.append(at),
    )
    for (query, positive, negative), (high, low) in zip(TRIPLES, SCORES, strict=True):
        pair = student.score([(QUERIES[query], PASSAGES[positive]), (QUERIES[query], PASSAGES[negative])])
        assert pair[0] - pair[1] == pytest.approx(high - low, abs=1.5)
    assert steps[0] == (1, 90)
    assert steps[-1] == (90, 90)


def test_offsets_do_not_change_training_with_margin_mse(student_settings, collection, tmp_path):
    """Prevents a training loop that loses the loss's invariance; pointwise MSE changes, so the test can fail."""

    def trained(loss, deviation):
        student = build_student(student_settings("dot"), [], seed=0)
        training_set = with_offsets(TrainingSet(TRIPLES, SCORES), deviation, 1)
        fit(student, training_set, collection, loss, SETTINGS, 0, tmp_path / f"{loss}-{deviation}")
        return student.score([(query, passage) for query in QUERIES.values() for passage in PASSAGES.values()])

    assert trained("margin_mse", 30) == pytest.approx(trained("margin_mse", 0), abs=0.05)
    assert abs(trained("pointwise_mse", 30) - trained("pointwise_mse", 0)).max() > 1


def test_a_resumed_training_equals_an_uninterrupted_one(student_settings, collection, tmp_path):
    """Prevents a training that restarts after an interruption, or ends with other weights."""
    settings = SETTINGS.model_copy(update={"save_every": 5})
    training_set = TrainingSet(TRIPLES, SCORES)
    whole = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    fit(whole, training_set, collection, "margin_mse", settings, 0, tmp_path / "whole")

    def stop(done, of):
        if done == 7:
            raise KeyboardInterrupt

    steps = []
    first = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    with pytest.raises(KeyboardInterrupt):
        fit(first, training_set, collection, "margin_mse", settings, 0, tmp_path / "stopped", stop)
    second = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    fit(
        second,
        training_set,
        collection,
        "margin_mse",
        settings,
        0,
        tmp_path / "stopped",
        lambda at, of: steps.append(at),
    )
    assert steps[0] == 6
    for left, right in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_the_best_validated_weights_are_kept(student_settings, collection, tmp_path):
    """Prevents early stopping from keeping the last weights."""
    settings = SETTINGS.model_copy(update={"validate_every": 3, "patience": 2})
    student = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    seen = []

    def validate(candidate):
        seen.append(candidate.embedding.weight.detach().clone())
        return {1: 0.3, 2: 0.9}.get(len(seen), 0.1)

    fit(
        student,
        TrainingSet(TRIPLES, SCORES),
        collection,
        "margin_mse",
        settings,
        0,
        tmp_path / "run",
        validate=validate,
    )
    assert len(seen) == 4
    assert torch.equal(student.embedding.weight, seen[1])


def test_kernels_have_their_own_learning_rate(student_settings, collection, tmp_path):
    """Prevents one learning rate for all parameters of `tk`."""
    student = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    before = student.alpha_K.detach().clone()
    settings = SETTINGS.model_copy(update={"learning_rate": 1e-12, "kernel_learning_rate": 1e-2})
    fit(student, TrainingSet(TRIPLES, SCORES), collection, "margin_mse", settings, 0, tmp_path / "none")
    assert abs(student.alpha_K - before).max() > 1e-3


def test_measures_per_query_by_hand():
    """Prevents other definitions of the metrics, and queries without a ranking that are skipped."""
    qrels = {"a": {"x": 2, "y": 1}, "b": {"z": 1}}
    values = per_query({"a": {"y": 3.0, "x": 2.0, "z": 1.0}, "b": {}}, qrels, EvaluationSettings(recall=1), recall=True)
    log3 = float(np.log2(3))
    assert values["nDCG@10"] == pytest.approx([(1 + 2 / log3) / (2 + 1 / log3), 0])
    assert values["MRR@10"] == [1, 0]
    assert values["recall@1"] == [0.5, 0]


def test_differences_are_paired():
    """Prevents intervals of independent samples, which are wider."""
    arms = {"margin_mse": {"nDCG@10": [0.5, 0.9, 0.2]}, "ranknet": {"nDCG@10": [0.4, 0.8, 0.1]}}
    (difference,) = differences(arms, "margin_mse", "nDCG@10")
    assert difference.arm == "margin_mse - ranknet"
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.1, 0.1, 0.1))
    (mean,) = measures_of("ranknet", arms["ranknet"])
    assert (mean.value, mean.low, mean.high) == bootstrap_mean([0.4, 0.8, 0.1])


def test_dense_retrieval_is_exact(student_settings, collection):
    """Prevents an approximate or cosine index: faiss must agree with scores of all pairs."""
    student = build_student(student_settings("dot"), [], seed=0)
    everything = {query_id: list(PASSAGES) for query_id in QUERIES}
    whole = rerank(student, collection, QUERIES, everything)
    run = retrieve(student, collection, QUERIES, 2)
    for query_id, scores in run.items():
        best = sorted(whole[query_id], key=lambda passage: -whole[query_id][passage])[:2]
        assert list(scores) == best
        assert list(scores.values()) == pytest.approx([whole[query_id][passage] for passage in best], abs=1e-4)
