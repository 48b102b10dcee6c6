"""Classifiers of images or texts: any of transformers (and timm's through it), by folder, hub id or family.

A classifier takes raw inputs: how they become tensors (its own image processor or tokenizer) is its own business, so a
teacher and a student may want them differently.
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

from cyclealign.distill.models.encoders import reason
from cyclealign.distill.pld.config import ModelSettings
from cyclealign.errors import DistillError
from cyclealign.policy.device import device

# Loading is a matter of a moment or is told by a line of ours; bars of its own would tear the terminal's.
transformers_logging.disable_progress_bar()

# About the mean and the standard deviation of ink on an empty ground, both of 255.
INK_MEAN, INK_DEVIATION = 64, 76
# A saved classifier says how its inputs were prepared: by `pixel_values`, or by its own processor or tokenizer.
PREPARATION, BY_INK, BY_OWN = "preparation.json", "ink", "own"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Classifier:
    """A model and what makes tensors of raw inputs; ``parts`` are saved with the model."""

    model: Any
    prepare: Callable[[NDArray[Any]], dict[str, Tensor]]
    parts: tuple[Any, ...] = ()

    def __call__(self, inputs: NDArray[Any]) -> Tensor:
        """Logits of raw inputs, shape (items, classes), on the model's device."""
        tensors = {name: tensor.to(self.model.device) for name, tensor in self.prepare(inputs).items()}
        logits: Tensor = self.model(**tensors).logits
        return logits

    def save(self, folder: Path) -> None:
        """Write a folder that `load`, and transformers, can read."""
        for part in (self.model, *self.parts):
            part.save_pretrained(folder)
        prepared = {"inputs": BY_OWN if self.parts else BY_INK}
        (folder / PREPARATION).write_text(json.dumps(prepared) + "\n", encoding="utf-8")


def made(settings: ModelSettings, classes: Sequence[str], texts: bool, channels: int, seed: int) -> Classifier:
    """The classifier that the settings describe; fresh weights are the same for the same seed.

    Raises:
        DistillError: it cannot be made or loaded.
    """
    torch.manual_seed(seed)
    names = dict(enumerate(classes))
    head = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    try:
        if settings.model is not None:
            # A model that is trained on gets a head of our classes; one that is used as it is keeps its own.
            own = {**head, "ignore_mismatched_sizes": True} if settings.epochs else {}
            return loaded(settings.model, texts, settings.revision, own)
        if texts:
            return fresh_for_texts(settings, head)
        config: Any = AutoConfig.for_model(settings.family, **{"num_channels": channels, **head, **settings.sizes})
        return Classifier(AutoModelForImageClassification.from_config(config).to(device()), pixel_values)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise DistillError(refusal(settings, error)) from error


def fresh_for_texts(settings: ModelSettings, head: dict[str, Any]) -> Classifier:
    """A classifier of texts with random weights, and the tokenizer that the settings name."""
    if settings.tokenizer is None:
        raise DistillError("A classifier of texts with fresh weights needs `tokenizer`: a folder or a Hugging Face id.")
    tokenizer = AutoTokenizer.from_pretrained(settings.tokenizer, trust_remote_code=False)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **head, **settings.sizes}
    config: Any = AutoConfig.for_model(settings.family, **sizes)
    model: Any = AutoModelForSequenceClassification.from_config(config).to(device())
    return Classifier(model, tokens(tokenizer, model.config), (tokenizer,))


def loaded(name: str, texts: bool, revision: str | None = None, own: dict[str, Any] | None = None) -> Classifier:
    """A classifier from its folder or hub id, with what it was trained with to make tensors of raw inputs.

    Raises:
        DistillError: it is a folder that does not say how images are prepared: a guess would feed the model other
            inputs than it knows, unseen.
    """
    given: dict[str, Any] = {"trust_remote_code": False, **({"revision": revision} if revision else {})}
    weights = {**given, "use_safetensors": True, **(own or {})}
    if texts:
        model: Any = AutoModelForSequenceClassification.from_pretrained(name, **weights).to(device())
        tokenizer = AutoTokenizer.from_pretrained(name, **given)
        return Classifier(model, tokens(tokenizer, model.config), (tokenizer,))
    prepared = preparation(Path(name)) if Path(name).is_dir() else BY_OWN
    model = AutoModelForImageClassification.from_pretrained(name, **weights).to(device())
    if prepared == BY_INK:
        return Classifier(model, pixel_values)
    processor: Any = AutoImageProcessor.from_pretrained(name, backend="pil", **given)
    return Classifier(model, processed(processor), (processor,))


def preparation(folder: Path) -> str:
    """How images become tensors for the model of a folder: as `Classifier.save` wrote, or by a processor that is there.

    A model of timm has its processor in its config.json; none is ever saved beside it.

    Raises:
        DistillError: the folder does not say.
    """
    if (folder / PREPARATION).is_file():
        return str(json.loads((folder / PREPARATION).read_text(encoding="utf-8")).get("inputs"))
    if not any((folder / name).is_file() for name in PROCESSORS) and not is_timm_local_checkpoint(folder):
        raise DistillError(
            f"{folder} has no preprocessor_config.json: how images become its inputs is not known. Save the model's "
            f'image processor there; if this job trained it on raw images, write {{"inputs": "ink"}} to {PREPARATION}.'
        )
    return BY_OWN


def load(folder: Path, texts: bool) -> Classifier:
    """A classifier that `Classifier.save` wrote."""
    return loaded(str(folder), texts)


def pixel_values(images: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Images of shape (items, height, width, channels) in 0..255 for fresh weights: channels first, about unit size."""
    return {"pixel_values": (torch.from_numpy(images).permute(0, 3, 1, 2).float() - INK_MEAN) / INK_DEVIATION}


def processed(processor: Any) -> Callable[[NDArray[Any]], dict[str, Tensor]]:
    """The model's own processor; it gets the three channels that it expects."""

    def prepare(images: NDArray[np.uint8]) -> dict[str, Tensor]:
        wide = images.repeat(3, axis=-1) if images.shape[-1] == 1 else images
        return {"pixel_values": processor(images=list(wide), return_tensors="pt")["pixel_values"]}

    return prepare


def tokens(tokenizer: Any, config: Any) -> Callable[[NDArray[Any]], dict[str, Tensor]]:
    """The model's own tokenizer, cut at the longest input that model and tokenizer allow."""
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 512)

    def prepare(texts: NDArray[Any]) -> dict[str, Tensor]:
        return dict(tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"))

    return prepare


def refusal(settings: ModelSettings, error: Exception) -> str:
    """What to do about a model that cannot be made."""
    name = settings.model or settings.family
    if "timm" in str(error) and isinstance(error, ImportError):
        return f"The model '{name}' is one of timm, which is not installed: pip install timm"
    return f"The model '{name}' cannot be made: {reason(error)}"
