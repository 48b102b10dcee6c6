"""The losses of QuantiDCE (arXiv 2106.00507), as in the authors' code.

Shapes: ``L`` levels, ``B`` contexts or pairs, ``K`` responses per level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MIN_SCORE, SCORE_RANGE = 1.0, 4.0  # a coherence in (0, 1) stands for a score from 1 to 5


@dataclass(frozen=True)
class MultiLevelRanking:
    """The three terms of the first stage's loss, scalars; ``total`` is their sum."""

    separation: Tensor
    compactness: Tensor
    ordering: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.separation + self.compactness + self.ordering


def multi_level_ranking(scores_LBK: Tensor, margin: float = 0.3, spread: float = 0.1) -> MultiLevelRanking:
    """Return the multi-level ranking loss (paper, section 3.2), whose centroids are the mean scores of the levels.

    Args:
        scores_LBK: coherence in (0, 1), best level first.
        margin: minimum distance of neighbouring centroids (lambda); levels i and j keep |i - j| times it.
        spread: maximum mean distance of a level's responses from their centroid (mu).
    """
    levels = scores_LBK.shape[0]
    centroids_LB = scores_LBK.mean(dim=2)
    pairs = [(better, worse) for better in range(levels) for worse in range(better + 1, levels)]
    too_close = [
        functional.relu(margin * (worse - better) - (centroids_LB[better] - centroids_LB[worse]).abs())
        for better, worse in pairs
    ]
    misordered = [functional.relu(centroids_LB[worse] - centroids_LB[better]) for better, worse in pairs]
    spread_LB = functional.relu((scores_LBK - centroids_LB.unsqueeze(2)).abs().mean(dim=2) - spread)
    return MultiLevelRanking(
        separation=torch.stack(too_close).sum(dim=0).mean(),
        compactness=spread_LB.sum(dim=0).mean(),
        ordering=torch.stack(misordered).sum(dim=0).mean(),
    )


def pairwise_logistic(logits_LBK: Tensor) -> Tensor:
    """Return the mean of -log sigmoid(better - worse) over all pairs of responses of different levels.

    The first stage of the arms that are compared with multi-level ranking.
    """
    levels = logits_LBK.shape[0]
    terms = [
        functional.softplus(logits_LBK[worse].unsqueeze(1) - logits_LBK[better].unsqueeze(2)).mean()
        for better in range(levels)
        for worse in range(better + 1, levels)
    ]
    return torch.stack(terms).mean()


def human_scores(coherence_B: Tensor, scores_B: Tensor) -> Tensor:
    """Return the mean squared error of 4 s + 1 against human scores from 1 to 5, for coherence s in (0, 1)."""
    return functional.mse_loss(SCORE_RANGE * coherence_B + MIN_SCORE, scores_B)


def distillation(
    student: tuple[Sequence[Tensor], Sequence[Tensor], Tensor],
    teacher: tuple[Sequence[Tensor], Sequence[Tensor], Tensor],
) -> Tensor:
    """Return the distance of the student from its frozen first stage: the sum over tensors of mean squared errors.

    Args:
        student: hidden states (embeddings and each layer), attention maps (each layer), coherence (B,).
        teacher: the same; no gradient flows to it.
    """
    terms = [
        functional.mse_loss(ours, theirs.detach())
        for part in (0, 1)
        for ours, theirs in zip(student[part], teacher[part], strict=True)
    ]
    return torch.stack([*terms, functional.mse_loss(student[2], teacher[2].detach())]).sum()
