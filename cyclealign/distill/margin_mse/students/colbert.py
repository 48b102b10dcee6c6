"""Late interaction (ColBERT): for each query token the best dot product with a passage token, summed.

A `MultiVectorEncoder` of sentence-transformers, saved as one. As in the paper: one encoder, a linear layer without
compression, dot products rather than cosines, [MASK] tokens after the query that count, padding that does not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.multi_vector_encoder.scoring import colbert_kd_scores
from torch import Tensor, nn

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students import Features, Student
from cyclealign.distill.margin_mse.students.dot import transformer_module


class LateInteractionStudent(Student):
    """score(q, p) = sum_i max_j e(q)_i . e(p)_j over unpadded tokens."""

    def __init__(self, settings: StudentSettings, model: MultiVectorEncoder) -> None:
        super().__init__(settings)
        self.model = model

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        encoder = transformer_module(settings)
        if settings.query_masks:
            length = settings.query_tokens + settings.query_masks
            encoder.query_length = length
            encoder.query_expansion = {"strategy": "fixed", "attend": True, "length": length}
        project = Dense(
            encoder.get_embedding_dimension(),
            settings.token_size,
            bias=False,
            activation_function=nn.Identity(),
            module_input_name="token_embeddings",
            module_output_name="token_embeddings",
        )
        modules = [encoder, project, MultiVectorMask()]
        return cls(settings, MultiVectorEncoder(modules=modules, similarity_fn_name="maxsim", device="cpu"))

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        return cls(settings, MultiVectorEncoder(str(folder), device="cpu"))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        return {
            "queries": dict(self.model.preprocess(list(queries), task="query")),
            "passages": dict(self.model.preprocess(list(passages), task="document")),
        }

    def forward(self, features: Features) -> Tensor:
        queries = self.model(dict(features["queries"]), task="query")
        passages = self.model(dict(features["passages"]), task="document")
        queries_BQD, queries_BQ = queries["token_embeddings"], queries["attention_mask"]
        passages_MPD, passages_MP = passages["token_embeddings"], passages["attention_mask"]
        passages_BNPD = passages_MPD.view(len(queries_BQD), -1, *passages_MPD.shape[1:])
        passages_BNP = passages_MP.view(*passages_BNPD.shape[:3])
        return colbert_kd_scores(queries_BQD, passages_BNPD, queries_BQ, passages_BNP)
