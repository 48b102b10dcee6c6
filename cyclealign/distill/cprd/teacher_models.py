"""The cross-encoder that scores images with captions."""

from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, ViltForImageAndTextRetrieval

from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.preprocessing import pixels_of
from cyclealign.distill.cprd.score_file import Scores
from cyclealign.distill.models.encoders import load_failure
from cyclealign.errors import DistillError
from cyclealign.policy.device import device


class CrossEncoder:
    """A ViLT with a matching head, from a local folder or the Hugging Face hub.

    Args:
        model: folder or id.
        image_size: in pixels, of the square images.

    Raises:
        DistillError: it cannot be loaded, or the images do not fit it.
    """

    def __init__(self, model: str, image_size: int) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            self.model: Any = ViltForImageAndTextRetrieval.from_pretrained(
                model, use_safetensors=True, trust_remote_code=False
            ).eval()
        except (OSError, ValueError) as error:
            raise DistillError(f"The cross-encoder '{model}' cannot be loaded: {load_failure(error)}") from error
        patch = self.model.config.patch_size
        if image_size % patch:
            raise DistillError(
                f"data.image_size is {image_size}; '{model}' cuts images into patches of {patch}: choose a multiple."
            )
        self.pixels = pixels_of(model, image_size)
        self.max_words = min(self.model.config.max_position_embeddings, self.tokenizer.model_max_length)
        self.model.to(device())

    @torch.no_grad()
    def score_rows(self, pairs: Pairs, images: range, batch: int = 256) -> Scores:
        """Return the match probabilities of some images with all texts, shape (images, texts)."""
        tokens = self.tokenizer(
            list(pairs.texts), padding=True, truncation=True, max_length=self.max_words, return_tensors="pt"
        ).to(device())
        return np.stack([self._score_row(pairs, number, tokens, batch) for number in images])

    def _score_row(self, pairs: Pairs, number: int, tokens: Any, batch: int) -> Scores:
        image = self.pixels.of(pairs.images[number : number + 1])
        probabilities = []
        for start in range(0, len(pairs), batch):
            part = {name: values[start : start + batch] for name, values in tokens.items()}
            repeated = image.expand(len(part["input_ids"]), -1, -1, -1)
            probabilities.append(self.model(pixel_values=repeated, **part).logits[:, 0].sigmoid())
        return torch.cat(probabilities).float().cpu().numpy()
