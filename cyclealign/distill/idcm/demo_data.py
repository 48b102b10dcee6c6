"""A made-up world of long documents: one passage that answers, at a uniform position, among distractors.

A fact is an attribute of an entity. A query names both; the passage that answers names both too, half of the time
with another word for the attribute. Distractors name the entity over and over, or with other attributes, or name the
attribute of other entities, so that counting the query's terms does not find the passage.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cyclealign.distill.idcm.data import Collection, Judged, Triple

ATTRIBUTES = (
    ("river", "stream"),
    ("founder", "creator"),
    ("price", "cost"),
    ("climate", "weather"),
    ("ruler", "sovereign"),
    ("harbour", "port"),
    ("language", "tongue"),
    ("illness", "disease"),
)
FILLER = (
    "old people often say that many years went by before anyone came back with news from the hills and so they kept "
    "their records in a small house near some trees where children played every morning while others worked until late "
    "under grey clouds about which nobody wrote much because paper was rare but stories were told again during long "
    "winters when fires burned low then spring arrived once more bringing light water seeds birds traders carts ropes "
    "tools bread salt wool stone bricks lamps wheels letters maps coins"
).split()
SYLLABLES = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "pe", "ra", "so", "ta", "ve", "zu")
QUERIES = ("what is the {attribute} of {entity}", "tell me the {attribute} of {entity}", "{entity} {attribute}")
FACTS = ("the {attribute} of {entity} is {value}", "{entity} has the {attribute} {value}")
PASSAGE_WORDS = 42
EXCERPT_WORDS = 62
PLAIN_SHARE = 0.2  # of the passage triples


@dataclass(frozen=True)
class Size:
    """How much of the world is made."""

    passages: int = 4_000
    train_queries: int = 60
    test_queries: int = 60
    candidates: int = 8
    min_passages: int = 36
    max_passages: int = 46
    entities: int = 40
    seed: int = 0


def make(size: Size) -> Collection:
    """The collection; the same size makes the same one."""
    draw = random.Random(size.seed)
    entities = names(size.entities, draw)
    passages = tuple(_triple(entities, draw) for _ in range(size.passages))
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    judged = []
    for number in range(size.train_queries + size.test_queries):
        entity, attribute = draw.choice(entities), draw.randrange(len(ATTRIBUTES))
        queries[f"q{number}"] = _query(entity, attribute, draw)
        ids = [f"d{number}-{place}" for place in range(size.candidates)]
        right = draw.choice(ids)
        for each in ids:
            documents[each] = " ".join(_document(entity, attribute, each == right, entities, size, draw))
        judged.append(Judged(f"q{number}", tuple(ids), {right: 1}))
    train, test = judged[: size.train_queries], judged[size.train_queries :]
    return Collection(queries, documents, passages, tuple(train), tuple(test))


def names(count: int, draw: random.Random) -> list[str]:
    """Made-up names of three syllables, all different."""
    every = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
    return draw.sample(every, count)


def relevant_passage(entity: str, attribute: int, draw: random.Random) -> str:
    """Filler around the fact that is asked for, said twice."""
    return _around([_fact(entity, attribute, draw) for _ in range(2)], draw)


def distractor(entity: str, attribute: int, entities: Sequence[str], draw: random.Random) -> str:
    """Filler around what shares words with the query and does not answer it."""
    kind = draw.choice(("entity over and over", "another attribute", "another entity"))
    if kind == "entity over and over":
        return _around([f"{entity} {draw.choice(FILLER)}" for _ in range(draw.randint(5, 8))], draw)
    if kind == "another attribute":
        return _around([_fact(entity, _another(attribute, draw), draw)], draw)
    return _around([_fact(_other(entity, entities, draw), attribute, draw)], draw)


def plain(entity: str, attribute: int, entities: Sequence[str], draw: random.Random) -> str:
    """Filler around a fact that has nothing to do with the query."""
    return _around([_fact(_other(entity, entities, draw), _another(attribute, draw), draw)], draw)


def _other(entity: str, entities: Sequence[str], draw: random.Random) -> str:
    return draw.choice([each for each in entities if each != entity])


def _another(attribute: int, draw: random.Random) -> int:
    return draw.choice([each for each in range(len(ATTRIBUTES)) if each != attribute])


def _triple(entities: Sequence[str], draw: random.Random) -> Triple:
    """Excerpts as windows cut them: a passage with parts of its neighbours, which do not answer."""
    entity, attribute = draw.choice(entities), draw.randrange(len(ATTRIBUTES))
    kinds = (plain, distractor) if draw.random() < PLAIN_SHARE else (distractor, plain)
    middle, beside = (each(entity, attribute, entities, draw) for each in kinds)
    excerpts = [
        _excerpt(relevant_passage(entity, attribute, draw), plain(entity, attribute, entities, draw), draw),
        _excerpt(middle, beside, draw),
    ]
    return Triple(_query(entity, attribute, draw), *excerpts)


def _excerpt(passage: str, neighbour: str, draw: random.Random) -> str:
    """The passage with words of its neighbour before and after it."""
    more = neighbour.split()
    before = draw.randint(0, EXCERPT_WORDS - PASSAGE_WORDS)
    after = EXCERPT_WORDS - PASSAGE_WORDS - before
    return " ".join([*more[len(more) - before :], passage, *more[:after]])


def _document(
    entity: str, attribute: int, answers: bool, entities: Sequence[str], size: Size, draw: random.Random
) -> list[str]:
    """Distractors and plain passages by turns, so that no window joins two distractors to a false answer."""
    count = draw.randint(size.min_passages, size.max_passages)
    passages = [(plain, distractor)[place % 2](entity, attribute, entities, draw) for place in range(count)]
    if answers:
        passages[draw.randrange(count)] = relevant_passage(entity, attribute, draw)
    return passages


def _query(entity: str, attribute: int, draw: random.Random) -> str:
    return draw.choice(QUERIES).format(entity=entity, attribute=draw.choice(ATTRIBUTES[attribute]))


def _fact(entity: str, attribute: int, draw: random.Random) -> str:
    word = draw.choice(ATTRIBUTES[attribute])
    return draw.choice(FACTS).format(entity=entity, attribute=word, value=draw.choice(FILLER))


def _around(parts: Sequence[str], draw: random.Random) -> str:
    """The parts at random places of a passage of filler."""
    words = [draw.choice(FILLER) for _ in range(PASSAGE_WORDS - sum(len(part.split()) for part in parts))]
    for part in parts:
        words.insert(draw.randint(0, len(words)), part)
    return " ".join(words)
