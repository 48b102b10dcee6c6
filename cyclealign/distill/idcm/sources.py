"""Reads a data set: the made-up world, or a retrieval collection with its candidates and passage triples."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cyclealign.distill.data.bm25 import bm25, candidate_ids
from cyclealign.distill.data.retrieval import Retrieval, Run, hashes_of, read_retrieval, read_run
from cyclealign.distill.idcm import demo_data
from cyclealign.distill.idcm.config import DEMO, DataSettings
from cyclealign.distill.idcm.data import Collection, Judged, Triple
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, numbered_lines


def load(settings: DataSettings, seed: int) -> Collection:
    """The collection that the settings name.

    Raises:
        DistillError: a file is missing, a line of it cannot be read, or nothing is left to learn from or to test on;
            the message names file and line, or the ids.
    """
    if settings.source == DEMO:
        return demo_data.make(demo_data.Size(**settings.demo.model_dump(), seed=seed))
    train, test = settings.train_split, settings.test_split
    read = read_retrieval(settings.source, (train, test))
    read.refuse_shared_queries((train, test))
    passages = tuple(_triples(Path(settings.triples))) if settings.triples else ()
    run = _candidates(read, settings)
    kept = {split: tuple(_judged(read, split, run, settings.candidates)) for split in (train, test)}
    # Others cannot be learnt from. Of the test's queries none is left out: what its candidates lack is lost.
    learnt = tuple(each for each in kept[train] if each.relevant and each.others)
    for split, usable in ((train, learnt), (test, [each for each in kept[test] if each.relevant])):
        if not usable:
            raise DistillError(
                f"{settings.source}: no query of split '{split}' has a relevant document among its "
                f"{settings.candidates} candidates. Raise data.candidates, or name another data.run."
            )
    return Collection(read.queries, read.documents, passages, learnt, kept[test])


def hashes(settings: DataSettings) -> dict[str, str]:
    """What the data that the settings name are known by, as far as they are there; the made-up world is by its seed."""
    if settings.source == DEMO:
        return {}
    more = [Path(each) for each in (settings.run, settings.triples) if each is not None]
    collection = hashes_of(settings.source, (settings.train_split, settings.test_split))
    return {**collection, **{str(path): hash_of_file(path) for path in more if path.is_file()}}


def _candidates(read: Retrieval, settings: DataSettings) -> Run:
    if settings.run:
        return read_run(Path(settings.run))
    asked = read.asked(settings.train_split) | read.asked(settings.test_split)
    return bm25(read.documents, asked, settings.candidates)


def _judged(read: Retrieval, split: str, run: Run, count: int) -> Iterator[Judged]:
    ranked: Mapping[str, Sequence[str]] = candidate_ids(run)
    for query in read.asked(split):
        candidates = [each for each in ranked.get(query, ()) if each in read.documents]
        yield Judged(query, tuple(candidates[:count]), read.qrels[split][query])


def _triples(path: Path) -> Iterator[Triple]:
    for where, line in numbered_lines(path, DistillError):
        columns = line.split("\t")
        if len(columns) != 3:
            raise DistillError(f"{where}: not a line of query, positive and negative passage with tabs between.")
        yield Triple(*columns)
