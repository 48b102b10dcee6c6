"""The loss: golden values, equality with the library's loss, gradients."""

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from torch import nn, tensor
from torch.nn.functional import normalize

from cyclealign.distill.leaf.losses import embedding_distance

TEACHER = normalize(tensor([[1.0, 2, 2], [0, 3, 4]], dtype=torch.float64))
STUDENT = normalize(tensor([[2.0, 1, 2], [1, 2, 2]], dtype=torch.float64))


def test_golden_values():
    """Prevents a division by the dimensions (as in nn.MSELoss), or a sum over the batch."""
    assert embedding_distance(STUDENT, TEACHER, squared=True).item() == pytest.approx(0.177778, abs=1e-6)
    assert embedding_distance(STUDENT, TEACHER).item() == pytest.approx(0.418276, abs=1e-6)
    cosines = (STUDENT * TEACHER).sum(-1)
    assert cosines.tolist() == pytest.approx([0.888889, 0.933333], abs=1e-6)


def test_it_equals_the_librarys_loss():
    """Prevents a distance other than the one that Sentence Transformers computes under the same name."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, generator=generator)

    def library(metric: str) -> float:
        return EmbedDistillLoss(nn.Identity(), metric).compute_loss_from_embeddings([student], [teacher]).item()

    assert embedding_distance(student, teacher).item() == pytest.approx(library("l2"))
    assert embedding_distance(student, teacher, squared=True).item() == pytest.approx(7 * library("mse"))


@pytest.mark.parametrize("squared", [True, False])
def test_an_exactly_learned_text_has_a_zero_gradient(squared):
    """Prevents NaN, the norm's gradient at zero, from ruining a batch in which one text is learned exactly."""
    student = STUDENT.clone().requires_grad_()
    teacher = torch.stack([STUDENT[0], TEACHER[1]])
    embedding_distance(student, teacher, squared).backward()
    assert student.grad[0].tolist() == [0, 0, 0]
    assert student.grad[1].norm() > 0.1


def test_the_teacher_gets_no_gradient_and_shapes_must_agree():
    """Prevents a teacher moved towards its student, and a broadcast that hides wrong labels."""
    teacher = TEACHER.clone().requires_grad_()
    assert not embedding_distance(STUDENT, teacher).requires_grad
    with pytest.raises(ValueError, match=r"\(2, 3\), teacher vectors \(1, 3\)"):
        embedding_distance(STUDENT, TEACHER[:1])
