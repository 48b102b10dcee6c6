"""The dual encoder: made small, or loaded; and how it is trained."""

import math
from collections.abc import Callable, Mapping
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

from cyclealign.distill.cprd.config import DistillationSettings, StudentSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.loss import contrastive, divergence, hardest, ranking
from cyclealign.distill.words import word_tokenizer
from cyclealign.errors import DistillError

transformers_logging.disable_progress_bar()

PATCHES_A_SIDE = 4


def pixels(images_BHWC: NDArray[np.uint8]) -> Tensor:
    """Pixels as the encoders take them, in -1..1, shape (B, 3, H, W)."""
    return torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float() / 127.5 - 1


class DualEncoder:
    """A vision-text dual encoder with its tokenizer; features are unit vectors."""

    def __init__(self, model: Any, tokenizer: Any, most_words: int) -> None:
        self.model, self.tokenizer, self.most_words = model, tokenizer, most_words

    def tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """Token ids and mask of captions."""
        found: Mapping[str, Tensor] = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.most_words, return_tensors="pt"
        )
        return dict(found)

    def of_images(self, images: NDArray[np.uint8]) -> Tensor:
        """Features of images, shape (B, d)."""
        return functional.normalize(tensor_of(self.model.get_image_features(pixel_values=pixels(images))), dim=1)

    def of_texts(self, texts: list[str]) -> Tensor:
        """Features of captions, shape (B, d)."""
        return functional.normalize(tensor_of(self.model.get_text_features(**self.tokens(texts))), dim=1)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def tensor_of(found: Any) -> Tensor:
    """Features; newer releases wrap them in an output."""
    return found if isinstance(found, Tensor) else found.pooler_output


def fresh(settings: StudentSettings, pairs: Pairs, most_words: int, seed: int) -> DualEncoder:
    """The student before training.

    Raises:
        DistillError: it cannot be loaded.
    """
    torch.manual_seed(seed)
    if settings.model != "tiny":
        return load(settings.model, most_words)
    words = sorted({word for text in pairs.texts for word in text.lower().split()})
    tokenizer = word_tokenizer(words, lowercase=True, model_input_names=["input_ids", "attention_mask"])
    side = pairs.images.shape[1]
    common = {
        "hidden_size": settings.size,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.size // 16 if settings.size >= 32 else 1,
        "intermediate_size": 2 * settings.size,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.1,
    }
    vision = ViTConfig(image_size=side, patch_size=side // PATCHES_A_SIDE, **common)
    text = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=max(32, most_words), **common)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=settings.size // 2)
    return DualEncoder(VisionTextDualEncoderModel(config), tokenizer, most_words)


def load(model: str, most_words: int) -> DualEncoder:
    """A dual encoder from a folder or the hub.

    Raises:
        DistillError: there is none, or it is no dual encoder.
    """
    try:
        found = AutoModel.from_pretrained(model, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DistillError(f"The dual encoder '{model}' cannot be loaded: {error}") from error
    if not hasattr(found, "get_image_features"):
        raise DistillError(
            f"'{model}' is a {type(found).__name__}, not a dual encoder of images and texts (such as CLIP)."
        )
    return DualEncoder(found, tokenizer, most_words)


class Queue:
    """Features of earlier steps, as further negatives; they carry no gradient (cross-batch memory)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.numbers = torch.empty(0, dtype=torch.long)
        self.features: Tensor | None = None

    def joined(self, numbers_B: Tensor, features_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Those of this step, then those of earlier ones: items' numbers (N,) and features (N, d)."""
        if self.features is None:
            return numbers_B, features_BD
        return torch.cat([numbers_B, self.numbers]), torch.cat([features_BD, self.features])

    def push(self, numbers_B: Tensor, features_BD: Tensor) -> None:
        """Keep the newest, ``size`` at most."""
        numbers_N, features_ND = self.joined(numbers_B, features_BD.detach())
        if self.size:
            self.numbers, self.features = numbers_N[: self.size], features_ND[: self.size]


def distilled(
    arm: str,
    queries_BD: Tensor,
    numbers_B: Tensor,
    others: tuple[Tensor, Tensor],
    scores: Tensor,
    k: DistillationSettings,
) -> Tensor:
    """What an arm adds to the contrastive loss, in one direction.

    Args:
        others: numbers (N,) and features (N, d) of the other side: this step's and the queue's.
        scores: the teacher's, queries' side x other side, over all training items.
    """
    numbers_N, features_ND = others
    similarity_BN = queries_BD @ features_ND.T
    teacher_BN = scores[numbers_B][:, numbers_N]
    negative_BN = numbers_B.unsqueeze(1) != numbers_N.unsqueeze(0)
    # Every item of the other side once at most is a negative, so all rows have as many.
    kept = len(features_ND) if arm in ("kl all", "rank all") else k.hard
    chosen = hardest(similarity_BN, teacher_BN, negative_BN, kept)
    if arm.startswith("kl"):
        return divergence(*chosen, k.temperature)
    return ranking(*chosen, k.temperature, k.threshold if arm == "cprd" else None)


def fit(
    student: DualEncoder,
    pairs: Pairs,
    scores: NDArray[np.float32],
    arm: str,
    settings: StudentSettings,
    k: DistillationSettings,
    seed: int,
    tell: Callable[[int, int], None],
) -> DualEncoder:
    """Train in place: the contrastive loss, and in both directions what the arm adds; AdamW, a cosine to zero."""
    given = torch.from_numpy(scores)
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    steps_an_epoch = max(1, len(pairs) // settings.batch)
    steps = settings.epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    generator = torch.Generator().manual_seed(seed)
    images, texts = Queue(k.queue), Queue(k.queue)
    student.model.train()
    for epoch in range(settings.epochs):
        tell(epoch, settings.epochs)
        order = torch.randperm(len(pairs), generator=generator)
        for step in range(steps_an_epoch):
            numbers_B = order[step * settings.batch : (step + 1) * settings.batch]
            images_BD = student.of_images(pairs.images[numbers_B.numpy()])
            texts_BD = student.of_texts([pairs.texts[number] for number in numbers_B.tolist()])
            value = contrastive(images_BD @ texts_BD.T, k.temperature)
            if arm != "none":
                sides = (
                    distilled(arm, images_BD, numbers_B, texts.joined(numbers_B, texts_BD), given, k),
                    distilled(arm, texts_BD, numbers_B, images.joined(numbers_B, images_BD), given.T, k),
                )
                value = value + k.weight * (sides[0] + sides[1])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            images.push(numbers_B, images_BD)
            texts.push(numbers_B, texts_BD)
    tell(settings.epochs, settings.epochs)
    student.model.eval()
    return student
