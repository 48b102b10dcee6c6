"""Teachers, stored scores, training and evaluation."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cyclealign.distill.margin_mse import teacher
from cyclealign.distill.margin_mse.config import Config, EvaluationSettings, TrainingSettings
from cyclealign.distill.margin_mse.evaluate import differences, measures_of, per_query
from cyclealign.distill.margin_mse.predict import rerank, retrieve
from cyclealign.distill.margin_mse.student import build_student, save_student
from cyclealign.distill.margin_mse.train import TrainingSet, fit, with_offsets
from cyclealign.distill.models.encoders import identity
from cyclealign.errors import DistillError
from cyclealign.evaluation.intervals import bootstrap_mean
from tests.distill.margin_mse.conftest import PASSAGES, QRELS, QUERIES

TRIPLES = [("q1", "p1", "p2"), ("q1", "p1", "p3"), ("q2", "p2", "p1"), ("q2", "p2", "p4"), ("q3", "p3", "p1")]
SCORES = np.array([[6.0, -5], [6, -2], [4, -4], [4, 0], [5, -6]])
SETTINGS = TrainingSettings(batch=2, epochs=4, learning_rate=5e-3)


def quiet(done, of):
    pass


def test_published_scores_are_read_as_they_were_written(collection, tmp_path):
    teacher.write_scores(tmp_path / "scores.tsv", TrainingSet(TRIPLES, SCORES))
    found = teacher.read_scores(tmp_path / "scores.tsv", collection, 4)
    assert found.triples == TRIPLES[:4]
    assert (found.scores_T2 == SCORES[:4]).all()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1.0\t2.0\tq1\tp1", "line 2: want pos_score"),
        ("x\t2.0\tq1\tp1\tp2", "line 2: want pos_score"),
        ("nan\t2.0\tq1\tp1\tp2", "line 2.*finite"),
        ("1.0\t2.0\tq1\tp1\tp99", "line 2: 'p99'"),
        ("1.0\t2.0\tq99\tp1\tp2", "line 2: 'q99'"),
    ],
)
def test_a_bad_score_is_named_with_its_line(collection, tmp_path, line, said):
    """Prevents training on NaN, or on scores whose columns are mixed up."""
    (tmp_path / "scores.tsv").write_text(f"1.0\t-2.0\tq1\tp1\tp2\n{line}\n", encoding="utf-8")
    with pytest.raises(DistillError, match=said):
        teacher.read_scores(tmp_path / "scores.tsv", collection, 100)


def test_an_ensemble_is_the_mean_of_raw_scores(collection, student_settings, tmp_path):
    """Prevents rescaled or squashed members; the order of the members does not matter."""
    for seed in (1, 2):
        save_student(build_student(student_settings("cat"), [], seed), tmp_path / str(seed))
    config = Config(student=student_settings("cat"))
    pairs = [("q1", "p1"), ("q2", "p3"), ("q3", "p4")]
    one, two, both = (
        teacher.ensemble([str(tmp_path / name) for name in names], collection, config)(pairs)
        for names in (["1"], ["2"], ["2", "1"])
    )
    assert both == pytest.approx((one + two) / 2, abs=1e-6)
    assert abs(one - two).max() > 1e-4


def written(model, tokenizer_of, folder):
    """A folder with a model and the tokenizer of another folder."""
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_of).save_pretrained(folder)
    return str(folder)


def test_a_bare_encoder_is_no_teacher(collection, student_settings, encoder):
    """Prevents noise that is taught as a ranking: the head, or the pooler under it, would be drawn at random."""
    config = Config(student=student_settings("cat"))
    with pytest.raises(DistillError, match=r"without a trained head \(classifier.bias.*'trained'"):
        teacher.ensemble([str(encoder)], collection, config)


def test_a_bare_encoder_is_refused_before_the_work_and_may_be_trained(collection, student_settings, encoder):
    """Prevents a refusal that comes after hours of BM25, and one of an encoder that is to be trained first."""
    for kind in ("cross_encoders", "trained"):
        settings = {"kind": kind, "models": (str(encoder),)}
        config = Config(data={"source": "folder"}, student=student_settings("cat"), teacher=settings)
        if kind == "trained":
            assert teacher.ready(config, collection) is None
        else:
            with pytest.raises(DistillError, match="noise"):
                teacher.ready(config, collection)


@pytest.mark.parametrize("kind", ["cross_encoders", "trained"])
def test_a_classifier_of_two_classes_is_refused(collection, student_settings, encoder, tmp_path, kind):
    """Prevents the score of one class, or a raw error about shapes, in the place of a ranker's score."""
    two = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    models = (written(two, encoder, tmp_path / "two"),)
    config = Config(
        data={"source": "folder"}, student=student_settings("cat"), teacher={"kind": kind, "models": models}
    )
    with pytest.raises(DistillError, match="does not give one score"):
        teacher.ready(config, collection)


