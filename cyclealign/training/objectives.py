"""The registry of training objectives: name, trainer, loss, defaults, and whether the parent's log-probs are needed.

Dimensions as in `losses`. The loss of a list is its ranking term + SFT term + KL term, each with its weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cyclealign.config import TrainingSettings
from cyclealign.training.losses import kl_from_parent, mean_logprobs, plackett_luce, rrhf_ranking, sft, unbeaten
from cyclealign.training.preference_losses import dpo, ipo, lipo, simpo


@dataclass(frozen=True)
class ListScores:
    """The log-probs of a ranked list, best first.

    Attributes:
        sums: sum of the token log-probs of each answer, shape (N,).
        lengths: token count of each answer itself, without padding, shape (N,).
        pairs: weight 2 s - 1 of each decided pair, indexed [better, worse]. None: 1 for every pair in list order.
        parent: sum of the parent's token log-probs of each answer, shape (N,). None: unknown.
    """

    sums: Tensor
    lengths: Tensor
    pairs: Tensor | None = None
    parent: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Return the length-normalised log-probs."""
        return mean_logprobs(self.sums, self.lengths)

    @property
    def weights(self) -> Tensor:
        """Return the weight of each pair."""
        if self.pairs is not None:
            return self.pairs
        return self.sums.new_ones(len(self.sums), len(self.sums)).triu(diagonal=1)

    def rewards(self, beta: float) -> Tensor:
        """Return the implicit rewards beta * (log P - log P_parent)."""
        assert self.parent is not None
        return beta * (self.sums - self.parent)


@dataclass(frozen=True)
class PairScores:
    """The log-probs of B pairs.

    Attributes:
        sums: sum of the token log-probs of the chosen answers and of the rejected ones, shape (2, B).
        lengths: token counts, shape (2, B).
        parent: the reference's sums, shape (2, B).
        smoothing: label smoothing 1 - s of each pair, shape (B,).
    """

    sums: Tensor
    lengths: Tensor
    parent: Tensor
    smoothing: Tensor

    @property
    def margins(self) -> Tensor:
        """Return the log-ratio to the reference of each chosen answer minus that of the rejected one."""
        ratios_2B = self.sums - self.parent
        return ratios_2B[0] - ratios_2B[1]

    @property
    def mean_margins(self) -> Tensor:
        """Return the same for log-ratios divided by the answer's length."""
        ratios_2B = (self.sums - self.parent) / self.lengths
        return ratios_2B[0] - ratios_2B[1]


@dataclass(frozen=True)
class LossSettings:
    """The parameters of a loss. ``sft_weight``: None for the objective's own, which depends on the list."""

    beta: float = 1.0
    gamma: float = 0.0
    sft_weight: float | None = None
    sft_reduction: Literal["sum", "mean"] = "sum"
    kl_weight: float = 0.0


class Terms(NamedTuple):
    """The terms of a loss, each with its weight; scalars, or shape (B,) for pairs."""

    ranking: Tensor
    sft: Tensor
    kl: Tensor

    @property
    def loss(self) -> Tensor:
        """Return their sum."""
        return self.ranking + self.sft + self.kl


