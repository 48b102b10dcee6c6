"""Losses of IDCM (arXiv 2105.09816): scores in, a scalar out. No model.

Shapes: ``N`` (query, document) pairs, ``P`` windows per document. ``mask_NP`` is True at windows; only the mask marks
padding, since 0 is a valid score.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, mse_loss, softplus

SelectionLoss = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def ranknet(positive_N: Tensor, negative_N: Tensor) -> Tensor:
    """Return mean_n softplus(-(S(q, d+) - S(q, d-))), the loss of stages 1 and 2 (Burges et al. 2005)."""
    return softplus(negative_N - positive_N).mean()


def top_gains(etm_NP: Tensor, mask_NP: Tensor, top: int) -> Tensor:
    """Return gain ``top`` for ETM's best window, one less for each following one, and 0 after ``top``: shape (N, P)."""
    order_NP = etm_NP.masked_fill(~mask_NP, -torch.inf).argsort(dim=1, descending=True, stable=True)
    gains_P = (top - torch.arange(etm_NP.shape[1], device=etm_NP.device)).clamp(min=0).to(etm_NP.dtype)
    gains_NP = torch.zeros_like(etm_NP).scatter(1, order_NP, gains_P.expand_as(etm_NP))
    return gains_NP.masked_fill(~mask_NP, 0.0)


def ndcg2(esm_NP: Tensor, etm_NP: Tensor, mask_NP: Tensor, top: int) -> Tensor:
    """Return the selection loss of stage 3, ndcgLoss2 of LambdaLoss, summed over pairs of windows and over documents.

    L = - sum over gain_i > gain_j of w_ij log2 sigmoid(r_i - r_j), with windows numbered in ESM's order,
    w_ij = |1 / D(|i-j|) - 1 / D(|i-j|+1)| |G_i - G_j|, D(p) = log2(1 + p), G = (2^gain - 1) / maxDCG.

    Args:
        esm_NP: scores r of the trained module.
        etm_NP: scores of the teacher; only their order matters.
        top: k of the cascade.
    """
    order_NP = esm_NP.detach().masked_fill(~mask_NP, -torch.inf).argsort(dim=1, descending=True, stable=True)
    scores_NP, windows_NP = esm_NP.gather(1, order_NP), mask_NP.gather(1, order_NP)
    gains_NP = top_gains(etm_NP, mask_NP, top).gather(1, order_NP)
    value_NP = (2**gains_NP - 1) / _best_dcg(gains_NP)
    weights_NPP = _position_weights(scores_NP) * (value_NP.unsqueeze(2) - value_NP.unsqueeze(1)).abs()
    better_NPP = gains_NP.unsqueeze(2) > gains_NP.unsqueeze(1)
    counted_NPP = better_NPP & windows_NP.unsqueeze(2) & windows_NP.unsqueeze(1)
    # A padded score may be infinite, and infinity times a weight of 0 would still put NaN into the gradient.
    safe_NP = scores_NP.masked_fill(~windows_NP, 0.0)
    log2_sigmoid_NPP = logsigmoid(safe_NP.unsqueeze(2) - safe_NP.unsqueeze(1)) / math.log(2)
    return -(weights_NPP * log2_sigmoid_NPP)[counted_NPP].sum()


def _best_dcg(gains_NP: Tensor) -> Tensor:
    """Return the DCG of the best order, shape (N, 1)."""
    sorted_NP = gains_NP.sort(dim=1, descending=True).values
    positions_P = torch.arange(1, gains_NP.shape[1] + 1, device=gains_NP.device, dtype=gains_NP.dtype)
    dcg_N1 = ((2**sorted_NP - 1) / torch.log2(1 + positions_P)).sum(1, keepdim=True)
    return dcg_N1.clamp(min=torch.finfo(gains_NP.dtype).tiny)


def _position_weights(like_NP: Tensor) -> Tensor:
    """Return |1 / D(|i-j|) - 1 / D(|i-j|+1)| for positions i and j, shape (P, P); the diagonal is meaningless."""
    positions_P = torch.arange(like_NP.shape[1], device=like_NP.device)
    distance_PP = (positions_P.unsqueeze(0) - positions_P.unsqueeze(1)).abs().to(like_NP.dtype)
    distance_PP = distance_PP.clamp(min=1)  # avoids log2(1) = 0 on the diagonal, which no pair uses
    return (1 / torch.log2(1 + distance_PP) - 1 / torch.log2(2 + distance_PP)).abs()


def squared_error(esm_NP: Tensor, etm_NP: Tensor, mask_NP: Tensor, top: int) -> Tensor:
    """Return the mean squared difference of the raw scores (ablation); ``top`` is ignored."""
    return mse_loss(esm_NP[mask_NP], etm_NP[mask_NP])


def soft_cross_entropy(esm_NP: Tensor, etm_NP: Tensor, mask_NP: Tensor, top: int) -> Tensor:
    """Return the cross-entropy of softmax(ESM) under softmax(ETM), mean over documents, in nats (ablation)."""
    target_NP = etm_NP.masked_fill(~mask_NP, -torch.inf).softmax(1)
    logs_NP = esm_NP.masked_fill(~mask_NP, -torch.inf).log_softmax(1)
    return -(target_NP * logs_NP.masked_fill(~mask_NP, 0.0)).sum(1).mean()


SELECTION_LOSSES: dict[str, SelectionLoss] = {
    "ndcg2": ndcg2,
    "mse": squared_error,
    "cross_entropy": soft_cross_entropy,
}
