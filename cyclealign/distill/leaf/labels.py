"""The teacher's vectors of every text, computed once and kept; and the same space with its axes turned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.label_cache import Arrays, cached_labels_in_parts, parts_of
from cyclealign.distill.leaf.data import Corpus
from cyclealign.distill.leaf.rotations import Vectors, rotated
from cyclealign.records import content_id

Kind = Literal["query", "document"]
Progress = Callable[[int, int], None]


class Teacher(Protocol):
    """What gives vectors."""

    @property
    def identity(self) -> str:
        """What the vectors depend on besides the texts, so that stored ones are known again."""

    @property
    def query_prompt(self) -> str:
        """What stands before queries."""

    def vectors(self, texts: list[str], kind: Kind, progress: Progress) -> Vectors:
        """Vectors (N, D) of texts."""


@dataclass(frozen=True)
class Labels:
    """The teacher's vectors (N, D) of the training texts and of the task's."""

    queries: Vectors
    documents: Vectors
    task_queries: Vectors
    task_documents: Vectors

    @property
    def training(self) -> Vectors:
        """Those of the training queries, then documents."""
        return np.concatenate([self.queries, self.documents])

    def turned(self, rotation_DD: NDArray[np.float64]) -> "Labels":
        """All of them times an orthogonal matrix: every dot product stays."""
        each = (self.queries, self.documents, self.task_queries, self.task_documents)
        return Labels(*(rotated(vectors, rotation_DD) for vectors in each))


def label(teacher: Teacher, material: Corpus, folder: Path, texts_per_part: int, progress: Progress) -> Labels:
    """The vectors of all texts; those of a run that was stopped are taken from ``folder``, part by part."""
    groups: list[tuple[Kind, tuple[str, ...]]] = [
        ("query", material.queries),
        ("document", material.documents),
        ("query", material.task.queries),
        ("document", material.task.documents),
    ]
    items = [(kind, text) for kind, texts in groups for text in texts]
    made_of = {"teacher": teacher.identity, "texts": content_id("leaf texts", items)}
    parts = parts_of(len(items), texts_per_part)

    def make(part: range) -> Arrays:
        chosen = items[part.start : part.stop]
        return {"vectors": vectors_of(teacher, chosen, lambda done: progress(part.start + done, len(items)))}

    vectors_ND = cached_labels_in_parts(folder, made_of, parts, make)["vectors"]
    ends = np.cumsum([len(texts) for _, texts in groups])[:-1]
    return Labels(*np.split(vectors_ND, ends))


def vectors_of(teacher: Teacher, items: list[tuple[Kind, str]], done: Callable[[int], None]) -> Vectors:
    """Vectors in the order of the items, whose kinds may be mixed."""
    found: list[Vectors | None] = [None] * len(items)
    before = 0
    kinds: tuple[Kind, ...] = ("query", "document")
    for kind in kinds:
        places = [place for place, item in enumerate(items) if item[0] == kind]
        if not places:
            continue
        start = before
        texts = [items[place][1] for place in places]
        vectors_ND = teacher.vectors(texts, kind, lambda now, _, start=start: done(start + now))  # type: ignore[misc]
        for place, vector in zip(places, vectors_ND, strict=True):
            found[place] = vector
        before += len(places)
    return np.stack([vector for vector in found if vector is not None])
