"""The bi-encoder: query and passage encoded apart by one encoder, unnormalised dot product (BERT_DOT).

It is a `SentenceTransformer`, and is saved as one. No projection, and no normalisation: a cosine could not reach the
margins of a cross-encoder, which are around twelve.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import Tensor

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students import Features, Student, encoder_parts


class BiEncoderStudent(Student):
    """score(q, p) = e(q) . e(p)."""

    def __init__(self, settings: StudentSettings, model: SentenceTransformer) -> None:
        super().__init__(settings)
        self.model = model

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        encoder = transformer_module(settings)
        pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode=settings.pooling)
        return cls(settings, SentenceTransformer(modules=[encoder, pooling], similarity_fn_name="dot", device="cpu"))

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        return cls(settings, SentenceTransformer(str(folder), device="cpu"))

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        return {
            "queries": dict(self.model.preprocess(list(queries), task="query")),
            "passages": dict(self.model.preprocess(list(passages), task="document")),
        }

    def forward(self, features: Features) -> Tensor:
        queries_BD = self.model(dict(features["queries"]))["sentence_embedding"]
        passages_MD = self.model(dict(features["passages"]))["sentence_embedding"]
        passages_BND = passages_MD.view(len(queries_BD), -1, passages_MD.shape[-1])
        return torch.einsum("bd,bnd->bn", queries_BD, passages_BND)

    def query_vectors(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Vectors of queries, shape (texts, D)."""
        return np.asarray(self.model.encode_query(list(texts), batch_size=batch, show_progress_bar=False))

    def passage_vectors(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """Vectors of passages, shape (texts, D)."""
        return np.asarray(self.model.encode_document(list(texts), batch_size=batch, show_progress_bar=False))

    def score(self, pairs: Sequence[tuple[str, str]], batch: int = 64) -> NDArray[np.float64]:
        """As of any student; each distinct text is encoded once."""
        queries = list(dict.fromkeys(query for query, _ in pairs))
        passages = list(dict.fromkeys(passage for _, passage in pairs))
        query_row = {text: number for number, text in enumerate(queries)}
        passage_row = {text: number for number, text in enumerate(passages)}
        queries_QD = self.query_vectors(queries, batch)
        passages_PD = self.passage_vectors(passages, batch)
        left = queries_QD[[query_row[query] for query, _ in pairs]]
        right = passages_PD[[passage_row[passage] for _, passage in pairs]]
        return np.einsum("nd,nd->n", left, right, dtype=np.float64)


def transformer_module(settings: StudentSettings) -> Transformer:
    """The encoder as a module of sentence-transformers, which reads it from a folder."""
    model, tokenizer = encoder_parts(settings)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        return Transformer(folder, query_length=settings.query_tokens, document_length=settings.passage_tokens)
