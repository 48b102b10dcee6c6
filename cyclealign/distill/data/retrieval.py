"""Retrieval collections as they are published: BEIR's folders, TREC's judgements and runs, Hugging Face data sets.

A folder holds ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv`` (or ``.txt``), each with ``.gz`` too.
Judgements have BEIR's three columns (a heading, tabs) or TREC's four. On the hub they lie in the configuration
``default`` (as MTEB has it) or in a data set of their own, ``<name>-qrels`` (as BEIR has it).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cyclealign.distill.data.datasets import fingerprint, table
from cyclealign.distill.data.splits import refuse_shared
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, json_lines, numbered_lines

Qrels = Mapping[str, Mapping[str, int]]
Run = dict[str, dict[str, float]]
Value = TypeVar("Value", str, int, float)

# What the first and the last column of judgements are called in a heading; a line of other words is a broken judgement.
QUERY_NAMES = {"query-id", "query", "qid", "topic", "topic-id"}
GRADE_NAMES = {"score", "relevance", "rel", "grade", "label", "judgment", "judgement"}


@dataclass(frozen=True)
class Retrieval:
    """Texts by id, and what people judged.

    Attributes:
        documents: document id -> text, the title first.
        queries: query id -> text, of all splits.
        qrels: split -> query id -> document id -> grade; 0 is judged and not relevant.
    """

    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Qrels]

    def asked(self, split: str) -> dict[str, str]:
        """Query id -> text of the queries that have a judgement in the split, in the order of their ids."""
        return {each: self.queries[each] for each in sorted(self.qrels[split]) if each in self.queries}

    def refuse_shared_queries(self, splits: Iterable[str], *more: tuple[str, Iterable[str]]) -> None:
        """Refuse queries that are in two splits, or in a split and in what else is named; errors as `refuse_shared`."""
        refuse_shared("queries", *more, *((f"split '{split}'", self.asked(split)) for split in splits))


def read_retrieval(source: str, splits: Sequence[str]) -> Retrieval:
    """The collection in a folder, or on the Hugging Face hub, with the judgements of some splits.

    Raises:
        DistillError: a file is missing, or a row of it cannot be read or contradicts another, or ids of one file are
            not in another; the message names file and line.
    """
    folder = Path(source)
    if folder.is_dir():
        files = [file_in(folder, name) for name in ("corpus.jsonl", "queries.jsonl")]
        documents, queries = (_texts(json_lines(file, DistillError)) for file in files)
        qrels = {split: read_qrels(_judgements(folder, split)) for split in splits}
    else:
        documents, queries = (_texts(_rows_on_hub(source, name, name)) for name in ("corpus", "queries"))
        qrels = {split: _graded(_judged_on_hub(source, split)) for split in splits}
    read = Retrieval(documents, queries, qrels)
    for split in splits:
        _fits(source, split, read)
    return read


def hashes_of(source: str, splits: Sequence[str]) -> dict[str, str]:
    """What a collection is known by: the hashes of its files, or the fingerprints of its tables on the hub.

    What is not there has none; `read_retrieval` says so.
    """
    if Path(source).is_dir():
        return {str(path): hash_of_file(path) for path in _files_of(Path(source), splits)}
    try:
        found = {f"{source}/{name}": fingerprint(source, name, name) for name in ("corpus", "queries")}
        judged = {f"{source}/qrels/{split}": str(_judgements_on_hub(source, split)._fingerprint) for split in splits}
    except DistillError:
        return {}
    return found | judged


def _files_of(folder: Path, splits: Sequence[str]) -> list[Path]:
    names = ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}{end}" for split in splits for end in (".tsv", ".txt"))]
    paths = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
    return [path for path in paths if path.is_file()]


def file_in(folder: Path, *names: str) -> Path:
    """The file of one of these names in a folder, or with .gz behind it.

    Raises:
        DistillError: there is none.
    """
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise DistillError(
        f"{folder / names[0]} is missing. A collection has corpus.jsonl, queries.jsonl and qrels/<split>.tsv."
    )


def read_qrels(path: Path) -> Qrels:
    """Query id -> document id -> grade.

    Raises:
        DistillError: a line is no judgement, or contradicts another.
    """
    return _graded(_judged_in(path))


def read_run(path: Path) -> Run:
    """A TREC run, lines of query, Q0, document, rank, score and name: query id -> document id -> score.

    Raises:
        DistillError: a line is none of a run or contradicts another, or its score is no finite number.
    """
    run: Run = {}
    for where, line in numbered_lines(path, DistillError):
        try:
            query, _, document, _, score, _ = line.split()
            value = float(score)
        except ValueError as error:
            raise DistillError(f"{where}: not a line of a TREC run (query Q0 document rank score name).") from error
        if not math.isfinite(value):
            raise DistillError(f"{where}: the score {score} is no finite number.")
        _put(run.setdefault(query, {}), document, value, where, f"the score of '{document}' for query '{query}'")
    return run


def _texts(rows: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Id -> title and text of each row; one that is there twice must be the same."""
    found: dict[str, str] = {}
    for where, row in rows:
        try:
            name, title, text = _id_of(row["_id"]), row.get("title"), row["text"]
            if not isinstance(text, str) or not isinstance(title, str | None):
                raise TypeError("'title' or 'text' is not a text")
        except (KeyError, TypeError) as error:
            raise DistillError(f'{where}: want {{"_id": ..., "text": ...}} ({error}).') from error
        _put(found, name, f"{title or ''} {text}".strip(), where, f"the text of '{name}'")
    return found


