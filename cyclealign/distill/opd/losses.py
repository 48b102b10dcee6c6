"""The divergence between student and teacher as a pure function.

Dimensions: ``N`` tokens, ``V`` tokens of the vocabulary.
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

MAX_LOGITS = 2**26  # of a chunk: 256 MB in float32 for each model


def generalised_jsd(student_NV: Tensor, teacher_NV: Tensor, beta: float, temperature: float = 1.0) -> Tensor:
    """Return the generalised Jensen-Shannon divergence of each token's distribution, in nats, shape (N,).

    beta KL(T || M) + (1 - beta) KL(S || M) with the mixture M = beta T + (1 - beta) S (Agarwal et al. 2023, arXiv
    2306.13649, eq. 1). At beta 0 and 1, where it would be zero, it is KL(T || S) and KL(S || T), as in TRL.

    Args:
        student_NV, teacher_NV: logits of the next token over the same vocabulary.
        temperature: divides the logits of both.
    """
    student_NV = (student_NV.float() / temperature).log_softmax(-1)
    teacher_NV = (teacher_NV.float() / temperature).log_softmax(-1)
    if beta == 0:
        return kl(teacher_NV, student_NV)
    if beta == 1:
        return kl(student_NV, teacher_NV)
    mixture_NV = log_mixture(student_NV, teacher_NV, beta)
    return beta * kl(teacher_NV, mixture_NV) + (1 - beta) * kl(student_NV, mixture_NV)


def kl(first_NV: Tensor, second_NV: Tensor) -> Tensor:
    """Return KL(first || second) of log-probs, shape (N,).

    The last two terms have the sum 0. With them each token's term is at least 0, and where both are equal, value and
    gradient are exactly 0; otherwise the rounding of the probabilities' sum would be the gradient.
    """
    first_probs_NV = first_NV.exp()
    return (first_probs_NV * (first_NV - second_NV) - first_probs_NV + second_NV.exp()).sum(-1)


def log_mixture(student_NV: Tensor, teacher_NV: Tensor, beta: float) -> Tensor:
    """Return log(beta T + (1 - beta) S) of log-probs; exact where both are equal, and finite in value and gradient."""
    ahead_NV = teacher_NV - student_NV
    # Each is used where its exponent is at most 0; the clamps keep the other one from overflowing.
    over_student_NV = student_NV + torch.log1p(beta * torch.expm1(ahead_NV.clamp(max=0)))
    over_teacher_NV = teacher_NV + torch.log1p((1 - beta) * torch.expm1(-ahead_NV.clamp(min=0)))
    return torch.where(ahead_NV > 0, over_teacher_NV, over_student_NV)


def divergence_sum(
    student_NV: Tensor, teacher_NV: Tensor, beta: float, temperature: float, max_logits: int = MAX_LOGITS
) -> Tensor:
    """Return the sum of `generalised_jsd` over the tokens, a scalar; its log-probs are in memory chunk by chunk."""
    size = max(1, max_logits // student_NV.shape[-1])

    def chunk_sum(student_CV: Tensor, teacher_CV: Tensor) -> Tensor:
        return generalised_jsd(student_CV, teacher_CV, beta, temperature).sum()

    chunks = zip(student_NV.split(size), teacher_NV.split(size), strict=True)
    return torch.stack([checkpoint(chunk_sum, *pair, use_reentrant=False) for pair in chunks]).sum()


def answer_loss_sum(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Return the sum of -log P over the tokens of given answers, in nats: the loss of supervised fine-tuning."""
    return torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="sum")
