"""Bi-encoder (BERT_DOT): one encoder reads query and passage apart; the score is their dot product.

It is a `SentenceTransformer`, and saved as one. Vectors are neither projected nor normalised: a cosine cannot reach the
score margins of a cross-encoder, which are around twelve.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.student import Features
from cyclealign.distill.margin_mse.students.encoders import transformer_module
from cyclealign.distill.margin_mse.students.two_tower import TwoTowerStudent


class BiEncoderStudent(TwoTowerStudent[SentenceTransformer]):
    """score(q, p) = e(q) . e(p)."""

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        encoder = transformer_module(settings)
        pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=settings.pooling)
        return cls(settings, SentenceTransformer(modules=[encoder, pooling], similarity_fn_name="dot", device="cpu"))

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        return cls(settings, SentenceTransformer(str(folder), device="cpu"))

    def forward(self, features: Features) -> Tensor:
        queries_BD = self.model(dict(features["queries"]))["sentence_embedding"]
        passages_MD = self.model(dict(features["passages"]))["sentence_embedding"]
        passages_BND = passages_MD.view(len(queries_BD), -1, passages_MD.shape[-1])
        return torch.einsum("bd,bnd->bn", queries_BD, passages_BND)

    def query_vectors(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Return vectors of queries, shape (texts, D)."""
        return np.asarray(self.model.encode_query(list(texts), batch_size=batch, show_progress_bar=False))

    def passage_vectors(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Return vectors of passages, shape (texts, D)."""
        return np.asarray(self.model.encode_document(list(texts), batch_size=batch, show_progress_bar=False))

    def score(self, pairs: Sequence[tuple[str, str]], batch: int = 64) -> NDArray[np.float64]:
        """Return scores of (query, passage) texts, shape (pairs,); each distinct text is encoded once."""
        queries = list(dict.fromkeys(query for query, _ in pairs))
        passages = list(dict.fromkeys(passage for _, passage in pairs))
        query_row = {text: number for number, text in enumerate(queries)}
        passage_row = {text: number for number, text in enumerate(passages)}
        queries_QD = self.query_vectors(queries, batch)
        passages_PD = self.passage_vectors(passages, batch)
        left_ND = queries_QD[[query_row[query] for query, _ in pairs]]
        right_ND = passages_PD[[passage_row[passage] for _, passage in pairs]]
        return np.einsum("nd,nd->n", left_ND, right_ND, dtype=np.float64)