def _id_of(value: object) -> str:
    """An id, from a text or a whole number; TypeError for anything else, whose spelling would be the id."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"no id: {value!r}")
    return str(value)


def _put(found: dict[str, Value], key: str, value: Value, where: str, what: str) -> None:
    """Keep a value; one that is there already must be the same, or the last of them would win unseen."""
    if found.setdefault(key, value) != value:
        raise DistillError(f"{where}: {what} differs from the one given before. Leave in one of them.")


def _judgements(folder: Path, split: str) -> Path:
    return file_in(folder, f"qrels/{split}.tsv", f"qrels/{split}.txt")


def _judged_in(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Where, query, document and grade of each line, but of a heading."""
    for number, (where, line) in enumerate(numbered_lines(path, DistillError)):
        cells = line.split("\t") if "\t" in line else line.split()
        if number == 0 and _plain(cells[0]) in QUERY_NAMES and _plain(cells[-1]) in GRADE_NAMES:
            continue
        if len(cells) not in (3, 4):
            raise DistillError(
                f"{where}: want query, document and grade (BEIR, tabs between), or query, 0, document and grade (TREC)."
            )
        yield where, cells[0], cells[-2], cells[-1]


def _plain(name: str) -> str:
    """The name of a column, however it is written."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _graded(rows: Iterable[tuple[str, str, str, str]]) -> Qrels:
    grades: dict[str, dict[str, int]] = {}
    for where, query, document, grade in rows:
        if not _is_number(grade) or float(grade) != int(float(grade)):
            raise DistillError(
                f"{where}: the grade '{grade}' is no whole number. If it is a heading: query-id, corpus-id, score."
            )
        judged = grades.setdefault(query, {})
        _put(judged, document, int(float(grade)), where, f"the grade of '{document}' for query '{query}'")
    return grades


def _rows_on_hub(source: str, name: str, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, row in enumerate(table(source, name, split), 1):
        yield f"{source}, {name}, row {number}", row


def _judgements_on_hub(source: str, split: str) -> Any:
    try:
        return table(f"{source}-qrels", None, split)
    except DistillError:
        return table(source, "default", split)


def _judged_on_hub(source: str, split: str) -> Iterator[tuple[str, str, str, str]]:
    for number, row in enumerate(_judgements_on_hub(source, split), 1):
        where = f"{source}, judgements, row {number}"
        try:
            yield where, _id_of(row["query-id"]), _id_of(row["corpus-id"]), str(row["score"])
        except (KeyError, TypeError) as error:
            raise DistillError(f"{where}: want query-id, corpus-id and score ({error}).") from error


def _fits(source: str, split: str, read: Retrieval) -> None:
    """Refuse judgements that speak of other queries or documents: every figure would be 0, after all the work."""
    qrels = read.qrels[split]
    known = [query for query in qrels if query in read.queries]
    if not known:
        raise DistillError(f"{source}: {_strange(f'query of split {split!r}', qrels, 'queries', read.queries)}")
    wanted = [each for query in known for each, grade in qrels[query].items() if grade > 0]
    if not any(each in read.documents for each in wanted):
        said = _strange(f"relevant document of split {split!r}", wanted, "corpus", read.documents)
        raise DistillError(f"{source}: {said}")


def _strange(what: str, named: Iterable[str], where: str, there: Iterable[str]) -> str:
    samples = [next(iter(each), "nothing") for each in (named, there)]
    return (
        f"no {what} is in the {where}. The judgements name, for one, '{samples[0]}', the {where} '{samples[1]}': "
        "are the files of one collection?"
    )
