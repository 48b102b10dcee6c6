"""Cross-encoder (BERT_CAT): query and passage in one sequence, and one score from [CLS]. Teacher or student."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from sentence_transformers import CrossEncoder
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.student import Features, Student
from cyclealign.distill.margin_mse.students.encoders import truncate_layers
from cyclealign.distill.models.encoders import load_failure
from cyclealign.errors import DistillError
from cyclealign.policy.device import device


class CrossEncoderStudent(Student):
    """score(q, p) = w . CLS([CLS] q [SEP] p [SEP]) + b, without an activation."""

    def __init__(self, settings: StudentSettings, model: CrossEncoder) -> None:
        super().__init__(settings)
        self.model = model

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        model = load_cross_encoder(settings.model, settings.query_tokens + settings.passage_tokens)
        truncate_layers(model.model.base_model, settings.layers)
        return cls(settings, model)

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        return cls(settings, load_cross_encoder(str(folder), settings.query_tokens + settings.passage_tokens))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        per_query = len(passages) // len(queries)
        pairs = [(queries[number // per_query], passage) for number, passage in enumerate(passages)]
        return {"pairs": dict(self.model.preprocess(pairs)), "shape": (len(queries), per_query)}

    def forward(self, features: Features) -> Tensor:
        scores: Tensor = self.model(dict(features["pairs"]))["scores"]
        return scores.view(*features["shape"])


def load_cross_encoder(source: str, max_tokens: int) -> CrossEncoder:
    """Load a cross-encoder with one output, or an encoder with a new head; safetensors only, no remote code.

    Args:
        max_tokens: of query and passage together.

    Raises:
        DistillError: it cannot be loaded, or has more than one output.
    """
    try:
        model = CrossEncoder(
            source,
            num_labels=1,
            max_length=max_tokens,
            device="cpu",
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        raise DistillError(f"The cross-encoder '{source}' cannot be loaded: {load_failure(error)}") from error
    except RuntimeError as error:  # weights of another shape can only be the head's: the rest follows its own config
        raise _more_than_one_output(source) from error
    if model.num_labels != 1:
        raise _more_than_one_output(source)
    return model.to(device())


def load_trained_cross_encoder(source: str, max_tokens: int) -> CrossEncoder:
    """Load a cross-encoder that was trained to rank; arguments as of `load_cross_encoder`.

    Raises:
        DistillError: as there, or its files lack weights, such as the head's, which would be random.
    """
    model = load_cross_encoder(source, max_tokens)
    missing = _missing_weights(source, model)
    if missing:
        raise DistillError(
            f"'{source}' is an encoder without a trained head ({', '.join(missing[:3])} missing): its scores would be "
            "noise. Name a cross-encoder in teacher.models, or train it first: teacher.kind = 'trained'."
        )
    return model


def _missing_weights(source: str, model: CrossEncoder) -> list[str]:
    """Return the names of weights that the model has and its files lack.

    The library does not report them, so transformers loads the classifier again. Models of other modules (a language
    model scored by yes or no, a head in a file of its own) are always saved whole by the library.
    """
    if len(model) != 1 or not type(model.model).__name__.endswith("ForSequenceClassification"):
        return []
    with torch.random.fork_rng(devices=[]):  # loading initialises missing weights at random
        _, info = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=1, output_loading_info=True, use_safetensors=True, trust_remote_code=False
        )
    return sorted(info["missing_keys"])


def _more_than_one_output(source: str) -> DistillError:
    return DistillError(
        f"The classifier '{source}' does not give one score for a pair. Name a cross-encoder with one output, or a "
        "bare encoder with teacher.kind = 'trained'."
    )
