"""Retrieval collections in their published formats: BEIR folders, TREC judgements and runs, Hugging Face data sets.

A folder holds ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv`` (or ``.txt``), each also as ``.gz``.
Relevance judgements (qrels) have BEIR's three columns (heading, tabs) or TREC's four. On the hub they are the
configuration ``default`` (MTEB) or a data set of their own, ``<name>-qrels`` (BEIR).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cyclealign.distill.data.datasets import fingerprint, load_table
from cyclealign.distill.data.splits import require_disjoint
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, json_lines, numbered_lines

Qrels = Mapping[str, Mapping[str, int]]
Run = dict[str, dict[str, float]]
Value = TypeVar("Value", str, int, float)

# Known names of the first and last column of a heading; any other first line is read as a judgement.
QUERY_NAMES = {"query-id", "query", "qid", "topic", "topic-id"}
GRADE_NAMES = {"score", "relevance", "rel", "grade", "label", "judgment", "judgement"}


@dataclass(frozen=True)
class Retrieval:
    """A retrieval collection.

    Attributes:
        documents: document id -> text, with the title in front.
        queries: query id -> text, of all splits.
        qrels: split -> query id -> document id -> relevance grade; grade 0 means judged and not relevant.
    """

    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Qrels]

    def queries_of(self, split: str) -> dict[str, str]:
        """Return query id -> text of the split's judged queries, sorted by id."""
        return {query_id: self.queries[query_id] for query_id in sorted(self.qrels[split]) if query_id in self.queries}

    def require_disjoint_queries(self, splits: Iterable[str], *others: tuple[str, Iterable[str]]) -> None:
        """Refuse queries that two splits share, or a split and another named set; raises as `require_disjoint`."""
        require_disjoint("queries", *others, *((f"split '{split}'", self.queries_of(split)) for split in splits))


def read_retrieval(source: str, splits: Sequence[str]) -> Retrieval:
    """Read a collection from a folder or the Hugging Face hub, with the judgements of some splits.

    Raises:
        DistillError: a file is missing, a row is malformed or contradicts another, or the ids of the judgements do
            not occur in the collection; the message names file and line.
    """
    folder = Path(source)
    if folder.is_dir():
        files = [find_file(folder, name) for name in ("corpus.jsonl", "queries.jsonl")]
        documents, queries = (_texts(json_lines(file, DistillError)) for file in files)
        qrels = {split: read_qrels(_qrels_file(folder, split)) for split in splits}
    else:
        documents, queries = (_texts(_hub_rows(source, name, name)) for name in ("corpus", "queries"))
        qrels = {split: _grades(_hub_qrels_rows(source, split)) for split in splits}
    collection = Retrieval(documents, queries, qrels)
    for split in splits:
        _check_ids(source, split, collection)
    return collection


def collection_hashes(source: str, splits: Sequence[str]) -> dict[str, str]:
    """Return the content hash of each file of a collection, or the fingerprint of each of its tables on the hub.

    Missing files and tables are left out here; `read_retrieval` reports them.
    """
    if Path(source).is_dir():
        return {str(path): hash_of_file(path) for path in _files_of(Path(source), splits)}
    try:
        tables = {f"{source}/{name}": fingerprint(source, name, name) for name in ("corpus", "queries")}
        qrels = {f"{source}/qrels/{split}": str(_hub_qrels(source, split)._fingerprint) for split in splits}
    except DistillError:
        return {}
    return tables | qrels


def _files_of(folder: Path, splits: Sequence[str]) -> list[Path]:
    qrels = [f"qrels/{split}{suffix}" for split in splits for suffix in (".tsv", ".txt")]
    paths = [folder / f"{name}{gz}" for name in ("corpus.jsonl", "queries.jsonl", *qrels) for gz in ("", ".gz")]
    return [path for path in paths if path.is_file()]


def find_file(folder: Path, *names: str) -> Path:
    """Return the first file of these names in a folder, each optionally with .gz.

    Raises:
        DistillError: none of them exists.
    """
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise DistillError(
        f"{folder / names[0]} is missing. A collection has corpus.jsonl, queries.jsonl and qrels/<split>.tsv."
    )


def read_qrels(path: Path) -> Qrels:
    """Read query id -> document id -> relevance grade.

    Raises:
        DistillError: a line is malformed or contradicts another.
    """
    return _grades(_qrels_rows(path))


def read_run(path: Path) -> Run:
    """Read a TREC run (lines of query, Q0, document, rank, score and name) as query id -> document id -> score.

    Raises:
        DistillError: a line is malformed or contradicts another, or its score is not finite.
    """
    run: Run = {}
    for where, line in numbered_lines(path, DistillError):
        try:
            query, _, document, _, score, _ = line.split()
            value = float(score)
        except ValueError as error:
            raise DistillError(f"{where}: not a line of a TREC run (query Q0 document rank score name).") from error
        if not math.isfinite(value):
            raise DistillError(f"{where}: the score {score} is not a finite number.")
        _add_once(run.setdefault(query, {}), document, value, f"{where}: the score of '{document}' for query '{query}'")
    return run


