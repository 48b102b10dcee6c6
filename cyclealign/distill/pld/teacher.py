"""The classifiers: made from a family of transformers, trained on labels."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.utils import logging as transformers_logging

from cyclealign.distill.pld.config import ModelSettings

transformers_logging.disable_progress_bar()


def fresh_classifier(settings: ModelSettings, classes: int, seed: int) -> Any:
    """A classifier with random weights; the same seed gives the same ones."""
    torch.manual_seed(seed)
    config: Any = AutoConfig.for_model(settings.family, num_labels=classes, num_channels=1, **settings.sizes)
    return AutoModelForImageClassification.from_config(config)


def load(folder: Path) -> Any:
    """A classifier from its folder."""
    return AutoModelForImageClassification.from_pretrained(folder)


def pixels(images_BHW: Tensor) -> Tensor:
    """Images in 0..255 as the classifiers take them: shape (B, 1, H, W), about zero mean and unit size."""
    return (images_BHW.unsqueeze(1).float() / 255 - 0.25) / 0.3
