"""The cross-encoder's scores of all training pairs: match probabilities, images x texts."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, ViltForImageAndTextRetrieval

from cyclealign.distill.cprd.config import TeacherSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.student import pixels
from cyclealign.errors import DistillError

Scores = NDArray[np.float32]


def simulated(pairs: Pairs, settings: TeacherSettings, seed: int) -> Scores:
    """The true overlap with noise, through a steep sigmoid, so that it piles up near 0 and 1 as cross-encoders do."""
    generator = np.random.default_rng([seed, 9])
    overlap = pairs.overlap()
    noisy = overlap + generator.normal(0, settings.noise, size=overlap.shape)
    return (1 / (1 + np.exp(-settings.steepness * (noisy - 0.5)))).astype(np.float32)


def from_file(path: Path, count: int) -> Scores:
    """Scores that were made elsewhere.

    Raises:
        DistillError: the file is no array of match probabilities of the training pairs.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"{path} cannot be read as a .npy array: {error}") from error
    if found.shape != (count, count) or not ((found >= 0) & (found <= 1)).all():
        raise DistillError(f"{path}: want match probabilities (0 to 1) of {count} x {count} training pairs.")
    return np.asarray(found, dtype=np.float32)


class CrossEncoder:
    """A ViLT with a matching head, from a folder or the hub.

    Raises:
        DistillError: it cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
            self.model: Any = ViltForImageAndTextRetrieval.from_pretrained(model, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise DistillError(f"The cross-encoder '{model}' cannot be loaded: {error}") from error

    @torch.no_grad()
    def rows(self, pairs: Pairs, images: range, batch: int = 64) -> dict[str, Scores]:
        """Match probabilities of some images with all texts, shape (images, texts), under ``scores``."""
        tokens = self.tokenizer(list(pairs.texts), padding=True, truncation=True, return_tensors="pt")
        found = [self._row(pairs, number, tokens, batch) for number in images]
        return {"scores": np.stack(found)}

    def _row(self, pairs: Pairs, number: int, tokens: Any, batch: int) -> Scores:
        image = pixels(pairs.images[number : number + 1])
        parts = []
        for start in range(0, len(pairs), batch):
            part = {name: values[start : start + batch] for name, values in tokens.items()}
            repeated = image.expand(len(part["input_ids"]), -1, -1, -1)
            parts.append(self.model(pixel_values=repeated, **part).logits[:, 0].sigmoid())
        return torch.cat(parts).float().numpy()
