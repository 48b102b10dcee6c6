"""Load the encoder under a student, and drop layers of it."""

import tempfile
from typing import Any

from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn
from transformers import AutoModel, AutoTokenizer

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.models.encoders import load_failure
from cyclealign.errors import DistillError


def load_encoder(settings: StudentSettings) -> tuple[Any, Any]:
    """Load (model, tokenizer) of the encoder, with its first ``layers`` layers; safetensors only, no remote code.

    Raises:
        DistillError: it cannot be loaded, or has fewer layers.
    """
    try:
        model = AutoModel.from_pretrained(settings.model, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(settings.model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"student.model = '{settings.model}' cannot be loaded: {load_failure(error)}") from error
    truncate_layers(model, settings.layers)
    return model, tokenizer


def transformer_module(settings: StudentSettings) -> Transformer:
    """Load the encoder as a module of sentence-transformers, which reads encoders from folders only."""
    model, tokenizer = load_encoder(settings)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        return Transformer(folder, query_length=settings.query_tokens, document_length=settings.passage_tokens)


def truncate_layers(model: Any, count: int | None) -> None:
    """Drop all layers of a loaded BERT- or DistilBERT-like encoder after the first ``count``; None changes nothing.

    Raises:
        DistillError: it has fewer layers, or is of another family.
    """
    if count is None:
        return
    layers = layers_of(model)
    if count > len(layers):
        raise DistillError(f"student.layers is {count}, but the encoder has {len(layers)} layers. Lower it.")
    del layers[count:]
    for name in ("num_hidden_layers", "n_layers"):  # the second name is DistilBERT's
        if hasattr(model.config, name):
            setattr(model.config, name, count)


def layers_of(model: Any) -> nn.ModuleList:
    """Return the Transformer layers of an encoder of the BERT family.

    Raises:
        DistillError: the encoder is of another family.
    """
    stack = getattr(model, "encoder", None) or getattr(model, "transformer", None)
    layers = getattr(stack, "layer", None)
    if not isinstance(layers, nn.ModuleList):
        raise DistillError(f"{type(model).__name__} is not an encoder of the BERT or DistilBERT family.")
    return layers
