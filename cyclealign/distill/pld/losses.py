"""Losses of the arms, from student logits, teacher logits and labels to a scalar.

Shapes: ``B`` items, ``C`` classes. Temperatures divide logits. Defaults are the best ones of the PLD paper, or those of
the method's own paper.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from cyclealign.training.losses import plackett_luce

Loss = Callable[..., Tensor]


def teacher_order(teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Return pi*: the label, then the other classes by descending teacher logit; shape (B, C) (arXiv 2506.12542)."""
    first_BC = teacher_BC.scatter(1, labels_B.unsqueeze(1), torch.inf)
    return first_BC.argsort(dim=1, descending=True, stable=True)


def pld(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, tau: float = 1.0) -> Tensor:
    """Negative Plackett-Luce log-likelihood of `teacher_order`, weighted by the teacher (arXiv 2506.12542).

    L = mean_n sum_k alpha_k * (logsumexp_{l >= k} s_{pi*_l} - s_{pi*_k}), alpha_k = softmax(t / tau)[pi*_k]. The
    softmax is taken over all classes and then permuted, without renormalisation. The student has no temperature.
    """
    order_BC = teacher_order(teacher_BC, labels_B)
    weights_BC = functional.softmax(teacher_BC / tau, dim=1).gather(1, order_BC)
    return plackett_luce(student_BC.gather(1, order_BC), weights_BC).mean()


def listmle(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """ListMLE of `teacher_order`: every position has the weight 1 / C, as in PLD of a uniform teacher."""
    order_BC = teacher_order(teacher_BC, labels_B)
    return plackett_luce(student_BC.gather(1, order_BC)).mean() / student_BC.shape[1]


def cross_entropy(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy with the labels, without the teacher: PLD with all weight on the first position."""
    return functional.cross_entropy(student_BC, labels_B)


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, alpha: float = 0.1, tau: float = 2.0) -> Tensor:
    """alpha * CE + (1 - alpha) * tau^2 * KL(teacher || student), both at temperature tau (arXiv 1503.02531)."""
    student, teacher = functional.log_softmax(student_BC / tau, 1), functional.log_softmax(teacher_BC / tau, 1)
    divergence = _kl_rows(student, teacher).mean()
    return alpha * functional.cross_entropy(student_BC, labels_B) + (1 - alpha) * tau**2 * divergence


def dist(
    student_BC: Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    ce: float = 1.0,
    inter: float = 2.0,
    intra: float = 2.0,
    tau: float = 4.0,
) -> Tensor:
    """DIST: ce * CE + tau^2 * (inter * d(rows) + intra * d(columns)), d = `pearson_distance` (arXiv 2205.10536).

    The factor tau^2 comes from the authors' code; the paper's formula lacks it.
    """
    student, teacher = functional.softmax(student_BC / tau, dim=1), functional.softmax(teacher_BC / tau, dim=1)
    relations = inter * pearson_distance(student, teacher) + intra * pearson_distance(student.T, teacher.T)
    return ce * functional.cross_entropy(student_BC, labels_B) + tau**2 * relations


def pearson_distance(a_RC: Tensor, b_RC: Tensor) -> Tensor:
    """Return 1 minus the mean Pearson correlation of the rows of two matrices, from 0 to 2."""
    centred_a, centred_b = a_RC - a_RC.mean(1, keepdim=True), b_RC - b_RC.mean(1, keepdim=True)
    # Epsilon as in the authors' code, so that rows without variation give 0 instead of NaN.
    lengths = centred_a.norm(dim=1) * centred_b.norm(dim=1) + 1e-8
    return 1 - ((centred_a * centred_b).sum(1) / lengths).mean()


def dkd(
    student_BC: Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    ce: float = 1.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    tau: float = 4.0,
) -> Tensor:
    """DKD: ce * CE + tau^2 * (alpha * TCKD + beta * NCKD), see `decoupled` (arXiv 2203.08679).

    Unlike the authors' code, beta does not grow over the first 20 epochs.
    """
    target, others = decoupled(student_BC / tau, teacher_BC / tau, labels_B)
    return ce * functional.cross_entropy(student_BC, labels_B) + tau**2 * (alpha * target + beta * others).mean()


def decoupled(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return TCKD (label against the rest) and NCKD (among the rest), shape (B,) each.

    KL(teacher || student) = TCKD + (1 - p_teacher(label)) * NCKD.
    """
    parts = [_label_and_rest(logits_BC, labels_B) for logits_BC in (student_BC, teacher_BC)]
    (student_B2, student_rest), (teacher_B2, teacher_rest) = parts
    return _kl_rows(student_B2, teacher_B2), _kl_rows(student_rest, teacher_rest)


def _label_and_rest(logits_BC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probs of (label, any other class), shape (B, 2), and of the other classes, shape (B, C - 1)."""
    is_label_BC = functional.one_hot(labels_B, logits_BC.shape[1]).bool()
    label_B1 = logits_BC[is_label_BC].unsqueeze(1)
    rest = logits_BC[~is_label_BC].view(len(logits_BC), -1)
    two_B2 = torch.cat([label_B1, rest.logsumexp(1, keepdim=True)], dim=1)
    return functional.log_softmax(two_B2, dim=1), functional.log_softmax(rest, dim=1)


def _kl_rows(student_logprobs: Tensor, teacher_logprobs: Tensor) -> Tensor:
    """Return KL(teacher || student) of each row, in nats."""
    return functional.kl_div(student_logprobs, teacher_logprobs, reduction="none", log_target=True).sum(1)


LOSSES: Mapping[str, Loss] = {
    "ce": cross_entropy,
    "kd": kd,
    "dist": dist,
    "dkd": dkd,
    "listmle": listmle,
    "pld": pld,
}
