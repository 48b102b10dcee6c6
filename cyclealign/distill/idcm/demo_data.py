"""Demo data of long documents: one answering passage, at a uniformly random position, among distractors.

A fact is an attribute of an entity. A query names both; so does the answering passage, half of the time with a synonym
of the attribute. Distractors repeat the entity, or name it with other attributes, or name the attribute of other
entities, so counting the query's terms does not find the answer.
"""

import random
from collections.abc import Sequence

from cyclealign.distill.idcm.config import DemoSettings
from cyclealign.distill.idcm.data import Collection, JudgedQuery, Triple

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
UNRELATED_SHARE = 0.2  # share of passage triples whose negative is unrelated to the query


def demo_collection(settings: DemoSettings, seed: int) -> Collection:
    """Generate the collection; the same settings and seed give the same one."""
    draw = random.Random(seed)
    entities = entity_names(settings.entities, draw)
    passages = tuple(_triple(entities, draw) for _ in range(settings.passages))
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    judged = []
    for number in range(settings.train_queries + settings.test_queries):
        entity, attribute = draw.choice(entities), draw.randrange(len(ATTRIBUTES))
        queries[f"q{number}"] = _query(entity, attribute, draw)
        ids = [f"d{number}-{position}" for position in range(settings.candidates)]
        answering = draw.choice(ids)
        for document_id in ids:
            answers = document_id == answering
            documents[document_id] = " ".join(_document(entity, attribute, answers, entities, settings, draw))
        judged.append(JudgedQuery(f"q{number}", tuple(ids), {answering: 1}))
    train, test = judged[: settings.train_queries], judged[settings.train_queries :]
    return Collection(queries, documents, passages, tuple(train), tuple(test))


def entity_names(count: int, draw: random.Random) -> list[str]:
    """Draw different invented names of three syllables."""
    return draw.sample([a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES], count)


def relevant_passage(entity: str, attribute: int, draw: random.Random) -> str:
    """Return filler around the queried fact, stated twice."""
    return _with_filler([_fact(entity, attribute, draw) for _ in range(2)], draw)


def distractor(entity: str, attribute: int, entities: Sequence[str], draw: random.Random) -> str:
    """Return filler around words of the query that do not answer it."""
    kind = draw.choice(("repeated entity", "another attribute", "another entity"))
    if kind == "repeated entity":
        return _with_filler([f"{entity} {draw.choice(FILLER)}" for _ in range(draw.randint(5, 8))], draw)
    if kind == "another attribute":
        return _with_filler([_fact(entity, _other_attribute(attribute, draw), draw)], draw)
    return _with_filler([_fact(_other_entity(entity, entities, draw), attribute, draw)], draw)


def unrelated(entity: str, attribute: int, entities: Sequence[str], draw: random.Random) -> str:
    """Return filler around a fact about another entity and another attribute."""
    return _with_filler([_fact(_other_entity(entity, entities, draw), _other_attribute(attribute, draw), draw)], draw)


def _other_entity(entity: str, entities: Sequence[str], draw: random.Random) -> str:
    return draw.choice([name for name in entities if name != entity])


def _other_attribute(attribute: int, draw: random.Random) -> int:
    return draw.choice([other for other in range(len(ATTRIBUTES)) if other != attribute])


def _triple(entities: Sequence[str], draw: random.Random) -> Triple:
    """Return excerpts as windows would cut them: a passage with parts of neighbours that do not answer."""
    entity, attribute = draw.choice(entities), draw.randrange(len(ATTRIBUTES))
    kinds = (unrelated, distractor) if draw.random() < UNRELATED_SHARE else (distractor, unrelated)
    passage, neighbour = (kind(entity, attribute, entities, draw) for kind in kinds)
    excerpts = [
        _excerpt(relevant_passage(entity, attribute, draw), unrelated(entity, attribute, entities, draw), draw),
        _excerpt(passage, neighbour, draw),
    ]
    return Triple(_query(entity, attribute, draw), *excerpts)


def _excerpt(passage: str, neighbour: str, draw: random.Random) -> str:
    """Return the passage with words of its neighbour before and after it."""
    words = neighbour.split()
    before = draw.randint(0, EXCERPT_WORDS - PASSAGE_WORDS)
    after = EXCERPT_WORDS - PASSAGE_WORDS - before
    return " ".join([*words[len(words) - before :], passage, *words[:after]])


def _document(
    entity: str, attribute: int, answers: bool, entities: Sequence[str], settings: DemoSettings, draw: random.Random
) -> list[str]:
    """Alternate distractors and unrelated passages, so no window joins two distractors to a false answer."""
    count = draw.randint(settings.min_passages, settings.max_passages)
    passages = [(unrelated, distractor)[position % 2](entity, attribute, entities, draw) for position in range(count)]
    if answers:
        passages[draw.randrange(count)] = relevant_passage(entity, attribute, draw)
    return passages


def _query(entity: str, attribute: int, draw: random.Random) -> str:
    return draw.choice(QUERIES).format(entity=entity, attribute=draw.choice(ATTRIBUTES[attribute]))


def _fact(entity: str, attribute: int, draw: random.Random) -> str:
    word = draw.choice(ATTRIBUTES[attribute])
    return draw.choice(FACTS).format(entity=entity, attribute=word, value=draw.choice(FILLER))


def _with_filler(parts: Sequence[str], draw: random.Random) -> str:
    """Insert the parts at random positions of a passage of filler."""
    words = [draw.choice(FILLER) for _ in range(PASSAGE_WORDS - sum(len(part.split()) for part in parts))]
    for part in parts:
        words.insert(draw.randint(0, len(words)), part)
    return " ".join(words)
