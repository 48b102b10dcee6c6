"""Texts to vectors, by a teacher, a student, or the asymmetric model of both."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf.rotations import Vectors

CHUNK = 32  # batches between two words on progress


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    kind: Literal["query", "document"],
    batch: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Vectors:
    """Vectors (N, D), in the order of ``texts``, with the prompt and the branch that the model has for that kind."""
    put = model.encode_query if kind == "query" else model.encode_document
    by_length = sorted(range(len(texts)), key=lambda number: -len(texts[number]))  # little of a batch is padding
    done: list[Vectors] = []
    for start in range(0, len(texts), CHUNK * batch):
        chunk = [texts[number] for number in by_length[start : start + CHUNK * batch]]
        done.append(np.asarray(put(chunk, batch_size=batch, show_progress_bar=False), dtype=np.float32))
        progress(min(start + CHUNK * batch, len(texts)), len(texts))
    vectors_ND = np.concatenate(done)
    vectors_ND[by_length] = vectors_ND.copy()
    return vectors_ND
