"""Coherence of dialogues by a trained metric."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.quantidce.data import Scored
from cyclealign.distill.quantidce.loss import LOWEST, SPAN
from cyclealign.distill.quantidce.student import Metric

BATCH = 32


@torch.no_grad()
def scores(metric: Metric, pairs: Sequence[Scored]) -> NDArray[np.float64]:
    """Scores from 1 to 5, shape (pairs,), in the order of the pairs."""
    parts = [
        metric(metric.encode(pairs[start : start + BATCH])).coherence.double().cpu().numpy()
        for start in range(0, len(pairs), BATCH)
    ]
    return LOWEST + SPAN * np.concatenate(parts)
