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
    """Return the logits of the items, shape (items, classes).

    Raises:
        DistillError: some are not finite; they would count as hits, or be used as labels.
    """
    classifier.model.eval()
    batches = [items.inputs[start : start + BATCH] for start in range(0, len(items.labels), BATCH)]
    values: NDArray[np.float32] = torch.cat([classifier(batch).float().cpu() for batch in batches]).numpy()
    not_finite = int((~np.isfinite(values)).any(axis=1).sum())
    if not_finite:
        raise DistillError(
            f"The logits of {not_finite} of {len(values)} items are not finite. Lower the learning rate of the "
            "classifier, or replace the model if it is used as it is."
        )
    return values
