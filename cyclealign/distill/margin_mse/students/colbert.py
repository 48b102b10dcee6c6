"""Late interaction (ColBERT, arXiv 2004.12832): each query token's best dot product with a passage token, summed.

It is a `MultiVectorEncoder` of sentence-transformers, and saved as one. As in the Margin-MSE paper: one encoder, a
linear layer without compression, dot products instead of cosines, [MASK] tokens after the query that count, and padding
that does not.
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
from cyclealign.distill.margin_mse.student import Features
from cyclealign.distill.margin_mse.students.encoders import transformer_module
from cyclealign.distill.margin_mse.students.two_tower import TwoTowerStudent


class LateInteractionStudent(TwoTowerStudent[MultiVectorEncoder]):
    """score(q, p) = sum_i max_j e(q)_i . e(p)_j over unpadded tokens."""

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

    def forward(self, features: Features) -> Tensor:
        queries = self.model(dict(features["queries"]), task="query")
        passages = self.model(dict(features["passages"]), task="document")
        queries_BQD, queries_BQ = queries["token_embeddings"], queries["attention_mask"]
        passages_MPD, passages_MP = passages["token_embeddings"], passages["attention_mask"]
        passages_BNPD = passages_MPD.view(len(queries_BQD), -1, *passages_MPD.shape[1:])
        passages_BNP = passages_MP.view(*passages_BNPD.shape[:3])
        return colbert_kd_scores(queries_BQD, passages_BNPD, queries_BQ, passages_BNP)
