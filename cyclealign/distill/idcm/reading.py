"""Reads a data set: the made-up world, or files as BEIR (documents, queries, judgements) and TREC (runs) have them."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclealign.distill.idcm import world
from cyclealign.distill.idcm.config import DataSettings
from cyclealign.distill.idcm.data import Collection, Judged, Triple
from cyclealign.errors import DistillError

Qrels = dict[str, frozenset[str]]


def load(settings: DataSettings, seed: int) -> Collection:
    """The collection that the settings name.

    Raises:
        DistillError: a file is missing, or a line of it cannot be read; the message names file and line.
    """
    if settings.source == "made":
        return world.make(world.Size(**settings.world.model_dump(), seed=seed))
    documents, queries = _texts(Path(settings.corpus)), _texts(Path(settings.queries))
    train, test = _qrels(Path(settings.train_qrels)), _qrels(Path(settings.test_qrels))
    both = train.keys() & test.keys()
    if both:
        raise DistillError(
            f"{len(both)} queries are in training and test judgements, '{min(both)}' for one. Part them."
        )
    asked = [*train, *test]
    found = _run(Path(settings.run)) if settings.run else bm25(documents, queries, asked, settings.candidates)
    passages = tuple(_triples(Path(settings.triples))) if settings.triples else ()
    train_judged, test_judged = (
        tuple(_judged(queries, documents, qrels, found, settings.candidates)) for qrels in (train, test)
    )
    return Collection(queries, documents, passages, train_judged, test_judged)


def named_files(settings: DataSettings) -> list[Path]:
    """The files that the settings name; none for the made-up world."""
    if settings.source == "made":
        return []
    given = (
        settings.corpus,
        settings.queries,
        settings.train_qrels,
        settings.test_qrels,
        settings.run,
        settings.triples,
    )
    return [Path(each) for each in given if each is not None]


def bm25(
    documents: Mapping[str, str], queries: Mapping[str, str], asked: Sequence[str], count: int
) -> dict[str, list[str]]:
    """The ``count`` documents of highest BM25 for each asked query, best first."""
    import bm25s

    ids = list(documents)
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(documents.values()), stopwords="en", show_progress=False), show_progress=False)
    known = [query for query in asked if query in queries]
    words = bm25s.tokenize([queries[query] for query in known], stopwords="en", show_progress=False)
    places, _ = index.retrieve(words, k=min(count, len(ids)), show_progress=False)
    return {query: [ids[int(place)] for place in row] for query, row in zip(known, places, strict=True)}


def _judged(
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    qrels: Qrels,
    found: Mapping[str, Sequence[str]],
    count: int,
) -> Iterator[Judged]:
    """Queries among whose candidates are a relevant document and another one: others cannot tell rankings apart."""
    for query, relevant in qrels.items():
        candidates = tuple(each for each in found.get(query, ())[:count] if each in documents)
        here = relevant & set(candidates)
        if query in queries and here and len(here) < len(candidates):
            yield Judged(query, candidates, frozenset(here))


def _texts(path: Path) -> dict[str, str]:
    found = {}
    for number, line in _lines(path):
        try:
            row: dict[str, Any] = json.loads(line)
            found[str(row["_id"])] = f"{row.get('title') or ''} {row['text']}".strip()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DistillError(f'{path}:{number}: not a line of {{"_id": ..., "text": ...}}.') from error
    return found


def _qrels(path: Path) -> Qrels:
    """Relevant documents by query, of relevance 1 or more; a heading line is passed over."""
    found: dict[str, set[str]] = defaultdict(set)
    for number, (query, *rest) in _columns(path, "\t"):
        document, relevance = rest[-2:] if len(rest) in (2, 3) else ("", "")
        if number == 1 and not _whole(relevance):
            continue
        if not _whole(relevance):
            raise DistillError(f"{path}:{number}: not a line of query, document and relevance with tabs between.")
        if int(relevance) > 0:
            found[query].add(document)
    return {query: frozenset(documents) for query, documents in found.items()}


def _run(path: Path) -> dict[str, list[str]]:
    """Candidates by query, by falling score: lines of query, Q0, document, rank, score, name."""
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for number, columns in _columns(path, None):
        try:
            query, _, document, _, score, _ = columns
            found[query].append((float(score), document))
        except ValueError as error:
            raise DistillError(
                f"{path}:{number}: not a line of a TREC run (query Q0 document rank score name)."
            ) from error
    return {query: [document for _, document in sorted(rows, key=lambda row: -row[0])] for query, rows in found.items()}


def _triples(path: Path) -> Iterator[Triple]:
    for number, columns in _columns(path, "\t"):
        if len(columns) != 3:
            raise DistillError(
                f"{path}:{number}: not a line of query, positive and negative passage with tabs between."
            )
        yield Triple(*columns)


def _whole(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _columns(path: Path, separator: str | None) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.rstrip("\n").split(separator)) for number, line in _lines(path))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(f"{path}: cannot be read ({error}). Name the files under [data].") from error
