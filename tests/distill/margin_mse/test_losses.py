"""Losses: golden values of the authors' implementation, invariances, and the library's own Margin-MSE."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from cyclealign.distill.margin_mse.losses import LOSSES, margin_mse, pointwise_mse, ranknet, weighted_ranknet

GOLDEN = [
    tensor(row, dtype=torch.float64) for row in ([2, 1, 0.5, 3], [1.5, 1.2, -0.5, 0], [9, 7.5, 8, 6], [-3.0, 5, 7, 2])
]
numbers = st.lists(st.floats(-20, 20), min_size=4, max_size=4).map(lambda row: tensor(row, dtype=torch.float64))


@pytest.mark.parametrize(
    ("loss", "value"), [(margin_mse, 35.135), (pointwise_mse, 31.43), (weighted_ranknet, 2.047970519)]
)
def test_golden_values_of_the_authors_implementation(loss, value):
    """Prevents a loss that differs from the paper's by a factor or a sign."""
    assert loss(*GOLDEN).item() == pytest.approx(value, rel=1e-9)


def test_ranknet_golden_value():
    """Prevents a loss with the teacher's influence; equal scores give log 2."""
    zeros = torch.zeros(3)
    assert ranknet(zeros, zeros, zeros + 9, zeros).item() == pytest.approx(0.693147, rel=1e-5)
    assert ranknet(*GOLDEN[:2], *GOLDEN[2:]) == ranknet(*GOLDEN[:2], *GOLDEN[2:][::-1])


@given(numbers, numbers, numbers, numbers, numbers)
def test_margin_mse_ignores_an_offset_per_query_unlike_pointwise_mse(pos, neg, t_pos, t_neg, offset):
    """Prevents a loss that distils the teacher's range of scores, which the paper avoids."""
    plain = margin_mse(pos, neg, t_pos, t_neg).item()
    assert margin_mse(pos, neg, t_pos + offset, t_neg + offset).item() == pytest.approx(plain, abs=1e-7)
    assert margin_mse(pos + offset, neg + offset, t_pos, t_neg).item() == pytest.approx(plain, abs=1e-7)
    at_truth = pointwise_mse(t_pos, t_neg, t_pos + offset, t_neg + offset).item()
    assert at_truth == pytest.approx(offset.square().mean().item(), abs=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_student_gets_a_gradient(name):
    """Prevents a teacher that is moved towards its student."""
    rows = [row.clone().requires_grad_() for row in GOLDEN]
    LOSSES[name](*rows).backward()
    assert rows[0].grad.abs().sum() > 0
    assert rows[2].grad is None
    assert rows[3].grad is None


@pytest.mark.parametrize("name", LOSSES)
def test_the_positives_score_rises_if_the_teacher_prefers_it(name):
    """Prevents a sign error, which would teach reversed rankings."""
    pos, neg = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    LOSSES[name](pos, neg, tensor([6.0, 4.0]), tensor([-6.0, -4.0])).backward()
    assert (pos.grad < 0).all()
    assert (neg.grad > 0).all()


def test_equals_the_librarys_loss(student_settings):
    """Prevents a deviation from sentence-transformers' MarginMSELoss on the same model, texts and labels."""
    from sentence_transformers.sentence_transformer.losses import MarginMSELoss

    from cyclealign.distill.margin_mse.students.registry import build_student
    from tests.distill.margin_mse.conftest import PASSAGES, QUERIES

    student = build_student(student_settings("dot"), [], seed=0)
    queries, passages = list(QUERIES.values()), list(PASSAGES.values())
    triples = [passages[number] for number in (0, 1, 1, 2, 2, 3)]
    teacher = tensor([[7.0, -2.0], [3.0, 5.0], [1.0, 0.5]])
    scores = student(student.prepare(queries, triples))
    own = margin_mse(scores[:, 0], scores[:, 1], teacher[:, 0], teacher[:, 1])
    features = [student.model.preprocess(texts) for texts in (queries, triples[0::2], triples[1::2])]
    assert own.item() == pytest.approx(MarginMSELoss(student.model)(features, teacher).item(), rel=1e-5)
