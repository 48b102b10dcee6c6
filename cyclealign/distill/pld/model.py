"""Classifiers of images or texts: any of transformers (or timm through it), by folder, hub id or family.

A classifier takes raw inputs and converts them to tensors with its own image processor or tokenizer, so teacher and
student may differ in it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging
from transformers.utils.generic import is_timm_local_checkpoint

from cyclealign.distill.models.encoders import load_failure
from cyclealign.distill.pld.config import ModelSettings
from cyclealign.errors import DistillError
from cyclealign.policy.device import device

# Its progress bars would break those of the terminal.
transformers_logging.disable_progress_bar()

# Approximate mean and standard deviation of pixels (0 to 255) of ink on an empty background.
INK_MEAN, INK_DEVIATION = 64, 76
# A saved classifier records how its inputs were prepared: by `ink_values`, or by its own processor or tokenizer.
PREPARATION, BY_INK, BY_OWN = "preparation.json", "ink", "own"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Classifier:
    """A model, and the function that converts raw inputs to tensors.

    Attributes:
        model: of transformers, on its device.
        prepare: converts raw inputs to the model's arguments.
        parts: image processor or tokenizer, which are saved with the model.
    """

    model: Any
    prepare: Callable[[NDArray[Any]], dict[str, Tensor]]
    parts: tuple[Any, ...] = ()

    def __call__(self, inputs: NDArray[Any]) -> Tensor:
        """Return the logits of raw inputs, shape (items, classes), on the model's device."""
        tensors = {name: tensor.to(self.model.device) for name, tensor in self.prepare(inputs).items()}
        logits: Tensor = self.model(**tensors).logits
        return logits

    def save(self, folder: Path) -> None:
        """Write a folder that `load` and transformers can read."""
        for part in (self.model, *self.parts):
            part.save_pretrained(folder)
        preparation = {"inputs": BY_OWN if self.parts else BY_INK}
        (folder / PREPARATION).write_text(json.dumps(preparation) + "\n", encoding="utf-8")


def build(settings: ModelSettings, classes: Sequence[str], texts: bool, channels: int, seed: int) -> Classifier:
    """Build or load the classifier of the settings; new weights are reproducible by seed.

    Args:
        settings: name the model, or the family and sizes of new weights.
        classes: names of the classes.
        texts: whether the inputs are texts; images otherwise.
        channels: of the images, for new weights.
        seed: of new weights and of a new head.

    Raises:
        DistillError: it cannot be built or loaded.
    """
    torch.manual_seed(seed)
    names = dict(enumerate(classes))
    head = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    try:
        if settings.model is not None:
            # A model to be trained gets a head for the data's classes; one that is used as it is keeps its own.
            overrides = {**head, "ignore_mismatched_sizes": True} if settings.epochs else {}
            return load_pretrained(settings.model, texts, settings.revision, overrides)
        if texts:
            return build_for_texts(settings, head)
        config: Any = AutoConfig.for_model(settings.family, **{"num_channels": channels, **head, **settings.sizes})
        return Classifier(AutoModelForImageClassification.from_config(config).to(device()), ink_values)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise DistillError(failure_message(settings, error)) from error


def build_for_texts(settings: ModelSettings, head: dict[str, Any]) -> Classifier:
    """Return a classifier of texts with new weights and the tokenizer of the settings."""
    if settings.tokenizer is None:
        raise DistillError("A classifier of texts with new weights needs `tokenizer`: a folder or a Hugging Face id.")
    tokenizer = AutoTokenizer.from_pretrained(settings.tokenizer, trust_remote_code=False)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **head, **settings.sizes}
    config: Any = AutoConfig.for_model(settings.family, **sizes)
    model: Any = AutoModelForSequenceClassification.from_config(config).to(device())
    return Classifier(model, tokenize_with(tokenizer, model.config), (tokenizer,))


def load_pretrained(
    name: str, texts: bool, revision: str | None = None, overrides: dict[str, Any] | None = None
) -> Classifier:
    """Load a classifier from its folder or hub id, with its image processor or tokenizer.

    Raises:
        DistillError: the folder does not say how images are prepared. A guess would silently feed the model other
            inputs than it was trained on.
    """
    common: dict[str, Any] = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    weights = {**common, "use_safetensors": True, **(overrides or {})}
    if texts:
        model: Any = AutoModelForSequenceClassification.from_pretrained(name, **weights).to(device())
        tokenizer = AutoTokenizer.from_pretrained(name, **common)
        return Classifier(model, tokenize_with(tokenizer, model.config), (tokenizer,))
    preparation = preparation_of(Path(name)) if Path(name).is_dir() else BY_OWN
    model = AutoModelForImageClassification.from_pretrained(name, **weights).to(device())
    if preparation == BY_INK:
        return Classifier(model, ink_values)
    processor: Any = AutoImageProcessor.from_pretrained(name, backend="pil", **common)
    return Classifier(model, process_with(processor), (processor,))


def preparation_of(folder: Path) -> str:
    """Return how images are prepared for the model of a folder: as `Classifier.save` recorded, or by its processor.

    A timm model has its processor in its config.json, without a file of its own.

    Raises:
        DistillError: the folder does not say.
    """
    if (folder / PREPARATION).is_file():
        return str(json.loads((folder / PREPARATION).read_text(encoding="utf-8")).get("inputs"))
    if not any((folder / name).is_file() for name in PROCESSORS) and not is_timm_local_checkpoint(folder):
        raise DistillError(
            f"{folder} has no preprocessor_config.json, so it is unknown how its images are prepared. Save the model's "
            f'image processor there; if this job trained it on raw images, write {{"inputs": "ink"}} to {PREPARATION}.'
        )
    return BY_OWN


def load(folder: Path, texts: bool) -> Classifier:
    """Load a classifier that `Classifier.save` wrote."""
    return load_pretrained(str(folder), texts)


def ink_values(images: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Standardise images, shape (items, height, width, channels) in 0..255, for new weights; channels come first."""
    return {"pixel_values": (torch.from_numpy(images).permute(0, 3, 1, 2).float() - INK_MEAN) / INK_DEVIATION}


def process_with(processor: Any) -> Callable[[NDArray[Any]], dict[str, Tensor]]:
    """Return a function that converts images with the model's processor, which expects three channels."""

    def prepare(images: NDArray[np.uint8]) -> dict[str, Tensor]:
        colour = images.repeat(3, axis=-1) if images.shape[-1] == 1 else images
        return {"pixel_values": processor(images=list(colour), return_tensors="pt")["pixel_values"]}

    return prepare


def tokenize_with(tokenizer: Any, config: Any) -> Callable[[NDArray[Any]], dict[str, Tensor]]:
    """Return a function that tokenizes texts, truncated to the longest input of model and tokenizer."""
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 512)

    def prepare(texts: NDArray[Any]) -> dict[str, Tensor]:
        return dict(tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"))

    return prepare


def failure_message(settings: ModelSettings, error: Exception) -> str:
    """Return the error message for a model that cannot be built, with its remedy."""
    name = settings.model or settings.family
    if "timm" in str(error) and isinstance(error, ImportError):
        return f"The model '{name}' needs timm, which is not installed: pip install timm"
    return f"The model '{name}' cannot be built: {load_failure(error)}"
