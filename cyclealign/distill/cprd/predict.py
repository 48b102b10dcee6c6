"""Similarities of images and captions by a dual encoder."""

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.student import DualEncoder

BATCH = 256


@torch.no_grad()
def similarities(student: DualEncoder, pairs: Pairs) -> NDArray[np.float64]:
    """Cosines, shape (images, texts)."""
    starts = range(0, len(pairs), BATCH)
    images = torch.cat([student.of_images(pairs.images[start : start + BATCH]) for start in starts])
    texts = torch.cat([student.of_texts(list(pairs.texts[start : start + BATCH])) for start in starts])
    found: NDArray[np.float64] = (images @ texts.T).double().numpy()
    return found
