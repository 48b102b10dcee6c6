"""The divergence: values and gradients of TRL, and its invariants."""

import pytest
import torch
from torch import Tensor

from cyclealign.distill.opd.losses import answer_loss_sum, divergence_sum, generalised_jsd

BETAS = [0.0, 0.1, 0.5, 0.9, 1.0]


def logits(seed: int, tokens: int = 7, vocabulary: int = 33, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(tokens, vocabulary, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("beta", BETAS)
def test_values_and_gradients_are_those_of_trls_stable_trainer(beta, temperature):
    """Prevents a mixture with swapped weights, a divergence in the wrong direction, and a temperature left out."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    own, theirs = logits(0).requires_grad_(), logits(0).requires_grad_()
    teacher, head = logits(1), torch.eye(33)
    value = generalised_jsd(own, teacher, beta, temperature).mean()
    golden, _, _ = _chunked_divergence_loss(
        theirs[None], teacher[None], head, head, torch.ones(1, 7), beta, temperature=temperature
    )
    value.backward()
    golden.backward()
    assert value.item() == pytest.approx(golden.item(), abs=1e-6)
    assert torch.allclose(own.grad, theirs.grad, atol=1e-6, rtol=0)
    assert value.item() > 0.01


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("beta", BETAS)
def test_values_are_those_of_trls_gkd(beta):
    """Prevents a loss that is no longer the one of the paper's trainer."""
    from trl.experimental.gkd import GKDTrainer

    golden = GKDTrainer.generalized_jsd_loss(logits(0)[None], logits(1)[None], beta=beta, temperature=1.5)
    assert divergence_sum(logits(0), logits(1), beta, 1.5).item() == pytest.approx(golden.item(), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_a_teacher_that_is_the_student_gives_zero_loss_and_gradient(beta):
    """Prevents a loss that moves a student away from a teacher that it equals."""
    own = logits(0, tokens=50, vocabulary=200, scale=5.0).requires_grad_()
    loss = generalised_jsd(own, own.detach().clone(), beta)
    loss.sum().backward()
    assert loss.abs().max().item() <= 1e-7
    assert own.grad.abs().max().item() <= 1e-7


@pytest.mark.parametrize("beta", BETAS)
def test_certain_and_opposite_models_give_finite_values_and_gradients(beta):
    """Prevents NaN where one model rules out what the other one says."""
    own = torch.tensor([[200.0, 0.0, -200.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss = generalised_jsd(own, torch.tensor([[-200.0, 0.0, 200.0], [300.0, 0.0, 0.0]]), beta)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert own.grad.isfinite().all()
    if 0 < beta < 1:
        limit = -(beta * torch.tensor(beta).log() + (1 - beta) * torch.tensor(1 - beta).log())
        assert loss[0].item() == pytest.approx(limit.item(), abs=1e-5)  # the entropy of the mixture's weights


def test_chunks_change_neither_value_nor_gradient():
    """Prevents tokens that are counted twice or never at the border of a chunk."""
    whole, parts = logits(0).requires_grad_(), logits(0).requires_grad_()
    one = divergence_sum(whole, logits(1), 0.5, 1.0)
    several = divergence_sum(parts, logits(1), 0.5, 1.0, max_logits=70)  # two tokens at a time
    one.backward()
    several.backward()
    assert several.item() == pytest.approx(one.item(), rel=1e-6)
    assert torch.allclose(whole.grad, parts.grad, atol=1e-7)


def test_the_loss_of_fine_tuning_is_the_negative_log_likelihood():
    """Prevents a control arm that trains on something else."""
    values = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    expected = -(torch.tensor(0.25).log() + torch.tensor(0.8).log())
    assert answer_loss_sum(values, torch.tensor([1, 2])).item() == pytest.approx(expected.item())
