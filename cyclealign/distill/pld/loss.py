"""Losses of the arms: student's logits, teacher's logits and labels in, a scalar out.

Shapes: ``B`` items, ``C`` classes. Temperatures divide logits.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from cyclealign.losses import plackett_luce

Arm = Callable[..., Tensor]


def teacher_order(teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """pi*: the label first, then all other classes by descending teacher logit (PLD, section 3); shape (B, C)."""
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


def cross_entropy(student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> Tensor:
    """The arm that does without the teacher."""
    return functional.cross_entropy(student_BC, labels_B)


LOSSES: Mapping[str, Arm] = {"ce": cross_entropy, "pld": pld}
