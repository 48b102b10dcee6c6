"""Logits of a classifier."""

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.pld.classifier import Classifier
from cyclealign.distill.pld.data import Items

BATCH = 256


@torch.no_grad()
def logits(classifier: Classifier, items: Items) -> NDArray[np.float32]:
    """Logits of the items, shape (items, classes)."""
    classifier.model.eval()
    parts = [items.inputs[start : start + BATCH] for start in range(0, len(items.labels), BATCH)]
    found: NDArray[np.float32] = torch.cat([classifier(part).float().cpu() for part in parts]).numpy()
    return found
