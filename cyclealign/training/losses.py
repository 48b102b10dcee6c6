"""Ranking losses as pure functions, and the registry of training objectives. Does not import TRL.

Dimensions: ``B`` lists or pairs of a batch, ``N`` answers of a list, best first along the last axis. Log-probs are in
nats.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# Far below any log-prob, yet finite: with -inf the gradient of logcumsumexp is NaN.
MASKED = -1e30


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


def rrhf(logprob_sums_N: Tensor, lengths_N: Tensor, sft_weight: float, weights_NN: Tensor | None = None) -> Tensor:
    """Return the RRHF loss of one list, a scalar: ranking term + ``sft_weight`` * SFT term.

    Yuan et al., arXiv 2304.05302, eq. 2 to 4. The SFT term is -sum_t log P(y_best,t). With pair weights it is the
    mean over the unbeaten answers, so that the first of several tied answers is not preferred.

    Args:
        logprob_sums_N: sum of the token log-probs of each answer, shape (N,), best first.
        lengths_N: token count of each answer, shape (N,).
        sft_weight: weight of the SFT term; 1 in the paper.
        weights_NN: weight of each pair, indexed [better, worse]. Default: 1 for every pair in list order.
    """
    sft = -logprob_sums_N[0] if weights_NN is None else -logprob_sums_N[unbeaten(weights_NN)].mean()
    return rrhf_ranking(mean_logprobs(logprob_sums_N, lengths_N), weights_NN) + sft_weight * sft


def pro(logprob_sums_N: Tensor, lengths_N: Tensor, sft_weight: float, weights_NN: Tensor | None = None) -> Tensor:
    """Return the PRO loss of one list, a scalar: Plackett-Luce of the mean log-probs + ``sft_weight`` * SFT term.

    Song et al., arXiv 2306.17492, without reward temperature. PRO is the likelihood of a strict order: pair weights
    are ignored, and ties are broken by list order.

    Args:
        logprob_sums_N: sum of the token log-probs of each answer, shape (N,), best first.
        lengths_N: token count of each answer, shape (N,).
        sft_weight: weight of -sum_t log P(y_best,t); 0.05 * (N - 1)^2 in the paper.
        weights_NN: ignored.
    """
    return plackett_luce(mean_logprobs(logprob_sums_N, lengths_N)) - sft_weight * logprob_sums_N[0]


def dpo_smoothing(chosen_B: Tensor, rejected_B: Tensor, smoothing_B: Tensor, beta: float) -> Tensor:
    """Return the term that turns TRL's DPO loss into conservative DPO, a scalar: mean of e * beta * (log-ratio margin).

    Conservative DPO (Mitchell, 2023, "A note on DPO with noisy preferences") has the label smoothing e:
    -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d) = -log sigmoid(beta d) + e beta d. The first term is TRL's.
    The reference's part of d is constant and left out: it has no gradient.

    Args:
        chosen_B: sum of the policy's token log-probs of each chosen answer, shape (B,).
        rejected_B: the same of each rejected answer, shape (B,).
        smoothing_B: label smoothing e of each pair in [0, 0.5), shape (B,).
        beta: DPO's inverse temperature.
    """
    return beta * (smoothing_B * (chosen_B - rejected_B)).mean()


@dataclass(frozen=True)
class Objective:
    """A training objective: its loss, the trainer that minimises it, and its defaults.

    Attributes:
        name: value of ``training.objective``.
        trainer: "listwise": SFT trainer, one loss per ranked list. "pairwise": TRL's DPO trainer on all decided pairs.
        loss: listwise: (logprob_sums_N, lengths_N, sft_weight, weights_NN) -> scalar, see `rrhf`. Pairwise:
            (chosen_B, rejected_B, smoothing_B, beta) -> scalar, added to TRL's DPO loss, see `dpo_smoothing`.
        default_sft_weight: SFT weight of a list of N answers, used if ``training.sft_weight`` is empty.
        needs_reference: the loss is relative to the policy at the start of the round.
    """

    name: str
    trainer: Literal["listwise", "pairwise"]
    loss: Callable[..., Tensor]
    default_sft_weight: Callable[[int], float] = lambda num_answers: 0.0
    needs_reference: bool = False

    def list_loss(
        self,
        logprob_sums_N: Tensor,
        lengths_N: Tensor,
        weights_NN: Tensor | None = None,
        sft_weight: float | None = None,
    ) -> Tensor:
        """Return the loss of one ranked list, a scalar; ``sft_weight`` defaults to the objective's own."""
        if sft_weight is None:
            sft_weight = self.default_sft_weight(len(logprob_sums_N))
        return self.loss(logprob_sums_N, lengths_N, sft_weight, weights_NN)


def _registry(*objectives: Objective) -> dict[str, Objective]:
    return {objective.name: objective for objective in objectives}


# The names are those of `cyclealign.config.policy`, by trainer. Both SFT weights are the papers'.
OBJECTIVES: Mapping[str, Objective] = _registry(
    Objective("rrhf", "listwise", rrhf, default_sft_weight=lambda num_answers: 1.0),
    Objective("pro", "listwise", pro, default_sft_weight=lambda num_answers: 0.05 * (num_answers - 1) ** 2),
    Objective("dpo", "pairwise", dpo_smoothing, needs_reference=True),
)
