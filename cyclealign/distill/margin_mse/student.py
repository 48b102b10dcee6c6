"""Interface of all students: a trainable scorer of (query, passage) pairs.

Shapes: ``B`` queries, ``N`` passages per query (in training a positive and a negative), ``M`` = B * N passages, ``Q``
query tokens, ``P`` passage tokens, ``D`` vector size.
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

Features = dict[str, Any]

transformers_logging.disable_progress_bar()  # it would overwrite the terminal's own progress bars


class Student(nn.Module, ABC):
    """A ranker: texts to features, features to scores."""

    def __init__(self, settings: StudentSettings) -> None:
        super().__init__()
        self.settings = settings

    @classmethod
    @abstractmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        """Return an untrained student; ``texts`` are the passages."""

    @classmethod
    @abstractmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        """Load the student that `save` wrote."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and tokenizer into an empty folder."""

    @abstractmethod
    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        """Convert B queries and B * N passages, those of the first query first, to tensors on the CPU."""

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Return scores, shape (B, N)."""

    def rate_groups(self, rate: float, kernel_rate: float) -> list[dict[str, Any]]:
        """Return the trainable parameters grouped by learning rate, as torch's optimizers take them."""
        return [{"params": [weights for weights in self.parameters() if weights.requires_grad], "lr": rate}]

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[str, str]], batch: int = 64) -> NDArray[np.float64]:
        """Return scores of (query, passage) texts, shape (pairs,). A score depends on its own pair only."""
        self.eval()
        device = next(self.parameters()).device
        scores = np.zeros(len(pairs))
        by_length = sorted(range(len(pairs)), key=lambda number: len(pairs[number][1]))
        for start in range(0, len(pairs), batch):
            chosen = by_length[start : start + batch]
            features = self.prepare([pairs[number][0] for number in chosen], [pairs[number][1] for number in chosen])
            scores[chosen] = self(on_device(features, device)).squeeze(1).double().cpu().numpy()
        return scores


def on_device(features: Features, device: torch.device) -> Features:
    """Move the tensors of nested features to a device."""
    if isinstance(features, Tensor):
        return features.to(device)
    if isinstance(features, dict):
        return {name: on_device(value, device) for name, value in features.items()}
    return features
