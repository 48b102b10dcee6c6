"""Encode texts by a teacher, a student, or the asymmetric model of both."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf.rotations import Vectors
from cyclealign.progress import OnProgress

BATCHES_PER_REPORT = 32  # the library encodes a chunk at once; progress is reported between chunks


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    kind: Literal["query", "document"],
    batch: int,
    on_progress: OnProgress = lambda done, total: None,
) -> Vectors:
    """Return vectors (N, D) in the order of ``texts``, with the model's prompt and branch for that kind of text."""
    encode_kind = model.encode_query if kind == "query" else model.encode_document
    by_length = sorted(range(len(texts)), key=lambda number: -len(texts[number]))  # keeps padding of a batch short
    size = BATCHES_PER_REPORT * batch
    chunks: list[Vectors] = []
    for start in range(0, len(texts), size):
        chunk = [texts[number] for number in by_length[start : start + size]]
        chunks.append(np.asarray(encode_kind(chunk, batch_size=batch, show_progress_bar=False), dtype=np.float32))
        on_progress(min(start + size, len(texts)), len(texts))
    vectors_ND = np.concatenate(chunks)
    vectors_ND[by_length] = vectors_ND.copy()
    return vectors_ND
