"""The student: a dual encoder of images and texts, with new or pretrained weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
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
from cyclealign.distill.models.encoders import load_failure
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.errors import DistillError
from cyclealign.policy.device import device

# Its progress bars would break those of the terminal.
transformers_logging.disable_progress_bar()

PATCHES_PER_SIDE = 4


class DualEncoder:
    """A vision-text dual encoder with its tokenizer and image preprocessing; features are unit vectors."""

    def __init__(self, model: Any, tokenizer: Any, max_words: int, pixels: Pixels) -> None:
        self.model = model.to(device())
        self.tokenizer, self.max_words, self.pixels = tokenizer, max_words, pixels

    def tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """Return token ids and attention mask of captions."""
        tokens: Mapping[str, Tensor] = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_words, return_tensors="pt"
        ).to(device())
        return dict(tokens)

    def of_images(self, images: NDArray[np.uint8]) -> Tensor:
        """Return the features of images, shape (B, D)."""
        return functional.normalize(
            tensor_of(self.model.get_image_features(pixel_values=self.pixels.of(images))), dim=1
        )

    def of_texts(self, texts: list[str]) -> Tensor:
        """Return the features of captions, shape (B, D)."""
        return functional.normalize(tensor_of(self.model.get_text_features(**self.tokens(texts))), dim=1)

    def towers(self) -> list[nn.Module]:
        """Return the encoders of images and texts."""
        return [self.model.vision_model, self.model.text_model]

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and image processor."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.pixels.save(folder)


def tensor_of(output: Any) -> Tensor:
    """Return the features; newer releases of transformers wrap them in an output object."""
    return output if isinstance(output, Tensor) else output.pooler_output


def fresh(settings: StudentSettings, pairs: Pairs, data: DataSettings, seed: int) -> DualEncoder:
    """Return the student before training; new weights are reproducible by seed.

    Args:
        settings: name a model, or the sizes of new weights.
        pairs: whose words become the vocabulary of new weights.
        data: image size and caption length.
        seed: of new weights.

    Raises:
        DistillError: it cannot be loaded, or the data do not fit it.
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
    vision = ViTConfig(image_size=data.image_size, patch_size=data.image_size // PATCHES_PER_SIDE, **common)
    text = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=max(32, data.max_words), **common)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=settings.size // 2)
    return DualEncoder(VisionTextDualEncoderModel(config), tokenizer, data.max_words, Pixels(data.image_size))


def load(model: str, data: DataSettings) -> DualEncoder:
    """Load a dual encoder from a folder or the hub.

    Raises:
        DistillError: it cannot be loaded, is another kind of model, or the data's images or captions do not fit it.
    """
    try:
        dual_encoder = AutoModel.from_pretrained(model, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"The dual encoder '{model}' cannot be loaded: {load_failure(error)}") from error
    if not hasattr(dual_encoder, "get_image_features"):
        raise DistillError(
            f"'{model}' is a {type(dual_encoder).__name__}, not a dual encoder of images and texts (such as CLIP)."
        )
    image_size = getattr(dual_encoder.config.vision_config, "image_size", data.image_size)
    if image_size != data.image_size:
        raise DistillError(
            f"data.image_size is {data.image_size}; '{model}' takes images of {image_size} pixels. Set it to that."
        )
    positions = getattr(dual_encoder.config.text_config, "max_position_embeddings", 10**9)
    longest = min(positions, tokenizer.model_max_length)
    if data.max_words > longest:
        raise DistillError(f"data.max_words is {data.max_words}; '{model}' reads at most {longest} tokens. Lower it.")
    return DualEncoder(dual_encoder, tokenizer, data.max_words, pixels_of(model, data.image_size))
