"""Demo data: passages and queries about mixtures of topics, with known relevance.

Words are invented. A passage or query has a hidden direction, a mixture of two topics' directions, and is written in
words of these topics, so texts about the same topics often share no word. The relevance of a pair is the cosine of the
two directions. Training queries have sparse judgements as human ones are, one relevant passage each; those of test
queries are complete and graded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.margin_mse.config import DemoSettings

DIRECTIONS = 8
TOPICS = 24
WORDS_PER_TOPIC = 16
PLAIN_WORDS = 60  # words without a topic
PLAIN_SHARE = 0.2
PASSAGE_WORDS = 14
QUERY_WORDS = 5
GRADES = (0.6, 0.75, 0.9)  # relevance above the n-th threshold is grade n
SYLLABLES = "ba be bo da de do fa fe fo ga ge go ka ke ko la le lo ma me mo na ne no ra re ro sa se so ta te to".split()


@dataclass(frozen=True)
class DemoCollection:
    """Texts and judgements as in `Collection`; ``relevance`` is the known relevance of (query id, passage id)."""

    passages: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, Mapping[str, int]]]
    relevance: Callable[[str, str], float]


def demo_collection(settings: DemoSettings, seed: int) -> DemoCollection:
    """Generate the collection; the same settings and seed give the same one."""
    draw = np.random.default_rng(seed)
    topics_TD = _directions(draw.normal(size=(TOPICS, DIRECTIONS)))
    words = _words(draw, TOPICS * WORDS_PER_TOPIC + PLAIN_WORDS)
    passage_ids = [f"p{number}" for number in range(settings.passages)]
    query_ids = [f"q{number}" for number in range(settings.train_queries + settings.test_queries)]
    passages_PD, passages = _texts(draw, topics_TD, words, len(passage_ids), PASSAGE_WORDS)
    queries_QD, queries = _texts(draw, topics_TD, words, len(query_ids), QUERY_WORDS)
    relevance_QP = queries_QD @ passages_PD.T
    row = {query_id: number for number, query_id in enumerate(query_ids)}
    column = {passage_id: number for number, passage_id in enumerate(passage_ids)}
    train, test = query_ids[: settings.train_queries], query_ids[settings.train_queries :]
    return DemoCollection(
        dict(zip(passage_ids, passages, strict=True)),
        dict(zip(query_ids, queries, strict=True)),
        {
            "train": {query_id: _sparse(draw, relevance_QP[row[query_id]], passage_ids) for query_id in train},
            "test": {query_id: _graded(relevance_QP[row[query_id]], passage_ids) for query_id in test},
        },
        lambda query_id, passage_id: float(relevance_QP[row[query_id], column[passage_id]]),
    )


def _directions(rows_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def _words(draw: np.random.Generator, count: int) -> list[str]:
    """Draw different invented words of three syllables."""
    codes = draw.choice(len(SYLLABLES) ** 3, size=count, replace=False)
    base = len(SYLLABLES)
    return [SYLLABLES[code // base**2] + SYLLABLES[code // base % base] + SYLLABLES[code % base] for code in codes]


def _texts(
    draw: np.random.Generator, topics_TD: NDArray[np.float64], words: list[str], count: int, length: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Return hidden directions (count, D) and texts of ``length`` words, each mixing a main and a minor topic."""
    pairs_N2 = np.stack([draw.choice(TOPICS, size=2, replace=False) for _ in range(count)])
    main_N = draw.uniform(0.55, 1.0, size=count)
    mixed_ND = main_N[:, None] * topics_TD[pairs_N2[:, 0]] + (1 - main_N)[:, None] * topics_TD[pairs_N2[:, 1]]
    texts = []
    for pair, main in zip(pairs_N2, main_N, strict=True):
        topic_L = np.where(draw.random(length) < main, pair[0], pair[1])
        word_L = topic_L * WORDS_PER_TOPIC + draw.integers(WORDS_PER_TOPIC, size=length)
        plain_L = TOPICS * WORDS_PER_TOPIC + draw.integers(PLAIN_WORDS, size=length)
        chosen_L = np.where(draw.random(length) < PLAIN_SHARE, plain_L, word_L)
        texts.append(" ".join(words[number] for number in chosen_L))
    return _directions(mixed_ND), texts


def _sparse(draw: np.random.Generator, relevance_P: NDArray[np.float64], ids: list[str]) -> dict[str, int]:
    """Return one passage of the highest grade; the other relevant ones stay unjudged."""
    best = np.flatnonzero(relevance_P >= min(GRADES[-1], float(relevance_P.max())))
    return {ids[int(draw.choice(best))]: 1}


def _graded(relevance_P: NDArray[np.float64], ids: list[str]) -> dict[str, int]:
    grades_P = np.searchsorted(GRADES, relevance_P)
    return {ids[number]: int(grades_P[number]) for number in np.flatnonzero(grades_P)}
