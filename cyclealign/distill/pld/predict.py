"""Logits of a classifier."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.pld.teacher import pixels

BATCH = 256


@torch.no_grad()
def logits(model: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of images of shape (items, height, width); shape (items, classes)."""
    model.eval()
    parts = torch.from_numpy(images).split(BATCH)
    return torch.cat([model(pixel_values=pixels(part)).logits for part in parts]).numpy()
