"""Evaluation: nDCG equal to the library's, fair controls, shares with the right denominator."""

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import dot_score

from cyclealign.distill.leaf import evaluate
from cyclealign.distill.leaf.config import EvaluationSettings
from cyclealign.distill.leaf.evaluate import Arm
from cyclealign.distill.leaf.rotations import random_rotation, rotated, unit

SETTINGS = EvaluationSettings(dims=(8, 4, 64))


def random_units(seed: int, count: int, dims: int = 16):
    return unit(np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32))


@pytest.fixture
def relevant():
    draw = np.random.default_rng(3)
    return tuple(dict.fromkeys(draw.choice(60, size, replace=False).tolist(), 1) for size in [1, 2, 3, 12] * 10)


@pytest.fixture
def teacher(relevant):
    """Documents at random, each query near its relevant ones; the first dimensions carry most."""
    documents = random_units(1, 60) * np.float32(0.75) ** np.arange(16, dtype=np.float32)
    queries = np.stack([documents[list(grades)].mean(0) for grades in relevant])
    return Arm("teacher", unit(queries + 0.1 * random_units(2, len(queries))), unit(documents))


class ArmModel:
    """A fake model for the library's evaluator, which encodes texts as the vectors of an arm."""

    similarity_fn_name = "dot"
    model_card_data = None

    def __init__(self, arm):
        self.arm = arm

    def encode_query(self, texts, **_):
        return torch.tensor(self.arm.queries_QD[[int(text) for text in texts]])

    def encode_document(self, texts, **_):
        return torch.tensor(self.arm.documents_ND[[int(text) for text in texts]])


def test_ndcg_equals_the_librarys(teacher, relevant):
    """Prevents a wrong discount or ideal ranking, which matter for queries with several relevant documents."""
    queries = {f"q{n}": str(n) for n in range(len(relevant))}
    corpus = {f"d{n}": str(n) for n in range(60)}
    qrels = {f"q{n}": {f"d{document}" for document in grades} for n, grades in enumerate(relevant)}
    library = InformationRetrievalEvaluator(queries, corpus, qrels, score_functions={"dot": dot_score})
    expected = library.compute_all_metrics(ArmModel(teacher))["dot"]["ndcg@k"][10]
    assert evaluate.ndcg(teacher, relevant).mean() == pytest.approx(expected)
    assert 0.2 < expected < 0.99


def test_a_perfect_search_scores_1_and_a_reversed_one_0():
    """Prevents an index that sorts by distance instead of the dot product."""
    arm = Arm("any", np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32))
    assert evaluate.ndcg(arm, [{n: 1} for n in range(20)]).tolist() == [1.0] * 20
    away = Arm("any", -np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32))
    assert evaluate.ndcg(away, [{n: 1} for n in range(20)]).tolist() == [0.0] * 20


def test_the_misaligned_control_loses_only_the_alignment(teacher, relevant):
    """Prevents a control that is bad for another reason than its rotation."""
    control = evaluate.misaligned(teacher, seed=0)
    dot_products = control.queries_QD @ control.queries_QD.T
    assert np.allclose(dot_products, teacher.queries_QD @ teacher.queries_QD.T, atol=1e-5)
    assert evaluate.ndcg(control, relevant).mean() < 0.5 * evaluate.ndcg(teacher, relevant).mean()


def evaluated(teacher, relevant, student_queries):
    rotation = random_rotation(16, 5)
    rotated_teacher = Arm(
        "rotated_teacher", rotated(teacher.queries_QD, rotation), rotated(teacher.documents_ND, rotation)
    )
    arms = [
        teacher,
        Arm("symmetric", student_queries, teacher.documents_ND),
        Arm("asymmetric", student_queries, teacher.documents_ND),
        rotated_teacher,
        Arm("rotated_asymmetric", rotated(student_queries, rotation), rotated_teacher.documents_ND),
    ]
    return evaluate.search(arms, [evaluate.misaligned(teacher, 0)], relevant, SETTINGS)


def test_shares_have_the_right_denominator(teacher, relevant):
    """Prevents a student from being compared with itself, or a truncated arm with the full teacher."""
    results = evaluated(teacher, relevant, teacher.queries_QD)
    by_name = {(measure.arm, measure.name): measure for measure in evaluate.retrieval_measures(results)}
    assert by_name["asymmetric 4d", "share_of_teacher"].value == 1.0
    full, truncated = by_name["asymmetric", "ndcg_at_10"].value, by_name["asymmetric 4d", "ndcg_at_10"].value
    assert by_name["asymmetric 4d", "share_of_full"].value == pytest.approx(truncated / full)
    assert by_name["misaligned", "share_of_teacher"].high < 0.6
    assert ("teacher", "share_of_teacher") not in by_name
    assert ("teacher 64d", "ndcg_at_10") not in by_name
    assert {name for arm, name in by_name if arm == "teacher 8d"} >= {"ndcg_at_10_int8", "ndcg_at_10_binary"}


def test_inheritance_is_measured_against_the_rotated_teacher(teacher, relevant):
    """Prevents a test that passes on any teacher: axes without an order leave nothing to inherit."""
    results = evaluated(teacher, relevant, teacher.queries_QD)
    by_name = {(measure.arm, measure.name): measure for measure in evaluate.comparisons(results)}
    assert by_name["asymmetric 4d", "inherited"].low > 0
    assert by_name["asymmetric", "gain_over_symmetric"].value == 0
    assert by_name["asymmetric", "gain_over_misaligned"].low > 0

    rotation = random_rotation(16, 9)
    flat = Arm("teacher", rotated(teacher.queries_QD, rotation), rotated(teacher.documents_ND, rotation))
    unordered = evaluate.comparisons(evaluated(flat, relevant, flat.queries_QD))
    (nothing,) = [measure for measure in unordered if (measure.arm, measure.name) == ("asymmetric 4d", "inherited")]
    assert nothing.value < by_name["asymmetric 4d", "inherited"].value / 2


def test_closeness_compares_queries_and_documents_separately(teacher):
    """Prevents the cosine of queries from being reported as that of documents."""
    other = Arm("symmetric", teacher.queries_QD, random_units(8, 60))
    by_name = {(measure.arm, measure.name): measure.value for measure in evaluate.closeness([teacher, other])}
    assert by_name["symmetric", "cosine_of_queries"] == pytest.approx(1)
    assert abs(by_name["symmetric", "cosine_of_documents"]) < 0.2


def test_curves_end_at_full_size(teacher, relevant):
    """Prevents curves without the untruncated point, or without an arm."""
    curves = evaluate.curves(evaluated(teacher, relevant, teacher.queries_QD), 16)
    assert {curve.arm for curve in curves} == {
        "teacher",
        "symmetric",
        "asymmetric",
        "rotated_teacher",
        "rotated_asymmetric",
    }
    assert {curve.x for curve in curves} == {(4.0, 8.0, 16.0)}
    assert len(curves) == 15