def _texts(rows: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return id -> title and text of each row; repeated ids must have the same text."""
    texts: dict[str, str] = {}
    for where, row in rows:
        try:
            row_id, title, text = _id_of(row["_id"]), row.get("title"), row["text"]
            if not isinstance(text, str) or not isinstance(title, str | None):
                raise TypeError("'title' or 'text' is not a string")
        except (ValueError, KeyError, TypeError) as error:
            raise DistillError(f'{where}: expected {{"_id": ..., "text": ...}} ({error}).') from error
        _add_once(texts, row_id, f"{title or ''} {text}".strip(), f"{where}: the text of '{row_id}'")
    return texts


def _id_of(value: object) -> str:
    """Return an id given as a string or an integer; raise TypeError otherwise (None and True would become ids)."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"not an id: {value!r}")
    return str(value)


def _add_once(values: dict[str, Value], key: str, value: Value, subject: str) -> None:
    """Store a value; a repeated key must have the same value, or the last one would win silently."""
    if values.setdefault(key, value) != value:
        raise DistillError(f"{subject} differs from an earlier line. Keep one of them.")


def _qrels_file(folder: Path, split: str) -> Path:
    return find_file(folder, f"qrels/{split}.tsv", f"qrels/{split}.txt")


def _qrels_rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield (where, query, document, grade) of each line except a heading."""
    for number, (where, line) in enumerate(numbered_lines(path, DistillError)):
        cells = line.split("\t") if "\t" in line else line.split()
        if number == 0 and _column_name(cells[0]) in QUERY_NAMES and _column_name(cells[-1]) in GRADE_NAMES:
            continue
        if len(cells) not in (3, 4):
            raise DistillError(
                f"{where}: expected query, document and grade (BEIR, tab-separated), or query, 0, document and grade "
                "(TREC)."
            )
        yield where, cells[0], cells[-2], cells[-1]


def _column_name(heading: str) -> str:
    """Return a column's heading in lower case, with hyphens between words."""
    return heading.strip().lower().replace("_", "-").replace(" ", "-")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _grades(rows: Iterable[tuple[str, str, str, str]]) -> Qrels:
    grades: dict[str, dict[str, int]] = {}
    for where, query, document, grade in rows:
        if not _is_finite(grade) or float(grade) != int(float(grade)):
            raise DistillError(
                f"{where}: the grade '{grade}' is not an integer. A heading must read: query-id, corpus-id, score."
            )
        subject = f"{where}: the grade of '{document}' for query '{query}'"
        _add_once(grades.setdefault(query, {}), document, int(float(grade)), subject)
    return grades


def _hub_rows(source: str, name: str, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, row in enumerate(load_table(source, name, split), 1):
        yield f"{source}, {name}, row {number}", row


def _hub_qrels(source: str, split: str) -> Any:
    try:
        return load_table(f"{source}-qrels", None, split)
    except DistillError:
        return load_table(source, "default", split)


def _hub_qrels_rows(source: str, split: str) -> Iterator[tuple[str, str, str, str]]:
    for number, row in enumerate(_hub_qrels(source, split), 1):
        where = f"{source}, judgements, row {number}"
        try:
            yield where, _id_of(row["query-id"]), _id_of(row["corpus-id"]), str(row["score"])
        except (KeyError, TypeError) as error:
            raise DistillError(f"{where}: expected query-id, corpus-id and score ({error}).") from error


def _check_ids(source: str, split: str, collection: Retrieval) -> None:
    """Refuse judgements of another collection's queries or documents, which would make every metric 0."""
    qrels = collection.qrels[split]
    known = [query for query in qrels if query in collection.queries]
    if not known:
        raise DistillError(f"{source}: {_mismatch(f'query of split {split!r}', qrels, 'queries', collection.queries)}")
    relevant = [document for query in known for document, grade in qrels[query].items() if grade > 0]
    if not any(document in collection.documents for document in relevant):
        problem = _mismatch(f"relevant document of split {split!r}", relevant, "corpus", collection.documents)
        raise DistillError(f"{source}: {problem}")


def _mismatch(item: str, judged: Iterable[str], part: str, ids: Iterable[str]) -> str:
    examples = [next(iter(names), "nothing") for names in (judged, ids)]
    return (
        f"no {item} is in the {part}. The judgements name '{examples[0]}', for example; the {part} '{examples[1]}'. "
        "Are the files of one collection?"
    )
