"""Read a data set: the demo data, or a retrieval collection with candidates and passage triples."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
from cyclealign.distill.data.retrieval import (
    Retrieval,
    Run,
    collection_hashes,
    read_retrieval,
    read_run,
)
from cyclealign.distill.idcm.config import DEMO, DataSettings
from cyclealign.distill.idcm.data import Collection, JudgedQuery, Triple
from cyclealign.distill.idcm.demo_data import demo_collection
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, numbered_lines


def read_collection(settings: DataSettings, seed: int) -> Collection:
    """Read the collection of the settings; ``seed`` is of the demo data.

    Raises:
        DistillError: a file is missing, a line is malformed, a query is in both splits, or a split has no query with a
            relevant candidate; the message names file and line, or the ids.
    """
    if settings.source == DEMO:
        return demo_collection(settings.demo, seed)
    train, test = settings.train_split, settings.test_split
    collection = read_retrieval(settings.source, (train, test))
    collection.require_disjoint_queries((train, test))
    passages = tuple(_triples(Path(settings.triples))) if settings.triples else ()
    run = _candidate_run(collection, settings)
    judged = {split: tuple(_judged_queries(collection, split, run, settings.candidates)) for split in (train, test)}
    # Training needs a pair of candidates; test queries all stay, as a missing candidate is an error of the ranking.
    trainable = tuple(query for query in judged[train] if query.relevant and query.irrelevant)
    for split, usable in ((train, trainable), (test, [query for query in judged[test] if query.relevant])):
        if not usable:
            raise DistillError(
                f"{settings.source}: no query of split '{split}' has a relevant document among its "
                f"{settings.candidates} candidates. Increase data.candidates, or set another data.run."
            )
    return Collection(collection.queries, collection.documents, passages, trainable, judged[test])


def input_hashes(settings: DataSettings) -> dict[str, str]:
    """Return the content hash of each file of the settings that exists; the demo data follow from the seed."""
    if settings.source == DEMO:
        return {}
    files = [Path(name) for name in (settings.run, settings.triples) if name is not None]
    collection = collection_hashes(settings.source, (settings.train_split, settings.test_split))
    return {**collection, **{str(path): hash_of_file(path) for path in files if path.is_file()}}


def _candidate_run(collection: Retrieval, settings: DataSettings) -> Run:
    if settings.run:
        return read_run(Path(settings.run))
    queries = collection.queries_of(settings.train_split) | collection.queries_of(settings.test_split)
    return bm25_run(collection.documents, queries, settings.candidates)


def _judged_queries(collection: Retrieval, split: str, run: Run, count: int) -> Iterator[JudgedQuery]:
    ranked: Mapping[str, Sequence[str]] = candidate_ids(run)
    for query in collection.queries_of(split):
        candidates = [document for document in ranked.get(query, ()) if document in collection.documents]
        yield JudgedQuery(query, tuple(candidates[:count]), collection.qrels[split][query])


def _triples(path: Path) -> Iterator[Triple]:
    for where, line in numbered_lines(path, DistillError):
        columns = line.split("\t")
        if len(columns) != 3:
            raise DistillError(f"{where}: expected query, positive and negative passage, tab-separated.")
        yield Triple(*columns)