@dataclass(frozen=True)
class Objective:
    """A training objective: its loss, the trainer that minimises it, and its defaults.

    Attributes:
        name: value of ``training.objective``.
        trainer: "listwise": SFT trainer, one loss per ranked list. "pairwise": TRL's DPO trainer on all decided pairs.
        ranking: listwise: (`ListScores`, `LossSettings`) -> scalar. Pairwise: (`PairScores`, `LossSettings`) -> (B,).
        trl_loss: pairwise: TRL's name of the loss, of which ``ranking`` is the form with label smoothing for each pair.
        default_sft_weight: SFT weight of a list of N answers; None: the objective has no SFT term.
        default_beta, default_gamma: values of ``training.beta`` and ``training.gamma`` if empty; None: it has none.
        needs_reference: the loss is relative to the policy at the start of the round.
        strict_order: a likelihood of the whole order: pair weights are ignored, and ties are broken by list order.
    """

    name: str
    trainer: Literal["listwise", "pairwise"]
    ranking: Callable[..., Tensor]
    trl_loss: str = ""
    default_sft_weight: Callable[[int], float] | None = None
    default_beta: float | None = None
    default_gamma: float | None = None
    needs_reference: bool = False
    strict_order: bool = False

    def settings(self, training: TrainingSettings) -> LossSettings:
        """Return the parameters of the loss, with the objective's own where the settings leave them empty."""
        beta = self.default_beta if training.beta is None else training.beta
        gamma = self.default_gamma if training.gamma is None else training.gamma
        return LossSettings(
            1.0 if beta is None else beta,
            0.0 if gamma is None else gamma,
            training.sft_weight,
            training.sft_reduction,
            training.kl_weight,
        )

    def list_terms(self, scores: ListScores, settings: LossSettings) -> Terms:
        """Return the terms of the loss of one ranked list, scalars."""
        zero = scores.sums.new_zeros(())
        kl = zero
        if settings.kl_weight:
            assert scores.parent is not None
            kl = settings.kl_weight * kl_from_parent(scores.sums, scores.parent, scores.lengths).mean()
        return Terms(self.ranking(scores, settings), self._sft(scores, settings) if self._has_sft else zero, kl)

    def pair_terms(self, scores: PairScores, settings: LossSettings) -> Terms:
        """Return the terms of the loss of each pair, shape (B,)."""
        ranking_B = self.ranking(scores, settings)
        zero_B = kl_B = torch.zeros_like(ranking_B)
        if settings.kl_weight:
            kl_B = settings.kl_weight * kl_from_parent(scores.sums, scores.parent, scores.lengths).mean(0)
        return Terms(ranking_B, zero_B, kl_B)

    @property
    def _has_sft(self) -> bool:
        return self.default_sft_weight is not None

    def _sft(self, scores: ListScores, settings: LossSettings) -> Tensor:
        """Return the weighted SFT term: of the first answer of a strict order, of the unbeaten answers otherwise."""
        assert self.default_sft_weight is not None
        count = len(scores.sums)
        weight = self.default_sft_weight(count) if settings.sft_weight is None else settings.sft_weight
        first_N = torch.arange(count, device=scores.sums.device) == 0
        best_N = first_N if self.strict_order else unbeaten(scores.weights)
        return weight * sft(scores.sums, scores.lengths, best_N, settings.sft_reduction)


def _rrhf(scores: ListScores, settings: LossSettings) -> Tensor:
    return rrhf_ranking(scores.mean, scores.weights)


def _pro(scores: ListScores, settings: LossSettings) -> Tensor:
    """Return PRO's ranking term without reward temperature (Song et al., arXiv 2306.17492)."""
    return plackett_luce(scores.mean)


def _no_ranking(scores: ListScores, settings: LossSettings) -> Tensor:
    """Return 0: fine-tuning on the best answers alone has the SFT term only (best of n; RAFT, arXiv 2304.06767)."""
    return scores.sums.new_zeros(())


def _simpo(scores: ListScores, settings: LossSettings) -> Tensor:
    return simpo(scores.mean, scores.weights, settings.beta, settings.gamma)


def _list_dpo(scores: ListScores, settings: LossSettings) -> Tensor:
    """Return DPO's loss of a whole order: Plackett-Luce on implicit rewards (arXiv 2305.18290, appendix A.3)."""
    return plackett_luce(scores.rewards(settings.beta))


def _lipo(scores: ListScores, settings: LossSettings) -> Tensor:
    return lipo(scores.rewards(settings.beta), scores.weights)


def _dpo(scores: PairScores, settings: LossSettings) -> Tensor:
    return dpo(scores.margins, scores.smoothing, settings.beta)


def _ipo(scores: PairScores, settings: LossSettings) -> Tensor:
    return ipo(scores.mean_margins, scores.smoothing, settings.beta)


def _registry(*objectives: Objective) -> dict[str, Objective]:
    return {objective.name: objective for objective in objectives}


# The names are those of `cyclealign.config.training`, by trainer. SFT weights are the papers'. LiPO and IPO take the
# beta of DPO, whose rewards they share; beta and gamma of SimPO are within the ranges of its experiments.
OBJECTIVES: Mapping[str, Objective] = _registry(
    Objective("rrhf", "listwise", _rrhf, default_sft_weight=lambda num_answers: 1.0),
    Objective(
        "pro",
        "listwise",
        _pro,
        default_sft_weight=lambda num_answers: 0.05 * (num_answers - 1) ** 2,
        strict_order=True,
    ),
    Objective("sft", "listwise", _no_ranking, default_sft_weight=lambda num_answers: 1.0),
    Objective("simpo", "listwise", _simpo, default_beta=2.0, default_gamma=1.0),
    Objective("list_dpo", "listwise", _list_dpo, default_beta=0.1, needs_reference=True, strict_order=True),
    Objective("lipo", "listwise", _lipo, default_beta=0.1, needs_reference=True),
    Objective("dpo", "pairwise", _dpo, trl_loss="sigmoid", default_beta=0.1, needs_reference=True),
    Objective("ipo", "pairwise", _ipo, trl_loss="ipo", default_beta=0.1, needs_reference=True),
)
