"""Texts to learn from, and a retrieval task to be examined on: from files, or from the Hugging Face hub."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.distill.leaf.config import Config, DataSettings
from cyclealign.distill.tables import table
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, hash_of_folder


@dataclass(frozen=True)
class Task:
    """A retrieval task; ``relevant`` holds for each query the indices of its documents, at least one."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]


@dataclass(frozen=True)
class Material:
    """What the student learns from (no judgement is among it), and the task."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    task: Task


def read(settings: DataSettings) -> Material:
    """Everything that the settings name.

    Raises:
        DistillError: a source cannot be read, has no such column, or is empty.
    """
    if not settings.queries and not settings.documents:
        raise DistillError("data: name at least one source of training texts in data.queries or data.documents.")
    return Material(
        texts(settings.queries, settings.at_most),
        texts(settings.documents, settings.at_most),
        read_task(settings.examination, settings.split),
    )


def texts(sources: Sequence[str], at_most: int | None = None) -> tuple[str, ...]:
    """The texts of all sources, each text once, in order; at most so many of each source."""
    return tuple(dict.fromkeys(text for source in sources for text in _texts_of(source, at_most)))


def _texts_of(source: str, at_most: int | None) -> list[str]:
    address, _, column = source.partition("#")
    rows = table(address)
    name = column or "text"
    _need(rows, [name], source)
    found = [text for row in rows[:at_most][name] if (text := str(row or "").strip())]
    if not found:
        raise DistillError(f"{source}: no text in it.")
    return found


def _need(rows: Any, columns: Sequence[str], source: str) -> None:
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DistillError(f"{source}: no column {missing}; it has {rows.column_names}. Name one as SOURCE#COLUMN.")


def read_task(address: str, split: str) -> Task:
    """A task in BEIR's layout: corpus (_id, title, text), queries (_id, text), qrels (query-id, corpus-id, score)."""
    corpus, queries, judged = _beir(Path(address), split) if Path(address).is_dir() else _beir_on_hub(address, split)
    _need(corpus, ["_id", "text"], f"{address}, corpus")
    _need(queries, ["_id", "text"], f"{address}, queries")
    _need(judged, ["query-id", "corpus-id", "score"], f"{address}, qrels")
    place = {str(row["_id"]): number for number, row in enumerate(corpus)}
    relevant = _relevant(judged, place)
    asked = [row for row in queries if str(row["_id"]) in relevant]
    if not asked:
        raise DistillError(f"{address}: no query of split '{split}' has a relevant document in the corpus.")
    return Task(
        tuple(row["text"] for row in asked),
        tuple(f"{row.get('title') or ''} {row['text']}".strip() for row in corpus),
        tuple(frozenset(relevant[str(row["_id"])]) for row in asked),
    )


def _beir(folder: Path, split: str) -> Iterator[Any]:
    for name in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv"):
        path = next((found for found in (folder / name, folder / f"{name}.gz") if found.is_file()), None)
        if path is None:
            raise DistillError(
                f"{folder / name} is missing. A task has corpus.jsonl, queries.jsonl and qrels/{split}.tsv."
            )
        yield table(str(path))


def _beir_on_hub(name: str, split: str) -> Iterator[Any]:
    yield table(name, "corpus", "corpus")
    yield table(name, "queries", "queries")
    yield table(name, "default", split)


def _relevant(judged: Any, place: Mapping[str, int]) -> dict[str, set[int]]:
    relevant: dict[str, set[int]] = {}
    for row in judged:
        document = place.get(str(row["corpus-id"]))
        if document is not None and float(row["score"]) > 0:
            relevant.setdefault(str(row["query-id"]), set()).add(document)
    return relevant


def hashes_of_files(config: Config) -> dict[str, str]:
    """The content hash of every file and folder here that the settings name: another content is another run."""
    named = [*config.data.queries, *config.data.documents, config.data.examination, config.teacher.model]
    named += [config.teacher.vectors or "", config.student.backbone]
    paths = {name: Path(name.partition("#")[0]) for name in named if name and name != "demo"}
    files = {name: hash_of_file(path) for name, path in paths.items() if path.is_file()}
    return {**files, **{name: hash_of_folder(path) for name, path in paths.items() if path.is_dir()}}
