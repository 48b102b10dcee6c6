"""Losses of the arms: student's logits, teacher's logits and labels in, a scalar out.

Shapes: ``B`` items, ``C`` classes. Temperatures divide logits. Defaults are those that the PLD paper found best, or the
method's own.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from cyclealign.training.losses import plackett_luce

Loss = Callable[..., Tensor]


def teacher_order(teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """pi*: the label first, then all other classes by descending teacher logit (arXiv 2506.12542); shape (B, C)."""
    first_BC = teacher_BC.scatter(1, labels_B.unsqueeze(1), torch.inf)
    return first_BC.argsort(dim=1, descending=True, stable=True)


def pld(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, tau: float = 1.0) -> Tensor:
    """Plackett-Luce likelihood of `teacher_order`, each place weighted by the teacher's softmax (arXiv 2506.12542).

    L = mean_n sum_k alpha_k * (logsumexp_{l >= k} s_{pi*_l} - s_{pi*_k}), alpha_k = softmax(t / tau)[pi*_k]: over all
    classes, then permuted, not renormalised. The student's logits are not softened.
    """
    order_BC = teacher_order(teacher_BC, labels_B)
    weights_BC = functional.softmax(teacher_BC / tau, dim=1).gather(1, order_BC)
    return plackett_luce(student_BC.gather(1, order_BC), weights_BC).mean()


def listmle(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """The same order with equal weights, 1 / C each: PLD of a teacher that is sure of nothing."""
    order_BC = teacher_order(teacher_BC, labels_B)
    return plackett_luce(student_BC.gather(1, order_BC)).mean() / student_BC.shape[1]


def cross_entropy(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """The arm that does without the teacher: PLD with weight on the first place only."""
    return functional.cross_entropy(student_BC, labels_B)


def kd(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor, alpha: float = 0.1, tau: float = 2.0) -> Tensor:
    """alpha * CE + (1 - alpha) * tau^2 * KL(teacher || student), both softened by tau (arXiv 1503.02531)."""
    softened = _divergence(functional.log_softmax(student_BC / tau, 1), functional.log_softmax(teacher_BC / tau, 1))
    return alpha * functional.cross_entropy(student_BC, labels_B) + (1 - alpha) * tau**2 * softened


def dist(
    student_BC: Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    ce: float = 1.0,
    inter: float = 2.0,
    intra: float = 2.0,
    tau: float = 4.0,
) -> Tensor:
    """ce * CE + tau^2 * (inter * rows + intra * columns), each 1 - mean Pearson of the softmaxes (arXiv 2205.10536).

    The factor tau^2 is that of the authors' code; the paper's formula is without it.
    """
    student, teacher = functional.softmax(student_BC / tau, dim=1), functional.softmax(teacher_BC / tau, dim=1)
    relations = inter * unlike(student, teacher) + intra * unlike(student.T, teacher.T)
    return ce * functional.cross_entropy(student_BC, labels_B) + tau**2 * relations


def unlike(a_RC: Tensor, b_RC: Tensor) -> Tensor:
    """1 - the mean Pearson correlation of the rows of two matrices."""
    centred_a, centred_b = a_RC - a_RC.mean(1, keepdim=True), b_RC - b_RC.mean(1, keepdim=True)
    # As the authors have it: added, so that rows without any variation give 0 and no NaN.
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
    """ce * CE + tau^2 * (alpha * TCKD + beta * NCKD): label against rest, and among the rest (arXiv 2203.08679).

    The authors' code lets the second part grow over the first 20 epochs; this one does not.
    """
    target, others = decoupled(student_BC / tau, teacher_BC / tau, labels_B)
    return ce * functional.cross_entropy(student_BC, labels_B) + tau**2 * (alpha * target + beta * others).mean()


def decoupled(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """The two parts of KL(teacher || student), an item each, shape (B,): KL = TCKD + (1 - p_label of teacher) NCKD."""
    parts = [_label_and_rest(logits_BC, labels_B) for logits_BC in (student_BC, teacher_BC)]
    (student_B2, student_rest), (teacher_B2, teacher_rest) = parts
    return _divergences(student_B2, teacher_B2), _divergences(student_rest, teacher_rest)


def _label_and_rest(logits_BC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probs of (label, any other class), shape (B, 2), and of the others among themselves, shape (B, C - 1)."""
    is_label_BC = functional.one_hot(labels_B, logits_BC.shape[1]).bool()
    label_B1 = logits_BC[is_label_BC].unsqueeze(1)
    rest = logits_BC[~is_label_BC].view(len(logits_BC), -1)
    two_B2 = torch.cat([label_B1, rest.logsumexp(1, keepdim=True)], dim=1)
    return functional.log_softmax(two_B2, dim=1), functional.log_softmax(rest, dim=1)


def _divergences(student_logprobs: Tensor, teacher_logprobs: Tensor) -> Tensor:
    """KL(teacher || student) of each row, in nats."""
    return functional.kl_div(student_logprobs, teacher_logprobs, reduction="none", log_target=True).sum(1)


def _divergence(student_logprobs: Tensor, teacher_logprobs: Tensor) -> Tensor:
    return _divergences(student_logprobs, teacher_logprobs).mean()


LOSSES: Mapping[str, Loss] = {
    "ce": cross_entropy,
    "kd": kd,
    "dist": dist,
    "dkd": dkd,
    "listmle": listmle,
    "pld": pld,
}
