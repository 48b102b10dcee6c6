"""Logits of a classifier."""

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.pld.data import Items
from cyclealign.distill.pld.model import Classifier
from cyclealign.errors import DistillError

BATCH = 256


@torch.no_grad()
def logits(classifier: Classifier, items: Items) -> NDArray[np.float32]:
    """Logits of the items, shape (items, classes).

    Raises:
        DistillError: some are no finite numbers: they would count as hits, or be taught.
    """
    classifier.model.eval()
    parts = [items.inputs[start : start + BATCH] for start in range(0, len(items.labels), BATCH)]
    found: NDArray[np.float32] = torch.cat([classifier(part).float().cpu() for part in parts]).numpy()
    broken = int((~np.isfinite(found)).any(axis=1).sum())
    if broken:
        raise DistillError(
            f"The logits of {broken} of {len(found)} items are no finite numbers. Lower the learning rate of the "
            "classifier, or replace the model if it is used as it is."
        )
    return found
