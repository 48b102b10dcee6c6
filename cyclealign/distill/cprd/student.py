"""The dual encoder: made small, or loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
)
from transformers.utils import logging as transformers_logging

from cyclealign.distill.cprd.config import DEMO, DataSettings, StudentSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.preprocessing import Pixels, pixels_of
from cyclealign.distill.models.encoders import reason
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.errors import DistillError
from cyclealign.policy.device import device

transformers_logging.disable_progress_bar()

PATCHES_A_SIDE = 4


class DualEncoder:
    """A vision-text dual encoder with its tokenizer and pixels; features are unit vectors."""

    def __init__(self, model: Any, tokenizer: Any, max_words: int, pixels: Pixels) -> None:
        self.model = model.to(device())
        self.tokenizer, self.max_words, self.pixels = tokenizer, max_words, pixels

    def tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """Token ids and mask of captions."""
        found: Mapping[str, Tensor] = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_words, return_tensors="pt"
        ).to(device())
        return dict(found)

    def of_images(self, images: NDArray[np.uint8]) -> Tensor:
        """Features of images, shape (B, d)."""
        return functional.normalize(
            tensor_of(self.model.get_image_features(pixel_values=self.pixels.of(images))), dim=1
        )

    def of_texts(self, texts: list[str]) -> Tensor:
        """Features of captions, shape (B, d)."""
        return functional.normalize(tensor_of(self.model.get_text_features(**self.tokens(texts))), dim=1)

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and image processor."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.pixels.save(folder)


def tensor_of(found: Any) -> Tensor:
    """Features; newer releases wrap them in an output."""
    return found if isinstance(found, Tensor) else found.pooler_output


def fresh(settings: StudentSettings, pairs: Pairs, data: DataSettings, seed: int) -> DualEncoder:
    """The student before training.

    Raises:
        DistillError: it cannot be loaded.
    """
    torch.manual_seed(seed)
    if settings.model != DEMO:
        return load(settings.model, data)
    words = sorted({word for text in pairs.texts for word in text.lower().split()})
    tokenizer = word_tokenizer(words, lowercase=True, model_input_names=["input_ids", "attention_mask"])
    common = {
        "hidden_size": settings.size,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.size // 16 if settings.size >= 32 else 1,
        "intermediate_size": 2 * settings.size,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.1,
    }
    vision = ViTConfig(image_size=data.image_size, patch_size=data.image_size // PATCHES_A_SIDE, **common)
    text = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=max(32, data.max_words), **common)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=settings.size // 2)
    return DualEncoder(VisionTextDualEncoderModel(config), tokenizer, data.max_words, Pixels(data.image_size))


def load(model: str, data: DataSettings) -> DualEncoder:
    """A dual encoder from a folder or the hub.

    Raises:
        DistillError: there is none, it is no dual encoder, or the data's images or captions do not fit it.
    """
    try:
        found = AutoModel.from_pretrained(model, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"The dual encoder '{model}' cannot be loaded: {reason(error)}") from error
    if not hasattr(found, "get_image_features"):
        raise DistillError(
            f"'{model}' is a {type(found).__name__}, not a dual encoder of images and texts (such as CLIP)."
        )
    side = getattr(found.config.vision_config, "image_size", data.image_size)
    if side != data.image_size:
        raise DistillError(
            f"data.image_size is {data.image_size}; the images of '{model}' have a side of {side}. Set it to that."
        )
    most = min(getattr(found.config.text_config, "max_position_embeddings", 10**9), tokenizer.model_max_length)
    if data.max_words > most:
        raise DistillError(f"data.max_words is {data.max_words}; '{model}' reads {most} tokens at most. Lower it.")
    return DualEncoder(found, tokenizer, data.max_words, pixels_of(model, data.image_size))
