"""Passages, queries, judgements, candidates and training triples, as plain values."""

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.distill.margin_mse.config import Config, DataSettings
from cyclealign.distill.margin_mse.world import make_world
from cyclealign.errors import DistillError

Qrels = Mapping[str, Mapping[str, int]]
Candidates = Mapping[str, Sequence[str]]
Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Collection:
    """Texts by id, and what people (or the demo world) judged.

    Attributes:
        passages: passage id -> text, the title first.
        queries: query id -> text, of all splits.
        qrels: split -> query id -> passage id -> grade; 0 is judged and not relevant.
        gold: the demo world's hidden relevance of a (query, passage) pair, from which its teacher is simulated.
    """

    passages: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Qrels]
    gold: Any = None


def load_collection(config: Config) -> Collection:
    """The collection that the settings name.

    Raises:
        DistillError: a file is missing or a row cannot be read; the message names it.
    """
    data = config.data
    if data.source == "demo":
        world = make_world(data.world, config.seed)
        return Collection(world.passages, world.queries, world.qrels, world.relevance)
    splits = [data.train_split, data.test_split, *([data.validation_split] if data.validation_split else [])]
    passages = {
        str(row["_id"]): f"{row.get('title') or ''} {row['text']}".strip() for row in _texts(data.source, "corpus")
    }
    queries = {str(row["_id"]): str(row["text"]) for row in _texts(data.source, "queries")}
    collection = Collection(passages, queries, {name: _qrels(data.source, name) for name in splits})
    _check(collection, data)
    return collection


def files_of(data: DataSettings) -> list[Path]:
    """The files that a folder in BEIR's format is read from."""
    splits = [data.train_split, data.test_split, *([data.validation_split] if data.validation_split else [])]
    names = ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in splits)]
    return [Path(data.source) / name for name in names]


def _texts(source: str, name: str) -> Iterator[Mapping[str, Any]]:
    """Rows of BEIR's ``corpus`` or ``queries``."""
    if not Path(source).is_dir():
        yield from _hub(source, name, name)
        return
    path = Path(source) / f"{name}.jsonl"
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
            if not isinstance(row["_id"], str | int) or not isinstance(row["text"], str):
                raise TypeError("'_id' or 'text' is not a text")
        except (ValueError, KeyError, TypeError) as error:
            raise DistillError(f'{path}, line {number}: want {{"_id": ..., "text": ...}} ({error}).') from error
        yield row


def _qrels(source: str, split: str) -> Qrels:
    """Judgements: a header, then query id, passage id and grade, between tabs."""
    found: dict[str, dict[str, int]] = {}
    if not Path(source).is_dir():
        for row in _hub(f"{source}-qrels", None, split):
            found.setdefault(str(row["query-id"]), {})[str(row["corpus-id"])] = int(row["score"])
        return found
    path = Path(source) / "qrels" / f"{split}.tsv"
    for number, cells in enumerate(csv.reader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE), 1):
        if number == 1 and not cells[-1].lstrip("-").isdigit():
            continue  # the header
        try:
            query_id, passage_id, grade = cells
            found.setdefault(query_id, {})[passage_id] = int(grade)
        except ValueError as error:
            raise DistillError(f"{path}, line {number}: want query id, passage id, grade between tabs.") from error
    return found


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def _hub(source: str, name: str | None, split: str) -> Iterable[Mapping[str, Any]]:
    from datasets import load_dataset

    try:
        return load_dataset(source, name, split=split)  # type: ignore[no-any-return]
    except Exception as error:  # the hub's client raises many kinds
        raise DistillError(
            f"'{source}' is neither a folder here nor a data set that could be fetched "
            f"({type(error).__name__}: {error})."
        ) from error


def _check(collection: Collection, data: DataSettings) -> None:
    for split, qrels in collection.qrels.items():
        known = [query_id for query_id in qrels if query_id in collection.queries]
        if not known:
            raise DistillError(f"{data.source}: no query of the split '{split}' is among the queries.")


def split_queries(collection: Collection, split: str) -> dict[str, str]:
    """Query id -> text of the queries that have a judgement in the split, in the order of their ids."""
    return {each: collection.queries[each] for each in sorted(collection.qrels[split]) if each in collection.queries}


def draw_triples(
    collection: Collection, split: str, candidates: Candidates, data: DataSettings, seed: int
) -> list[Triple]:
    """(query, positive, negative) ids: each judged positive with negatives from the query's candidates.

    As in the paper's data, a negative is a candidate that nobody judged relevant, which does not mean that it is not.

    Raises:
        DistillError: there is no triple to be drawn.
    """
    draw = random.Random(seed)
    triples: list[Triple] = []
    for query_id in split_queries(collection, split):
        positives = [each for each, grade in collection.qrels[split][query_id].items() if grade > 0]
        others = [each for each in candidates.get(query_id, ()) if each not in positives]
        for positive in positives:
            if positive in collection.passages:
                chosen = draw.sample(others, min(data.negatives, len(others)))
                triples += [(query_id, positive, negative) for negative in chosen]
    if not triples:
        raise DistillError(
            f"The split '{split}' gives no training triple: no judged passage with a candidate beside it."
        )
    draw.shuffle(triples)
    return triples[: data.most_triples]


def pairs_of(triples: Sequence[Triple]) -> list[tuple[str, str]]:
    """The distinct (query, passage) pairs of the triples, in the order of their first occurrence."""
    return list(dict.fromkeys((query, passage) for query, *both in triples for passage in both))
