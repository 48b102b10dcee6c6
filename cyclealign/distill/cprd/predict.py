"""Similarities of images and captions by a dual encoder."""

import numpy as np
import torch
from numpy.typing import NDArray

from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.student import DualEncoder

BATCH = 256


@torch.no_grad()
def similarities(student: DualEncoder, pairs: Pairs) -> NDArray[np.float64]:
    """Return the cosines of all images with all captions, shape (images, texts)."""
    image_parts = [pairs.images[start : start + BATCH] for start in range(0, len(pairs.images), BATCH)]
    text_parts = [pairs.texts[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    images = torch.cat([student.of_images(part) for part in image_parts])
    texts = torch.cat([student.of_texts(list(part)) for part in text_parts])
    cosines: NDArray[np.float64] = (images @ texts.T).double().cpu().numpy()
    return cosines
