"""The cross-encoder's scores of all training images with all training texts: match probabilities."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, ViltForImageAndTextRetrieval

from cyclealign.distill.cprd.config import TeacherSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.preprocessing import pixels_of
from cyclealign.distill.models.encoders import reason
from cyclealign.errors import DistillError
from cyclealign.policy.device import device

Scores = NDArray[np.float32]

FORMAT = "an .npz file with scores (images x texts), images (file names) and texts (captions)"


def simulated(pairs: Pairs, settings: TeacherSettings, seed: int) -> Scores:
    """The true overlap with noise, through a steep sigmoid, so that it piles up near 0 and 1 as cross-encoders do."""
    generator = np.random.default_rng([seed, 9])
    overlap = pairs.overlap()
    noisy = overlap + generator.normal(0, settings.noise, size=overlap.shape)
    return (1 / (1 + np.exp(-settings.steepness * (noisy - 0.5)))).astype(np.float32)


def from_file(path: Path, pairs: Pairs) -> Scores:
    """Scores that were made elsewhere, found by the names of images and texts; shape (images, texts).

    Raises:
        DistillError: the file holds no match probabilities, or not those of all the pairs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            scores, images, texts = file["scores"], file["images"], file["texts"]
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DistillError(f"{path}: want {FORMAT} ({error}).") from error
    if images.ndim != 1 or texts.ndim != 1 or scores.shape != (len(images), len(texts)):
        raise DistillError(f"{path}: want {FORMAT}; their shapes are {scores.shape}, {images.shape} and {texts.shape}.")
    if scores.dtype.kind not in "fiu" or not ((scores >= 0) & (scores <= 1)).all():  # NaN is neither
        raise DistillError(f"{path}: scores must be match probabilities, numbers from 0 to 1.")
    rows, columns = places(images, pairs.files, f"{path}: images"), places(texts, pairs.texts, f"{path}: texts")
    return np.asarray(scores[np.ix_(rows, columns)], dtype=np.float32)


def places(names: NDArray[Any], wanted: Sequence[str], where: str) -> list[int]:
    """Where each wanted name stands."""
    place = {str(name): number for number, name in enumerate(names)}
    if len(place) < len(names):
        twice = next(name for number, name in enumerate(names) if place[str(name)] != number)
        raise DistillError(f"{where}: '{twice}' stands there twice. Name each once.")
    missing = [name for name in dict.fromkeys(wanted) if name not in place]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing[:3])
        raise DistillError(
            f"{where}: {len(missing)} of the training data are missing, such as {named}. Score them too; another seed "
            "trains on others."
        )
    return [place[name] for name in wanted]


class CrossEncoder:
    """A ViLT with a matching head, from a folder or the hub, for images of a side.

    Raises:
        DistillError: it cannot be loaded, or the images do not fit it.
    """

    def __init__(self, model: str, side: int) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            self.model: Any = ViltForImageAndTextRetrieval.from_pretrained(
                model, use_safetensors=True, trust_remote_code=False
            ).eval()
        except (OSError, ValueError) as error:
            raise DistillError(f"The cross-encoder '{model}' cannot be loaded: {reason(error)}") from error
        patch = self.model.config.patch_size
        if side % patch:
            raise DistillError(
                f"data.image_size is {side}; '{model}' cuts images into patches of {patch}: take a multiple."
            )
        self.pixels = pixels_of(model, side)
        self.max_words = min(self.model.config.max_position_embeddings, self.tokenizer.model_max_length)
        self.model.to(device())

    @torch.no_grad()
    def rows(self, pairs: Pairs, images: range, batch: int = 256) -> dict[str, Scores]:
        """Match probabilities of some images with all texts, shape (images, texts), under ``scores``."""
        tokens = self.tokenizer(
            list(pairs.texts), padding=True, truncation=True, max_length=self.max_words, return_tensors="pt"
        ).to(device())
        found = [self._row(pairs, number, tokens, batch) for number in images]
        return {"scores": np.stack(found)}

    def _row(self, pairs: Pairs, number: int, tokens: Any, batch: int) -> Scores:
        image = self.pixels.of(pairs.images[number : number + 1])
        parts = []
        for start in range(0, len(pairs), batch):
            part = {name: values[start : start + batch] for name, values in tokens.items()}
            repeated = image.expand(len(part["input_ids"]), -1, -1, -1)
            parts.append(self.model(pixel_values=repeated, **part).logits[:, 0].sigmoid())
        return torch.cat(parts).float().cpu().numpy()
