"""Margin-MSE and the losses that it is compared with: scores in, a scalar out.

All arguments have shape (B,): scores s of the student and t of the teacher, of the positive (+) and the negative (-)
passage of B triples. Sources: arXiv 2010.02666 and the authors' published code; golden values are in
`tests/distill/margin_mse/test_losses.py`.
"""

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import softplus

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def margin_mse(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """Return mean_b [(s+ - s-) - (t+ - t-)]^2: margins are distilled, not the teacher's range of scores."""
    return ((pos_B - neg_B) - (teacher_pos_B - teacher_neg_B).detach()).square().mean()


def pointwise_mse(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """Return 1/2 (mean_b (s+ - t+)^2 + mean_b (s- - t-)^2): the teacher's scores themselves are distilled."""
    return ((pos_B - teacher_pos_B.detach()).square().mean() + (neg_B - teacher_neg_B.detach()).square().mean()) / 2


def weighted_ranknet(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """Return mean_b (t+ - t-) log(1 + exp(-(s+ - s-))); weights are negative where the teacher prefers the negative."""
    return ((teacher_pos_B - teacher_neg_B).detach() * softplus(neg_B - pos_B)).mean()


def ranknet(pos_B: Tensor, neg_B: Tensor, teacher_pos_B: Tensor, teacher_neg_B: Tensor) -> Tensor:
    """Return mean_b log(1 + exp(-(s+ - s-))), which ignores the teacher; teachers are trained with it."""
    return softplus(neg_B - pos_B).mean()


LOSSES: Mapping[str, Loss] = {
    "margin_mse": margin_mse,
    "pointwise_mse": pointwise_mse,
    "weighted_ranknet": weighted_ranknet,
    "ranknet": ranknet,
}
