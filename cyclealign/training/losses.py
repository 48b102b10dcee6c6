"""Ranking losses: scores and labels in, a scalar out. No model, no tokenizer.

Shapes: ``B`` lists, ``N`` answers of a list. Scores are sorted best first along the last axis: sort before calling.
"""

import torch
from torch import Tensor

# Far below any log-prob, yet finite: -inf would turn the gradients of logcumsumexp into NaN.
MASKED = -1e30


def mean_logprobs(logprob_sums_N: Tensor, lengths_N: Tensor) -> Tensor:
    """p_i = (1 / len_i) * sum_t log P(y_it | x, y_i<t), RRHF eq. 1: divided by each answer's *own* token count."""
    return logprob_sums_N / lengths_N


def rrhf_ranking(p_N: Tensor, weights_NN: Tensor | None = None) -> Tensor:
    """Sum over pairs with i ranked worse than j of w_ji * max(0, p_i - p_j) (RRHF eq. 2; no margin; w is 1 there).

    Args:
        p_N: length-normalised log-probs in nats per token, shape (N,), best first.
        weights_NN: weight of each pair, [better, worse]; 1 for every pair in the order of the list where absent.
    """
    worse_minus_better_NN = p_N.unsqueeze(0) - p_N.unsqueeze(1)  # [better, worse]
    if weights_NN is None:
        return torch.relu(worse_minus_better_NN).triu(diagonal=1).sum()
    return (weights_NN * torch.relu(worse_minus_better_NN)).sum()


def unbeaten(weights_NN: Tensor) -> Tensor:
    """Which answers are better than some and worse than none, shape (N,) of bool; only the first where none is.

    Args:
        weights_NN: weight of each pair, [better, worse].
    """
    best_N = (weights_NN.sum(1) > 0) & (weights_NN.sum(0) == 0)
    if not best_N.any():  # the pairs run in a circle: the consensus breaks it
        best_N = torch.arange(len(best_N), device=best_N.device) == 0
    return best_N


def plackett_luce_terms(scores_BN: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Plackett-Luce negative log-likelihood of the given order, place by place: logsumexp_{i >= k} s_i - s_k.

    Args:
        scores_BN: shape (..., N), best first; divided by the temperature, where the method has one.
        mask_BN: True where there is an answer; padding must be at the end.

    Returns:
        One value a place, shape (..., N); 0 where there is no answer, and at the last one.
    """
    if mask_BN is None:
        mask_BN = torch.ones_like(scores_BN, dtype=torch.bool)
    filled_BN = scores_BN.masked_fill(~mask_BN, MASKED)
    rest_BN = filled_BN.flip(-1).logcumsumexp(-1).flip(-1)
    return torch.where(mask_BN, rest_BN - filled_BN, torch.zeros_like(filled_BN))


def plackett_luce(scores_BN: Tensor, weights_BN: Tensor | None = None, mask_BN: Tensor | None = None) -> Tensor:
    """Weighted Plackett-Luce negative log-likelihood of the given order, one value a list, shape (...).

    L = sum_k w_k * (logsumexp_{i >= k} s_i - s_k). With weights 1 it is PRO's ranking term (without reward
    temperature) and ListMLE; with a teacher's softmax as weights it is PLD; with weight 1 for valid negatives, 0 for
    the others, it is CPRD: what has weight 0 asks nothing for itself, yet stands among those to be beaten.

    Args:
        scores_BN: shape (..., N), best first.
        weights_BN: weight of each place, same shape; 1 where absent.
        mask_BN: True where there is an answer; padding must be at the end.
    """
    terms_BN = plackett_luce_terms(scores_BN, mask_BN)
    return (terms_BN if weights_BN is None else weights_BN * terms_BN).sum(-1)


def rrhf(
    logprob_sums_N: Tensor, lengths_N: Tensor, sft_weight: float | None = None, weights_NN: Tensor | None = None
) -> Tensor:
    """RRHF of one list: ranking term + SFT term on the best answer (Yuan et al., arXiv 2304.05302, eq. 2-4).

    Where pairs are weighted, the SFT term is the mean over the answers that none beats: a tie at the top stays a tie.

    Args:
        logprob_sums_N: sum of token log-probs of each answer in nats, shape (N,), best first.
        lengths_N: token count of each answer, shape (N,).
        sft_weight: weight of -sum_t log P(y_best,t); the paper's is 1.
        weights_NN: weight of each pair, [better, worse]; all 1 where absent.
    """
    sft = -logprob_sums_N[0] if weights_NN is None else -logprob_sums_N[unbeaten(weights_NN)].mean()
    ranking = rrhf_ranking(mean_logprobs(logprob_sums_N, lengths_N), weights_NN)
    return ranking + (1.0 if sft_weight is None else sft_weight) * sft


def pro(
    logprob_sums_N: Tensor, lengths_N: Tensor, sft_weight: float | None = None, weights_NN: Tensor | None = None
) -> Tensor:
    """PRO of one list without reward temperature (Song et al., arXiv 2306.17492): Plackett-Luce + SFT term.

    Args as in `rrhf`; the paper's ``sft_weight`` is 0.05 * (N - 1)^2. PRO is a likelihood of a total order: the weights
    of pairs are not used, and ties are broken as the order of the list breaks them.
    """
    own = 0.05 * (logprob_sums_N.shape[0] - 1) ** 2
    sft = -logprob_sums_N[0]
    ranking = plackett_luce(mean_logprobs(logprob_sums_N, lengths_N))
    return ranking + (own if sft_weight is None else sft_weight) * sft


LISTWISE = {"rrhf": rrhf, "pro": pro}
