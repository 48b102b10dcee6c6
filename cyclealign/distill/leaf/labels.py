"""Labels: the teacher's vectors of all texts, computed once and cached."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.label_cache import Arrays, cached_labels_in_parts, parts_of
from cyclealign.distill.leaf.data import Corpus
from cyclealign.distill.leaf.rotations import Vectors, rotated
from cyclealign.progress import OnProgress
from cyclealign.records import content_id

Kind = Literal["query", "document"]


class Teacher(Protocol):
    """Source of vectors; nothing else of a teacher is used."""

    @property
    def identity(self) -> str:
        """Everything that the vectors depend on apart from the texts; part of the labels' cache key."""

    @property
    def query_prompt(self) -> str:
        """Prefix of queries."""

    def vectors(self, texts: list[str], kind: Kind, on_progress: OnProgress) -> Vectors:
        """Return vectors (N, D) of texts."""


@dataclass(frozen=True)
class Labels:
    """The teacher's vectors (N, D) of the training texts and of the task's texts."""

    queries: Vectors
    documents: Vectors
    task_queries: Vectors
    task_documents: Vectors

    @property
    def training(self) -> Vectors:
        """Vectors of the training queries, followed by those of the training documents."""
        return np.concatenate([self.queries, self.documents])

    def rotated(self, rotation_DD: NDArray[np.float64]) -> "Labels":
        """Multiply all vectors by an orthogonal matrix; dot products stay the same."""
        groups = (self.queries, self.documents, self.task_queries, self.task_documents)
        return Labels(*(rotated(vectors_ND, rotation_DD) for vectors_ND in groups))


def label(teacher: Teacher, corpus: Corpus, folder: Path, texts_per_part: int, on_progress: OnProgress) -> Labels:
    """Compute the vectors of all texts; parts that an earlier run left in ``folder`` are reused."""
    groups: list[tuple[Kind, tuple[str, ...]]] = [
        ("query", corpus.queries),
        ("document", corpus.documents),
        ("query", corpus.task.queries),
        ("document", corpus.task.documents),
    ]
    items = [(kind, text) for kind, texts in groups for text in texts]
    made_of = {"teacher": teacher.identity, "texts": content_id("leaf texts", items)}
    parts = parts_of(len(items), texts_per_part)

    def make(part: range) -> Arrays:
        chosen = items[part.start : part.stop]
        return {"vectors": vectors_of(teacher, chosen, lambda done: on_progress(part.start + done, len(items)))}

    vectors_ND = cached_labels_in_parts(folder, made_of, parts, make)["vectors"]
    ends = np.cumsum([len(texts) for _, texts in groups])[:-1]
    return Labels(*np.split(vectors_ND, ends))


def vectors_of(teacher: Teacher, items: list[tuple[Kind, str]], on_done: Callable[[int], None]) -> Vectors:
    """Return vectors (N, D) in the order of the items, which may mix queries and documents.

    Args:
        on_done: called with the number of items done.
    """
    vectors: list[Vectors | None] = [None] * len(items)
    items_done = 0
    kinds: tuple[Kind, ...] = ("query", "document")
    for kind in kinds:
        numbers = [number for number, item in enumerate(items) if item[0] == kind]
        if not numbers:
            continue
        start = items_done
        texts = [items[number][1] for number in numbers]
        kind_vectors_ND = teacher.vectors(texts, kind, lambda done, _, start=start: on_done(start + done))  # type: ignore[misc]
        for number, vector_D in zip(numbers, kind_vectors_ND, strict=True):
            vectors[number] = vector_D
        items_done += len(numbers)
    return np.stack([vector_D for vector_D in vectors if vector_D is not None])
