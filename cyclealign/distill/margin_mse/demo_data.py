"""The demo's text world: passages and queries about mixtures of topics, with a relevance that is known.

Words are made up. A passage or query has a hidden direction, a mixture of two topics'; it is written with words drawn
from the topics' vocabularies, so that texts on one matter often share no word. The relevance of a pair is the cosine
of the two directions. The judgements of training queries are sparse, as people's are: one relevant passage each; those
of test queries are complete and graded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclealign.distill.margin_mse.config import WorldSettings

DIRECTIONS = 8
TOPICS = 24
WORDS_PER_TOPIC = 16
PLAIN_WORDS = 60
PLAIN_SHARE = 0.2
PASSAGE_WORDS = 14
QUERY_WORDS = 5
GRADES = (0.6, 0.75, 0.9)  # a relevance above the n-th is grade n
SYLLABLES = "ba be bo da de do fa fe fo ga ge go ka ke ko la le lo ma me mo na ne no ra re ro sa se so ta te to".split()


@dataclass(frozen=True)
class World:
    """Texts and judgements, as in `Collection`; ``relevance`` gives the hidden truth of (query id, passage id)."""

    passages: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, Mapping[str, int]]]
    relevance: Callable[[str, str], float]


def make_world(settings: WorldSettings, seed: int) -> World:
    """The world of a seed; the same settings and seed give the same world."""
    draw = np.random.default_rng(seed)
    topics_TD = _directions(draw.normal(size=(TOPICS, DIRECTIONS)))
    words = _words(draw, TOPICS * WORDS_PER_TOPIC + PLAIN_WORDS)
    passage_ids = [f"p{number}" for number in range(settings.passages)]
    query_ids = [f"q{number}" for number in range(settings.train_queries + settings.test_queries)]
    passages_PD, passages = _texts(draw, topics_TD, words, len(passage_ids), PASSAGE_WORDS)
    queries_QD, queries = _texts(draw, topics_TD, words, len(query_ids), QUERY_WORDS)
    truth_QP = queries_QD @ passages_PD.T
    row = {each: number for number, each in enumerate(query_ids)}
    column = {each: number for number, each in enumerate(passage_ids)}
    train, test = query_ids[: settings.train_queries], query_ids[settings.train_queries :]
    return World(
        dict(zip(passage_ids, passages, strict=True)),
        dict(zip(query_ids, queries, strict=True)),
        {
            "train": {each: _sparse(draw, truth_QP[row[each]], passage_ids) for each in train},
            "test": {each: _graded(truth_QP[row[each]], passage_ids) for each in test},
        },
        lambda query_id, passage_id: float(truth_QP[row[query_id], column[passage_id]]),
    )


def _directions(rows_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def _words(draw: np.random.Generator, count: int) -> list[str]:
    """Made-up words of three syllables, no two the same."""
    codes = draw.choice(len(SYLLABLES) ** 3, size=count, replace=False)
    base = len(SYLLABLES)
    return [SYLLABLES[code // base**2] + SYLLABLES[code // base % base] + SYLLABLES[code % base] for code in codes]


def _texts(
    draw: np.random.Generator, topics_TD: NDArray[np.float64], words: list[str], count: int, length: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Hidden directions (count, D) and texts of ``length`` words; each mixes a main topic and a lesser one."""
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


def _sparse(draw: np.random.Generator, truth_P: NDArray[np.float64], ids: list[str]) -> dict[str, int]:
    """One passage of the highest grade that there is; the other relevant ones stay unjudged."""
    best = np.flatnonzero(truth_P >= min(GRADES[-1], float(truth_P.max())))
    return {ids[int(draw.choice(best))]: 1}


def _graded(truth_P: NDArray[np.float64], ids: list[str]) -> dict[str, int]:
    grades_P = np.searchsorted(GRADES, truth_P)
    return {ids[number]: int(grades_P[number]) for number in np.flatnonzero(grades_P)}