def test_labels_are_kept_under_the_content_of_their_models(collection, student_settings, tmp_path):
    """Prevents scores of a model that was trained anew since from being taught as today's."""
    folder = tmp_path / "model"
    save_student(build_student(student_settings("cat"), [], 1), folder)
    config = Config(
        data={"source": "folder"},
        student=student_settings("cat"),
        teacher={"kind": "cross_encoders", "models": (str(folder),)},
    )
    made_of, files = teacher.made_of(config, collection, [str(folder)]), teacher.inputs_of(config)
    assert made_of["models"] == [identity(str(folder))] == [files[str(folder)]]
    save_student(build_student(student_settings("cat"), [], 2), tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    assert teacher.made_of(config, collection, [str(folder)])["models"] != made_of["models"]
    assert teacher.inputs_of(config) != files
    assert teacher.made_of(config, collection, ["nobody/has-this"])["models"] == ["nobody/has-this@None"]


def test_a_loss_that_is_no_number_ends_the_training(student_settings, collection, tmp_path):
    """Prevents a student of NaN that is trained to the end, and kept."""
    student = build_student(student_settings("dot"), [], seed=0)
    with pytest.raises(DistillError, match="at step 1"):
        fit(student, TrainingSet(TRIPLES, SCORES + np.nan), collection, "margin_mse", SETTINGS, 0, tmp_path / "none")


def test_a_validation_that_nobody_gives_is_said_before_the_first_step(student_settings, collection, tmp_path):
    student = build_student(student_settings("dot"), [], seed=0)
    settings = SETTINGS.model_copy(update={"validate_every": 3})
    steps = []
    with pytest.raises(ValueError, match="none is given"):
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


def test_a_pair_is_scored_once_and_a_killed_labelling_goes_on(tmp_path):
    """Prevents paying for a teacher twice: of three parts, only those that are missing are computed."""
    pairs = [("q1", f"p{number}") for number in range(5)]
    asked = []

    def score(part):
        asked.append(list(part))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return np.array([float(pair[1][1:]) for pair in part])

    with pytest.raises(KeyboardInterrupt):
        teacher.label_pairs(score, pairs, {"teacher": "a"}, tmp_path, 2, quiet)
    found = teacher.label_pairs(score, pairs, {"teacher": "a"}, tmp_path, 2, quiet)
    assert asked == [pairs[:2], pairs[2:4], pairs[4:], pairs[4:]]
    assert found == {pair: float(number) for number, pair in enumerate(pairs)}
    teacher.label_pairs(score, pairs[:2], {"teacher": "b"}, tmp_path, 2, quiet)
    assert len(asked) == 5


def test_the_simulated_teacher_is_steady(collection):
    gold = type(collection)(PASSAGES, QUERIES, QRELS, lambda query, passage: 0.5)
    score = teacher.simulated(gold, 1.0, 0)
    pairs = [("q1", "p1"), ("q1", "p2")]
    assert (score(pairs) == score(pairs)).all()
    assert score(pairs)[0] != score(pairs)[1]
    assert teacher.simulated(gold, 0.0, 0)(pairs).tolist() == [4.0, 4.0]


def test_an_offset_is_one_a_query(collection):
    """Prevents a sweep that changes margins, or that changes nothing."""
    moved = with_offsets(TrainingSet(TRIPLES, SCORES), 10, 0).scores_T2 - SCORES
    assert moved[:, 0] == pytest.approx(moved[:, 1])
    assert moved[0] == pytest.approx(moved[1])
    assert abs(moved[0] - moved[2]).max() > 1
    assert with_offsets(TrainingSet(TRIPLES, SCORES), 0, 0).scores_T2.tolist() == SCORES.tolist()


def test_a_student_learns_the_margins(student_settings, collection, tmp_path):
    """Prevents a training loop that pairs a passage with another's score."""
    student = build_student(student_settings("dot"), [], seed=0)
    told = []
    settings = SETTINGS.model_copy(update={"epochs": 30.0})
    fit(
        student,
        TrainingSet(TRIPLES, SCORES),
        collection,
        "margin_mse",
        settings,
        0,
        tmp_path,
        lambda *at: told.append(at),
    )
    for (query, positive, negative), (high, low) in zip(TRIPLES, SCORES, strict=True):
        pair = student.score([(QUERIES[query], PASSAGES[positive]), (QUERIES[query], PASSAGES[negative])])
        assert pair[0] - pair[1] == pytest.approx(high - low, abs=1.5)
    assert told[0] == (1, 90)
    assert told[-1] == (90, 90)


def test_margin_mse_trains_the_same_under_any_offset_and_pointwise_does_not(student_settings, collection, tmp_path):
    """The claim of the method on weights, not only on the loss's value."""

    def trained(loss, deviation):
        student = build_student(student_settings("dot"), [], seed=0)
        lesson = with_offsets(TrainingSet(TRIPLES, SCORES), deviation, 1)
        fit(student, lesson, collection, loss, SETTINGS, 0, tmp_path / f"{loss}-{deviation}")
        return student.score([(query, passage) for query in QUERIES.values() for passage in PASSAGES.values()])

    assert trained("margin_mse", 30) == pytest.approx(trained("margin_mse", 0), abs=0.05)
    assert abs(trained("pointwise_mse", 30) - trained("pointwise_mse", 0)).max() > 1


def test_a_stopped_training_goes_on_where_it_was(student_settings, collection, tmp_path):
    """Prevents a training that starts anew after a kill, or that ends elsewhere than an undisturbed one."""
    settings = SETTINGS.model_copy(update={"save_every": 5})
    lesson = TrainingSet(TRIPLES, SCORES)
    whole = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    fit(whole, lesson, collection, "margin_mse", settings, 0, tmp_path / "whole")

    def stop(done, of):
        if done == 7:
            raise KeyboardInterrupt

    steps = []
    first = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    with pytest.raises(KeyboardInterrupt):
        fit(first, lesson, collection, "margin_mse", settings, 0, tmp_path / "stopped", stop)
    second = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    fit(second, lesson, collection, "margin_mse", settings, 0, tmp_path / "stopped", lambda at, of: steps.append(at))
    assert steps[0] == 6
    for left, right in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_the_best_validated_weights_are_kept(student_settings, collection, tmp_path):
    """Prevents early stopping that keeps the last weights."""
    settings = SETTINGS.model_copy(update={"validate_every": 3, "patience": 2})
    student = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    seen = []

    def validate(at):
        seen.append(at.embedding.weight.detach().clone())
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


def test_kernels_have_a_rate_of_their_own(student_settings, collection, tmp_path):
    student = build_student(student_settings("tk"), list(PASSAGES.values()), seed=0)
    before = student.alpha_K.detach().clone()
    settings = SETTINGS.model_copy(update={"learning_rate": 1e-12, "kernel_learning_rate": 1e-2})
    fit(student, TrainingSet(TRIPLES, SCORES), collection, "margin_mse", settings, 0, tmp_path / "none")
    assert abs(student.alpha_K - before).max() > 1e-3


def test_measures_per_query_by_hand():
    """nDCG of grades 2 and 1 at places 2 and 1 of three: (1 + 2 / log2 3) / (2 + 1 / log2 3); a lost query counts 0."""
    qrels = {"a": {"x": 2, "y": 1}, "b": {"z": 1}}
    found = per_query({"a": {"y": 3.0, "x": 2.0, "z": 1.0}, "b": {}}, qrels, EvaluationSettings(recall=1), recall=True)
    log3 = float(np.log2(3))
    assert found["nDCG@10"] == pytest.approx([(1 + 2 / log3) / (2 + 1 / log3), 0])
    assert found["MRR@10"] == [1, 0]
    assert found["recall@1"] == [0.5, 0]


def test_differences_are_paired():
    arms = {"margin_mse": {"nDCG@10": [0.5, 0.9, 0.2]}, "ranknet": {"nDCG@10": [0.4, 0.8, 0.1]}}
    (found,) = differences(arms, "margin_mse", "nDCG@10")
    assert found.arm == "margin_mse - ranknet"
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    (plain,) = measures_of("ranknet", arms["ranknet"])
    assert (plain.value, plain.low, plain.high) == bootstrap_mean([0.4, 0.8, 0.1])


def test_dense_retrieval_is_exact(student_settings, collection):
    """Prevents an approximate or cosine index: faiss agrees with scoring every pair."""
    student = build_student(student_settings("dot"), [], seed=0)
    everything = {query_id: list(PASSAGES) for query_id in QUERIES}
    whole = rerank(student, collection, QUERIES, everything)
    found = retrieve(student, collection, QUERIES, 2)
    for query_id, scores in found.items():
        best = sorted(whole[query_id], key=lambda each: -whole[query_id][each])[:2]
        assert list(scores) == best
        assert list(scores.values()) == pytest.approx([whole[query_id][each] for each in best], abs=1e-4)
