"""The losses of QuantiDCE (arXiv 2106.00507), as in the authors' code."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LOWEST, SPAN = 1.0, 4.0  # a coherence in (0, 1) stands for a score from 1 to 5


@dataclass(frozen=True)
class MultiLevelRanking:
    """The three parts of the first stage's loss, scalars; ``total`` is their sum."""

    separation: Tensor
    compactness: Tensor
    ordering: Tensor

    @property
    def total(self) -> Tensor:
        return self.separation + self.compactness + self.ordering


def multi_level_ranking(scores_LBK: Tensor, margin: float = 0.3, spread: float = 0.1) -> MultiLevelRanking:
    """The multi-level ranking loss over scores of responses.

    Args:
        scores_LBK: coherence in (0, 1), shape (levels, contexts, responses), best level first.
        margin: least distance of neighbouring centroids (lambda); levels further apart keep multiples of it.
        spread: largest mean distance of a level's responses from their centroid (mu).
    """
    levels = scores_LBK.shape[0]
    centroids_LB = scores_LBK.mean(dim=2)
    pairs = [(better, worse) for better in range(levels) for worse in range(better + 1, levels)]
    apart = [
        functional.relu(margin * (worse - better) - (centroids_LB[better] - centroids_LB[worse]).abs())
        for better, worse in pairs
    ]
    wrong = [functional.relu(centroids_LB[worse] - centroids_LB[better]) for better, worse in pairs]
    loose_LB = functional.relu((scores_LBK - centroids_LB.unsqueeze(2)).abs().mean(dim=2) - spread)
    return MultiLevelRanking(
        separation=torch.stack(apart).sum(dim=0).mean(),
        compactness=loose_LB.sum(dim=0).mean(),
        ordering=torch.stack(wrong).sum(dim=0).mean(),
    )


def pairwise_logistic(logits_LBK: Tensor) -> Tensor:
    """The comparison's first stage: mean of -log sigmoid(better - worse) over all pairs of different levels."""
    levels = logits_LBK.shape[0]
    terms = [
        functional.softplus(logits_LBK[worse].unsqueeze(1) - logits_LBK[better].unsqueeze(2)).mean()
        for better in range(levels)
        for worse in range(better + 1, levels)
    ]
    return torch.stack(terms).mean()


def human_scores(coherence_B: Tensor, scores_B: Tensor) -> Tensor:
    """Mean squared error of 4 s + 1 against human scores on 1 to 5."""
    return functional.mse_loss(SPAN * coherence_B + LOWEST, scores_B)


def distillation(
    student: tuple[Sequence[Tensor], Sequence[Tensor], Tensor],
    teacher: tuple[Sequence[Tensor], Sequence[Tensor], Tensor],
) -> Tensor:
    """How far the student has left its frozen first stage: mean squared errors, summed over tensors.

    Args:
        student, teacher: hidden states (embeddings and each layer), attention maps (each layer), coherence (B,).
            No gradient goes to the teacher.
    """
    terms = [
        functional.mse_loss(ours, theirs.detach())
        for part in (0, 1)
        for ours, theirs in zip(student[part], teacher[part], strict=True)
    ]
    return torch.stack([*terms, functional.mse_loss(student[2], teacher[2].detach())]).sum()
