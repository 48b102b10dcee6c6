"""Texts to learn from, and a retrieval task to be examined on: from files, or from the Hugging Face hub."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.distill.data.datasets import fingerprint, table
from cyclealign.distill.data.retrieval import hashes_of, read_retrieval
from cyclealign.distill.leaf.config import Config, DataSettings
from cyclealign.errors import DistillError


@dataclass(frozen=True)
class Task:
    """A retrieval task; ``relevant`` holds for each query its documents' indices, at least one, with their grades."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[Mapping[int, int], ...]


@dataclass(frozen=True)
class Corpus:
    """What the student learns from (no judgement is among it), and the task."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    task: Task


def read(settings: DataSettings) -> Corpus:
    """Everything that the settings name.

    Raises:
        DistillError: a source cannot be read, has no such column, or is empty.
    """
    if not settings.queries and not settings.documents:
        raise DistillError("data: name at least one source of training texts in data.queries or data.documents.")
    return Corpus(
        texts(settings.queries, settings.max_texts),
        texts(settings.documents, settings.max_texts),
        read_task(settings.task, settings.split),
    )


def texts(sources: Sequence[str], max_texts: int | None = None) -> tuple[str, ...]:
    """The texts of all sources, each text once, in order; at most so many of each source."""
    return tuple(dict.fromkeys(text for source in sources for text in _texts_of(source, max_texts)))


def _texts_of(source: str, max_texts: int | None) -> list[str]:
    address, _, column = source.partition("#")
    rows = table(address)
    name = column or "text"
    _need(rows, [name], source)
    column_of = rows[:max_texts][name]
    odd = next((row for row in column_of if row is not None and not isinstance(row, str)), None)
    if odd is not None:
        raise DistillError(f"{source}: the column '{name}' holds {odd!r}, which is no text.")
    found = [text for row in column_of if (text := (row or "").strip())]
    if not found:
        raise DistillError(f"{source}: no text in it.")
    return found


def _need(rows: Any, columns: Sequence[str], source: str) -> None:
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DistillError(f"{source}: no column {missing}; it has {rows.column_names}. Name one as SOURCE#COLUMN.")


def read_task(address: str, split: str) -> Task:
    """A task in BEIR's layout, in a folder or on the hub; of its queries those that have a relevant document.

    A relevant document that the corpus lacks is left out.
    """
    read = read_retrieval(address, (split,))
    place = {document: number for number, document in enumerate(read.documents)}
    relevant = {
        query: {place[each]: grade for each, grade in read.qrels[split][query].items() if grade > 0 and each in place}
        for query in read.queries
        if query in read.qrels[split]
    }
    asked = [query for query, grades in relevant.items() if grades]
    return Task(
        tuple(read.queries[each] for each in asked),
        tuple(read.documents.values()),
        tuple(relevant[each] for each in asked),
    )


def hashes(config: Config) -> dict[str, str]:
    """What texts, task and vectors that the settings name are known by, as far as they are there."""
    found: dict[str, str] = {}
    for source in (*config.data.queries, *config.data.documents):
        with suppress(DistillError):  # `texts` says what is wrong with it
            found[source] = fingerprint(source.partition("#")[0])
    if config.teacher.vectors and Path(config.teacher.vectors).exists():
        found[config.teacher.vectors] = fingerprint(config.teacher.vectors)
    return found | hashes_of(config.data.task, (config.data.split,))
