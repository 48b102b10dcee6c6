"""Coherence of dialogues by a trained metric."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.quantidce.data import Scored
from cyclealign.distill.quantidce.losses import LOWEST, SPAN
from cyclealign.distill.quantidce.model import Metric

BATCH = 32


@torch.no_grad()
def scores(metric: Metric, pairs: Sequence[Scored]) -> NDArray[np.float64]:
    """Scores from 1 to 5, shape (pairs,), in the order of the pairs."""
    # Those of like length go together, as every pair of a batch is padded to its longest.
    order = np.argsort([_characters(each) for each in pairs], kind="stable")
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), BATCH):
        places = order[start : start + BATCH]
        found[places] = metric(metric.encode([pairs[place] for place in places])).coherence.double().cpu().numpy()
    return LOWEST + SPAN * found


def _characters(pair: Scored) -> int:
    return sum(map(len, pair.context)) + len(pair.response)
