"""Margin-MSE and the losses that it is compared with: scores in, a scalar out. No model.

All arguments have shape (B,): one score for the positive and one for the negative passage of each of B triples.
Sources: arXiv 2010.02666 and the authors' published code; `tests/distill/margin_mse/test_losses.py` has golden values.
"""

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import softplus

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def margin_mse(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """mean_b [(s+ - s-) - (t+ - t-)]^2: the student need not take over the teacher's range of scores."""
    return ((pos_B - neg_B) - (teacher_pos_B - teacher_neg_B).detach()).square().mean()


def pointwise_mse(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """1/2 (mean_b (s+ - t+)^2 + mean_b (s- - t-)^2): the teacher's scores themselves."""
    return ((pos_B - teacher_pos_B.detach()).square().mean() + (neg_B - teacher_neg_B.detach()).square().mean()) / 2


def weighted_ranknet(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """mean_b (t+ - t-) * log(1 + exp(-(s+ - s-))). The weight is negative where the teacher prefers the negative."""
    return ((teacher_pos_B - teacher_neg_B).detach() * softplus(neg_B - pos_B)).mean()


def ranknet(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """mean_b log(1 + exp(-(s+ - s-))): no teacher. Teachers themselves are trained with it."""
    return softplus(neg_B - pos_B).mean()


LOSSES: Mapping[str, Loss] = {
    "margin_mse": margin_mse,
    "pointwise_mse": pointwise_mse,
    "weighted_ranknet": weighted_ranknet,
    "ranknet": ranknet,
}
