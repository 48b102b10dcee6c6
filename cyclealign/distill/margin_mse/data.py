"""Passages, queries, relevance judgements and training triples."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclealign.distill.data.retrieval import Retrieval, collection_hashes, read_retrieval
from cyclealign.distill.margin_mse.config import DEMO, Config, DataSettings
from cyclealign.distill.margin_mse.demo_data import demo_collection
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file

Candidates = Mapping[str, Sequence[str]]  # query id -> passage ids, best first
Triple = tuple[str, str, str]  # ids of a query, a positive and a negative passage


def _unknown_relevance(query_id: str, passage_id: str) -> float:
    raise ValueError("only demo data have a known relevance")


@dataclass(frozen=True)
class Collection(Retrieval):
    """A retrieval collection.

    Attributes:
        true_relevance: relevance of (query id, passage id), from -1 to 1; known for demo data only.
    """

    true_relevance: Callable[[str, str], float] = _unknown_relevance


def read_collection(config: Config) -> Collection:
    """Read the collection of the settings.

    Raises:
        DistillError: a file is missing, a row is malformed, ids do not match, or a query is in two splits; the message
            names file and line, or the query.
    """
    if config.data.source == DEMO:
        collection = _demo(config)
    else:
        read = read_retrieval(config.data.source, config.splits)
        collection = Collection(read.documents, read.queries, read.qrels)
    collection.require_disjoint_queries(config.splits)
    return collection


def _demo(config: Config) -> Collection:
    demo = demo_collection(config.data.demo, config.seed)
    for split in config.splits:
        if split not in demo.qrels:
            raise DistillError(f"The demo data have no split '{split}', only {', '.join(demo.qrels)}.")
    return Collection(demo.passages, demo.queries, demo.qrels, demo.relevance)


def draw_triples(
    collection: Collection, split: str, candidates: Candidates, data: DataSettings, seed: int
) -> list[Triple]:
    """Draw (query, positive, negative) ids: each judged positive with negatives from the query's candidates.

    As in the paper's data, a negative is a candidate without a positive judgement; it may still be relevant.

    Raises:
        DistillError: there is no triple.
    """
    draw = random.Random(seed)
    triples: list[Triple] = []
    for query_id in collection.queries_of(split):
        positives = [passage for passage, grade in collection.qrels[split][query_id].items() if grade > 0]
        others = [passage for passage in candidates.get(query_id, ()) if passage not in positives]
        for positive in positives:
            if positive in collection.documents:
                negatives = draw.sample(others, min(data.negatives, len(others)))
                triples += [(query_id, positive, negative) for negative in negatives]
    if not triples:
        raise DistillError(f"The split '{split}' gives no training triple: no positive has another candidate.")
    draw.shuffle(triples)
    return triples[: data.max_triples]


def pairs_of(triples: Sequence[Triple]) -> list[tuple[str, str]]:
    """Return the distinct (query, passage) pairs of the triples, in order of first occurrence."""
    return list(dict.fromkeys((query, passage) for query, *passages in triples for passage in passages))


def input_hashes(config: Config) -> dict[str, str]:
    """Return the content hash of each file of the settings that exists; demo data follow from the seed."""
    names = [config.teacher.scores, config.student.embeddings]
    paths = [Path(name) for name in names if name]
    return {
        **(collection_hashes(config.data.source, config.splits) if config.data.source != DEMO else {}),
        **{str(path): hash_of_file(path) for path in paths if path.exists()},
    }
