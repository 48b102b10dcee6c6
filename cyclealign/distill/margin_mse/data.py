"""Passages, queries, judgements and training triples, as plain values."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cyclealign.distill.data.retrieval import Retrieval, read_retrieval
from cyclealign.distill.margin_mse.config import Config, DataSettings
from cyclealign.distill.margin_mse.demo_data import make_world
from cyclealign.errors import DistillError

Candidates = Mapping[str, Sequence[str]]
Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Collection(Retrieval):
    """A retrieval collection; the demo world's comes with its truth.

    Attributes:
        gold: the demo world's hidden relevance of a (query, passage) pair, from which its teacher is simulated.
    """

    gold: Any = None


def load_collection(config: Config) -> Collection:
    """The collection that the settings name.

    Raises:
        DistillError: a file is missing, a row cannot be read, ids do not fit, or a query is in two splits; the message
            names file and line, or the query.
    """
    if config.data.source == "demo":
        collection = _demo(config)
    else:
        read = read_retrieval(config.data.source, config.splits)
        collection = Collection(read.documents, read.queries, read.qrels)
    collection.refuse_shared_queries(config.splits)
    return collection


def _demo(config: Config) -> Collection:
    world = make_world(config.data.demo, config.seed)
    for split in config.splits:
        if split not in world.qrels:
            raise DistillError(f"The demo world has no split '{split}', only {', '.join(world.qrels)}.")
    return Collection(world.passages, world.queries, world.qrels, world.relevance)


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
    for query_id in collection.asked(split):
        positives = [each for each, grade in collection.qrels[split][query_id].items() if grade > 0]
        others = [each for each in candidates.get(query_id, ()) if each not in positives]
        for positive in positives:
            if positive in collection.documents:
                chosen = draw.sample(others, min(data.negatives, len(others)))
                triples += [(query_id, positive, negative) for negative in chosen]
    if not triples:
        raise DistillError(
            f"The split '{split}' gives no training triple: no judged passage with a candidate beside it."
        )
    draw.shuffle(triples)
    return triples[: data.max_triples]


def pairs_of(triples: Sequence[Triple]) -> list[tuple[str, str]]:
    """The distinct (query, passage) pairs of the triples, in the order of their first occurrence."""
    return list(dict.fromkeys((query, passage) for query, *both in triples for passage in both))
