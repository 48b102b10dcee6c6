"""Losses of ranked lists as pure functions: ranking by mean log-probs, the SFT term and the KL term. No TRL.

Dimensions: ``B`` lists of a batch, ``N`` answers of a list, best first along the last axis. Log-probs are in nats.
Other losses are in `preference_losses`, the registry in `objectives`.
"""

from typing import Literal

import torch
from torch import Tensor

# Far below any log-prob, yet finite: with -inf the gradient of logcumsumexp is NaN.
MASKED = -1e30
# No policy is more likely than this per token, relative to a parent that sampled the answer; keeps exp finite.
MAX_LOG_RATIO = 20.0


def mean_logprobs(logprob_sums_N: Tensor, lengths_N: Tensor) -> Tensor:
    """Return p_i = (1 / len_i) * sum_t log P(y_it | x, y_i<t) (RRHF, arXiv 2304.05302, eq. 1).

    Args:
        logprob_sums_N: sum of the token log-probs of each answer, shape (N,).
        lengths_N: token count of each answer itself, without padding, shape (N,).
    """
    return logprob_sums_N / lengths_N


def rrhf_ranking(p_N: Tensor, weights_NN: Tensor | None = None) -> Tensor:
    """Return RRHF's ranking term, a scalar: sum of w_ji * max(0, p_i - p_j) over pairs with i ranked below j.

    Yuan et al., arXiv 2304.05302, eq. 2. There is no margin; in the paper w is 1.

    Args:
        p_N: length-normalised log-probs, shape (N,), best first.
        weights_NN: weight of each pair, indexed [better, worse]. Default: 1 for every pair in list order.
    """
    worse_minus_better_NN = p_N.unsqueeze(0) - p_N.unsqueeze(1)  # [better, worse]
    if weights_NN is None:
        return torch.relu(worse_minus_better_NN).triu(diagonal=1).sum()
    return (weights_NN * torch.relu(worse_minus_better_NN)).sum()


def unbeaten(weights_NN: Tensor) -> Tensor:
    """Return a mask, shape (N,), of the answers that win at least one pair and lose none.

    If there are none (the pairs form a cycle), the mask selects the first answer alone, as the consensus does.

    Args:
        weights_NN: weight of each pair, indexed [better, worse].
    """
    best_N = (weights_NN.sum(1) > 0) & (weights_NN.sum(0) == 0)
    if not best_N.any():
        best_N = torch.arange(len(best_N), device=best_N.device) == 0
    return best_N


def plackett_luce_terms(scores_BN: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Return the Plackett-Luce negative log-likelihood of the given order, by position: logsumexp_{i >= k} s_i - s_k.

    Args:
        scores_BN: shape (..., N), best first; already divided by the temperature, if the method has one.
        mask_BN: False at padding, which must be at the end. Default: no padding.

    Returns:
        Shape (..., N); 0 at padding and at the last answer.
    """
    if mask_BN is None:
        mask_BN = torch.ones_like(scores_BN, dtype=torch.bool)
    masked_BN = scores_BN.masked_fill(~mask_BN, MASKED)
    logsumexp_of_rest_BN = masked_BN.flip(-1).logcumsumexp(-1).flip(-1)
    return torch.where(mask_BN, logsumexp_of_rest_BN - masked_BN, torch.zeros_like(masked_BN))


def plackett_luce(scores_BN: Tensor, weights_BN: Tensor | None = None, mask_BN: Tensor | None = None) -> Tensor:
    """Return the weighted Plackett-Luce negative log-likelihood of the given order, shape (...), one value per list.

    L = sum_k w_k * (logsumexp_{i >= k} s_i - s_k). With w = 1 it is ListMLE and PRO's ranking term (without reward
    temperature). With the teacher's softmax as w it is PLD. With w = 1 for valid negatives and 0 for all others it is
    CPRD: an item of weight 0 has no term of its own, but stays in the denominators of the items ranked above it.

    Args:
        scores_BN: shape (..., N), best first.
        weights_BN: weight of each position, same shape. Default: 1.
        mask_BN: False at padding, which must be at the end. Default: no padding.
    """
    terms_BN = plackett_luce_terms(scores_BN, mask_BN)
    return (terms_BN if weights_BN is None else weights_BN * terms_BN).sum(-1)


def sft(logprob_sums_N: Tensor, lengths_N: Tensor, best_N: Tensor, reduction: Literal["sum", "mean"] = "sum") -> Tensor:
    """Return the SFT term of a list, a scalar: the mean over its best answers of -sum_t log P(y_t).

    RRHF, arXiv 2304.05302, eq. 3, and PRO, arXiv 2306.17492. Their sum over tokens grows with the length, while the
    ranking terms are means over tokens.

    Args:
        logprob_sums_N: sum of the token log-probs of each answer, shape (N,).
        lengths_N: token count of each answer, shape (N,).
        best_N: mask of the answers to imitate; several are tied.
        reduction: over the tokens of an answer; "sum" in both papers.
    """
    scores_N = logprob_sums_N if reduction == "sum" else mean_logprobs(logprob_sums_N, lengths_N)
    return -scores_N[best_N].mean()


def kl_from_parent(logprob_sums_A: Tensor, parent_sums_A: Tensor, lengths_A: Tensor) -> Tensor:
    """Return an estimate of KL(parent || policy) in nats per token by each answer, shape (A,): exp(d) - 1 - d >= 0.

    d is the mean over the answer's tokens of log P - log P_parent. For samples of the parent, -d is the plain estimate;
    exp(d) - 1 has the mean 0 where d is the log-ratio of a token, and lowers the variance (k3 of Schulman, 2020,
    "Approximating KL divergence", http://joschu.net/blog/kl-approx.html). With the mean over tokens as d it is a lower
    bound of the token-wise form, by Jensen's inequality, and equal to it at the parent, as is its gradient there, 0.
    Sampling with another temperature or top-p than 1 makes it approximate.

    Args:
        logprob_sums_A: sum of the policy's token log-probs of each answer, shape (A,).
        parent_sums_A: the parent's, over the same tokens.
        lengths_A: number of these tokens.
    """
    d_A = ((logprob_sums_A - parent_sums_A) / lengths_A).clamp(max=MAX_LOG_RATIO)
    return torch.expm1(d_A) - d_A
