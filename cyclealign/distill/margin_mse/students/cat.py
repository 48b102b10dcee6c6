"""The cross-encoder: query and passage in one sequence, [CLS] to one score (BERT_CAT). Teacher or student."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sentence_transformers import CrossEncoder
from torch import Tensor

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students import Features, Student, keep_layers
from cyclealign.errors import DistillError


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
    """A cross-encoder with one output. Safetensors only, no remote code.

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
        raise DistillError(f"The cross-encoder '{source}' cannot be loaded: {error}") from error
    return model
