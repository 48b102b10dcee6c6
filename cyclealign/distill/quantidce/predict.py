"""Coherence scores of dialogues by a trained metric."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.quantidce.data import Scored
from cyclealign.distill.quantidce.losses import MIN_SCORE, SCORE_RANGE
from cyclealign.distill.quantidce.model import Metric

BATCH = 32


@torch.no_grad()
def scores(metric: Metric, pairs: Sequence[Scored]) -> NDArray[np.float64]:
    """Return scores from 1 to 5 in the order of the pairs, shape (pairs,)."""
    # Pairs of similar length share a batch, since each is padded to the longest of its batch.
    order = np.argsort([_characters(pair) for pair in pairs], kind="stable")
    coherence = np.empty(len(pairs))
    for start in range(0, len(pairs), BATCH):
        indices = order[start : start + BATCH]
        batch = metric(metric.encode([pairs[index] for index in indices]))
        coherence[indices] = batch.coherence.double().cpu().numpy()
    return MIN_SCORE + SCORE_RANGE * coherence


def _characters(pair: Scored) -> int:
    return sum(map(len, pair.context)) + len(pair.response)
