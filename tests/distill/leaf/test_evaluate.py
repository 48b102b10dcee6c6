"""The examination: nDCG as the library has it, controls that are fair, shares with the right denominator."""

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


def draw(seed: int, count: int, dims: int = 16):
    return unit(np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32))


@pytest.fixture
def relevant():
    choose = np.random.default_rng(3)
    return tuple(dict.fromkeys(choose.choice(60, size, replace=False).tolist(), 1) for size in [1, 2, 3, 12] * 10)


@pytest.fixture
def teacher(relevant):
    """Documents at random, each query near its relevant ones; the first dimensions carry most."""
    documents = draw(1, 60) * np.float32(0.75) ** np.arange(16, dtype=np.float32)
    queries = np.stack([documents[list(wanted)].mean(0) for wanted in relevant])
    return Arm("teacher", unit(queries + 0.1 * draw(2, len(queries))), unit(documents))


class Fixed:
    """What the library's evaluator needs of a model: vectors that are there already."""

    similarity_fn_name = "dot"
    model_card_data = None

    def __init__(self, arm):
        self.arm = arm

    def encode_query(self, texts, **_):
        return torch.tensor(self.arm.queries_QD[[int(text) for text in texts]])

    def encode_document(self, texts, **_):
        return torch.tensor(self.arm.documents_ND[[int(text) for text in texts]])


def test_ndcg_is_the_librarys(teacher, relevant):
    """Prevents a wrong discount or ideal, which shows where a query has several relevant documents."""
    asked = {f"q{n}": str(n) for n in range(len(relevant))}
    corpus = {f"d{n}": str(n) for n in range(60)}
    wanted = {f"q{n}": {f"d{each}" for each in each_query} for n, each_query in enumerate(relevant)}
    library = InformationRetrievalEvaluator(asked, corpus, wanted, score_functions={"dot": dot_score})
    expected = library.compute_all_metrics(Fixed(teacher))["dot"]["ndcg@k"][10]
    assert evaluate.ndcg(teacher, relevant).mean() == pytest.approx(expected)
    assert 0.2 < expected < 0.99


def test_a_perfect_and_a_hopeless_search():
    arm = Arm("any", np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32))
    assert evaluate.ndcg(arm, [{n: 1} for n in range(20)]).tolist() == [1.0] * 20
    away = Arm("any", -np.eye(20, dtype=np.float32), np.eye(20, dtype=np.float32))
    assert evaluate.ndcg(away, [{n: 1} for n in range(20)]).tolist() == [0.0] * 20


def test_the_misaligned_control_loses_nothing_but_the_alignment(teacher, relevant):
    control = evaluate.misaligned(teacher, seed=0)
    kept = control.queries_QD @ control.queries_QD.T
    assert np.allclose(kept, teacher.queries_QD @ teacher.queries_QD.T, atol=1e-5)
    assert evaluate.ndcg(control, relevant).mean() < 0.5 * evaluate.ndcg(teacher, relevant).mean()


def examined(teacher, relevant, student_queries):
    rotation = random_rotation(16, 5)
    turned = Arm("rotated_teacher", rotated(teacher.queries_QD, rotation), rotated(teacher.documents_ND, rotation))
    arms = [
        teacher,
        Arm("symmetric", student_queries, teacher.documents_ND),
        Arm("asymmetric", student_queries, teacher.documents_ND),
        turned,
        Arm("rotated_asymmetric", rotated(student_queries, rotation), turned.documents_ND),
    ]
    return evaluate.search(arms, [evaluate.misaligned(teacher, 0)], relevant, SETTINGS)


def test_shares_are_of_the_right_whole(teacher, relevant):
    """Prevents a student from being measured by itself, or a cut arm by the full teacher."""
    found = examined(teacher, relevant, teacher.queries_QD)
    by_name = {(each.arm, each.name): each for each in evaluate.retrieval_measures(found)}
    assert by_name["asymmetric 4d", "share_of_teacher"].value == 1.0
    full, cut = by_name["asymmetric", "ndcg_at_10"].value, by_name["asymmetric 4d", "ndcg_at_10"].value
    assert by_name["asymmetric 4d", "share_of_full"].value == pytest.approx(cut / full)
    assert by_name["misaligned", "share_of_teacher"].high < 0.6
    assert ("teacher", "share_of_teacher") not in by_name
    assert ("teacher 64d", "ndcg_at_10") not in by_name
    assert {name for arm, name in by_name if arm == "teacher 8d"} >= {"ndcg_at_10_int8", "ndcg_at_10_binary"}


def test_inheritance_is_measured_against_the_rotated_teacher(teacher, relevant):
    """Prevents a gate that passes on any teacher: a student of axes without order inherits nothing."""
    found = examined(teacher, relevant, teacher.queries_QD)
    by_name = {(each.arm, each.name): each for each in evaluate.comparisons(found)}
    assert by_name["asymmetric 4d", "inherited"].low > 0
    assert by_name["asymmetric", "gain_over_symmetric"].value == 0
    assert by_name["asymmetric", "gain_over_misaligned"].low > 0

    rotation = random_rotation(16, 9)
    flat = Arm("teacher", rotated(teacher.queries_QD, rotation), rotated(teacher.documents_ND, rotation))
    unordered = evaluate.comparisons(examined(flat, relevant, flat.queries_QD))
    (nothing,) = [each for each in unordered if (each.arm, each.name) == ("asymmetric 4d", "inherited")]
    assert nothing.value < by_name["asymmetric 4d", "inherited"].value / 2


def test_closeness_is_of_texts_and_not_of_arms(teacher):
    other = Arm("symmetric", teacher.queries_QD, draw(8, 60))
    by_name = {(each.arm, each.name): each.value for each in evaluate.closeness([teacher, other])}
    assert by_name["symmetric", "cosine_of_queries"] == pytest.approx(1)
    assert abs(by_name["symmetric", "cosine_of_documents"]) < 0.2


def test_curves_end_at_all_dimensions(teacher, relevant):
    drawn = evaluate.curves(examined(teacher, relevant, teacher.queries_QD), 16)
    assert {each.arm for each in drawn} == {
        "teacher",
        "symmetric",
        "asymmetric",
        "rotated_teacher",
        "rotated_asymmetric",
    }
    assert {each.x for each in drawn} == {(4.0, 8.0, 16.0)}
    assert len(drawn) == 15
