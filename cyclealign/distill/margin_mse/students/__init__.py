"""What a student is: a scorer of (query, passage) pairs with weights.

Shapes: ``B`` queries, ``N`` passages of each (a positive and its negatives while training), ``Q`` query tokens, ``P``
passage tokens, ``D`` vector size.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.models.encoders import reason
from cyclealign.errors import DistillError

Features = dict[str, Any]

transformers_logging.disable_progress_bar()  # our own bars say how far a run is


class Student(nn.Module, ABC):
    """A ranker that can be trained: texts to features, features to scores."""

    def __init__(self, settings: StudentSettings) -> None:
        super().__init__()
        self.settings = settings

    @classmethod
    @abstractmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        """A new one; ``texts`` are the passages."""

    @classmethod
    @abstractmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        """The one that `save` wrote."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and tokenizer into an empty folder."""

    @abstractmethod
    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        """Texts to tensors on the CPU: B queries and B * N passages, those of the first query first."""

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Scores, shape (B, N)."""

    def rate_groups(self, rate: float, kernel_rate: float) -> list[dict[str, Any]]:
        """Parameters with their learning rates."""
        return [{"params": [each for each in self.parameters() if each.requires_grad], "lr": rate}]

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[str, str]], batch: int = 64) -> NDArray[np.float64]:
        """Scores of (query, passage) texts, shape (pairs,). A score depends on its own pair only."""
        self.eval()
        device = next(self.parameters()).device
        scores = np.zeros(len(pairs))
        by_length = sorted(range(len(pairs)), key=lambda number: len(pairs[number][1]))
        for start in range(0, len(pairs), batch):
            chosen = by_length[start : start + batch]
            features = self.prepare([pairs[each][0] for each in chosen], [pairs[each][1] for each in chosen])
            scores[chosen] = self(on_device(features, device)).squeeze(1).double().cpu().numpy()
        return scores


def on_device(features: Features, device: torch.device) -> Features:
    """Nested features with their tensors on a device."""
    if isinstance(features, Tensor):
        return features.to(device)
    if isinstance(features, dict):
        return {name: on_device(each, device) for name, each in features.items()}
    return features


def encoder_parts(settings: StudentSettings) -> tuple[Any, Any]:
    """(model, tokenizer) of the encoder, with only the first ``layers`` layers. Safetensors only, no remote code.

    Raises:
        DistillError: it cannot be loaded.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(settings.model, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(settings.model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"student.model = '{settings.model}' cannot be loaded: {reason(error)}") from error
    keep_layers(model, settings.layers)
    return model, tokenizer


def keep_layers(model: Any, count: int | None) -> None:
    """Drop all layers of a BERT- or DistilBERT-like encoder after the first ``count``.

    Raises:
        DistillError: it has no such layers, or fewer.
    """
    if count is None:
        return
    layers = layers_of(model)
    if count > len(layers):
        raise DistillError(f"student.layers = {count}, but the encoder has {len(layers)}.")
    del layers[count:]
    for name in ("num_hidden_layers", "n_layers"):
        if hasattr(model.config, name):
            setattr(model.config, name, count)


def layers_of(model: Any) -> nn.ModuleList:
    """The Transformer layers of an encoder of the BERT family.

    Raises:
        DistillError: the encoder keeps them elsewhere.
    """
    stack = getattr(model, "encoder", None) or getattr(model, "transformer", None)
    layers = getattr(stack, "layer", None)
    if not isinstance(layers, nn.ModuleList):
        raise DistillError(f"{type(model).__name__} is no encoder of the BERT or DistilBERT family.")
    return layers
