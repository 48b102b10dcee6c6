"""The cross-encoder: query and passage in one sequence, [CLS] to one score (BERT_CAT). Teacher or student."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from sentence_transformers import CrossEncoder
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students import Features, Student, keep_layers
from cyclealign.distill.models.encoders import reason
from cyclealign.errors import DistillError
from cyclealign.policy.device import device


class CrossEncoderStudent(Student):
    """score(q, p) = w . CLS([CLS] q [SEP] p [SEP]) + b: raw, before any activation."""

    def __init__(self, settings: StudentSettings, model: CrossEncoder) -> None:
        super().__init__(settings)
        self.model = model

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        model = cross_encoder(settings.model, settings.query_tokens + settings.passage_tokens)
        keep_layers(model.model.base_model, settings.layers)
        return cls(settings, model)

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        return cls(settings, cross_encoder(str(folder), settings.query_tokens + settings.passage_tokens))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        each = len(passages) // len(queries)
        pairs = [(queries[number // each], passage) for number, passage in enumerate(passages)]
        return {"pairs": dict(self.model.preprocess(pairs)), "shape": (len(queries), each)}

    def forward(self, features: Features) -> Tensor:
        scores: Tensor = self.model(dict(features["pairs"]))["scores"]
        return scores.view(*features["shape"])


def cross_encoder(source: str, longest: int) -> CrossEncoder:
    """A cross-encoder with one output, or an encoder with a new head. Safetensors only, no remote code.

    Raises:
        DistillError: it cannot be loaded, or gives more than one score.
    """
    try:
        model = CrossEncoder(
            source,
            num_labels=1,
            max_length=longest,
            device="cpu",
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        raise DistillError(f"The cross-encoder '{source}' cannot be loaded: {reason(error)}") from error
    except RuntimeError as error:  # weights of another shape: in the head, since all else is as its own config says
        raise _of_more_classes(source) from error
    if model.num_labels != 1:
        raise _of_more_classes(source)
    return model.to(device())


def ready_cross_encoder(source: str, longest: int) -> CrossEncoder:
    """As `cross_encoder`, of a model that was trained to rank.

    Raises:
        DistillError: as there, or its weights lack a part, such as the head, which would be drawn at random.
    """
    model = cross_encoder(source, longest)
    missing = _missing_weights(source, model)
    if missing:
        raise DistillError(
            f"'{source}' is an encoder without a trained head ({', '.join(missing[:3])} missing): its scores would be "
            "noise. Name a cross-encoder in teacher.models, or train it first: teacher.kind = 'trained'."
        )
    return model


def _missing_weights(source: str, model: CrossEncoder) -> list[str]:
    """Names of the weights that the model has and its files lack.

    The library does not say, so transformers loads the classifier once more. Models of other modules (a language model
    that says yes or no, a head of its own file) are saved whole by the library.
    """
    if len(model) != 1 or not type(model.model).__name__.endswith("ForSequenceClassification"):
        return []
    with torch.random.fork_rng(devices=[]):  # the missing weights are drawn
        _, told = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=1, output_loading_info=True, use_safetensors=True, trust_remote_code=False
        )
    return sorted(told["missing_keys"])


def _of_more_classes(source: str) -> DistillError:
    return DistillError(
        f"The classifier '{source}' does not give one score for a pair. Name a cross-encoder with one output, or a "
        "bare encoder with teacher.kind = 'trained'."
    )
