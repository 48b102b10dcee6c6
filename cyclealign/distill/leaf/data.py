"""Training texts and a retrieval task, from files or the Hugging Face hub."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.distill.data.datasets import fingerprint, load_table
from cyclealign.distill.data.retrieval import collection_hashes, read_retrieval
from cyclealign.distill.leaf.config import Config, DataSettings
from cyclealign.errors import DistillError


@dataclass(frozen=True)
class Task:
    """A retrieval task.

    Attributes:
        queries: texts of queries with at least one relevant document.
        documents: texts of all documents.
        relevant: for each query, index of a relevant document -> grade.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[Mapping[int, int], ...]


@dataclass(frozen=True)
class Corpus:
    """Training texts (without relevance judgements), and the task for evaluation."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    task: Task


def read_corpus(settings: DataSettings) -> Corpus:
    """Read the training texts and the task of the settings.

    Raises:
        DistillError: no source is named, or one cannot be read, lacks its column or is empty.
    """
    if not settings.queries and not settings.documents:
        raise DistillError("data: name at least one source of training texts in data.queries or data.documents.")
    return Corpus(
        read_texts(settings.queries, settings.max_texts),
        read_texts(settings.documents, settings.max_texts),
        read_task(settings.task, settings.split),
    )


def read_texts(sources: Sequence[str], max_texts: int | None = None) -> tuple[str, ...]:
    """Return the distinct texts of all sources, in order, from the first ``max_texts`` rows of each."""
    return tuple(dict.fromkeys(text for source in sources for text in _texts_of(source, max_texts)))


def _texts_of(source: str, max_texts: int | None) -> list[str]:
    address, _, column = source.partition("#")
    table = load_table(address)
    name = column or "text"
    _require_columns(table, [name], source)
    cells = table[:max_texts][name]
    wrong = next((cell for cell in cells if cell is not None and not isinstance(cell, str)), None)
    if wrong is not None:
        raise DistillError(f"{source}: the column '{name}' holds {wrong!r}, which is not a text.")
    texts = [text for cell in cells if (text := (cell or "").strip())]
    if not texts:
        raise DistillError(f"{source}: the column '{name}' holds no text.")
    return texts


def _require_columns(table: Any, columns: Sequence[str], source: str) -> None:
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DistillError(f"{source}: no column {missing}; it has {table.column_names}. Name one as SOURCE#COLUMN.")


def read_task(address: str, split: str) -> Task:
    """Read a task in BEIR's layout from a folder or the hub.

    Queries without a relevant document, and relevant documents that the corpus lacks, are left out.
    """
    collection = read_retrieval(address, (split,))
    qrels = collection.qrels[split]
    index = {document_id: number for number, document_id in enumerate(collection.documents)}
    relevant = {
        query_id: {
            index[document_id]: grade
            for document_id, grade in qrels[query_id].items()
            if grade > 0 and document_id in index
        }
        for query_id in collection.queries
        if query_id in qrels
    }
    answerable = [query_id for query_id, grades in relevant.items() if grades]
    return Task(
        tuple(collection.queries[query_id] for query_id in answerable),
        tuple(collection.documents.values()),
        tuple(relevant[query_id] for query_id in answerable),
    )


def input_hashes(config: Config) -> dict[str, str]:
    """Return the content hash of each source of texts, of the task and of the vector file, as far as they exist."""
    hashes: dict[str, str] = {}
    for source in (*config.data.queries, *config.data.documents):
        with suppress(DistillError):  # `read_texts` reports what is wrong with it
            hashes[source] = fingerprint(source.partition("#")[0])
    if config.teacher.vectors and Path(config.teacher.vectors).exists():
        hashes[config.teacher.vectors] = fingerprint(config.teacher.vectors)
    return hashes | collection_hashes(config.data.task, (config.data.split,))
