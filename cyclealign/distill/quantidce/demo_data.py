"""A small world of dialogues, made on the spot for the demo. Its raters are simulated.

Two people talk about a thing of some topic and about a time. A coherent answer is about a thing of that topic and that
time; an adversarial one is about the topic and gets the time wrong; a random one is about something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cyclealign.errors import DistillError

TOPICS = {
    "garden": ("the roses", "the hedge"),
    "kitchen": ("the soup", "the bread"),
    "travel": ("the train", "the hotel"),
    "music": ("the piano", "the choir"),
    "office": ("the report", "the printer"),
}
TIMES = ("tonight", "tomorrow")
OPENINGS = (
    "did you see to {thing} {time} ?",
    "what about {thing} {time} ?",
    "i will look after {thing} {time} .",
    "{time} i see to {thing} .",
    "did you think of {thing} ? it is for {time} .",
    "and what will you do {time} about {thing} ?",
)
MIDDLES = (
    "please think of {other} too .",
    "and {other} ?",
    "i worry about {other} .",
    "what about {other} ?",
    "{other} can wait .",
)
ANSWERS = (
    "yes , {other} too {time} .",
    "{other} can wait , {thing} is for {time} .",
    "sure , i planned {thing} {time} .",
)
LEVEL_SCORES = (4.6, 2.9, 1.3)  # what the simulated raters give a level on average
RATER_NOISE = 0.5
SCORED_EACH, TEST_CONTEXTS = 12, 40
TRIES = 2_000  # to find a context that was not used; among 120 a topic, more would find none either

Context = tuple[str, ...]
Dialogue = tuple[Context, tuple[tuple[str, ...], ...]]
Row = tuple[Context, str, float]


@dataclass(frozen=True)
class World:
    """Graded contexts, scored responses to learn from, and test sets by name."""

    graded: list[Dialogue]
    scored: list[Row]
    tests: dict[str, list[Row]]


def made(contexts: int, responses: int, tests: Sequence[str], seed: int) -> World:
    """The world of a seed. Scores to learn from are of two topics only; the first test set is of these, others not.

    No context comes twice.

    Raises:
        DistillError: it has not so many contexts.
    """
    draw = np.random.default_rng([seed, 11])
    used: set[Context] = set()
    names = [str(name) for name in draw.permutation(list(TOPICS))]
    scored_topics, others = names[:2], names[2:]
    graded = [unused(names, responses, draw, used) for _ in range(contexts)]
    scored = rated(scored_topics, SCORED_EACH, draw, used)
    sets = {
        name: rated(others if number else scored_topics, TEST_CONTEXTS, draw, used) for number, name in enumerate(tests)
    }
    return World(graded, scored, sets)


def unused(topics: Sequence[str], responses: int, draw: np.random.Generator, used: set[Context]) -> Dialogue:
    """A context about one of the topics that is not in ``used`` yet, with its responses; `made` has the errors."""
    for _ in range(TRIES):
        found = dialogue(str(draw.choice(topics)), responses, draw)
        if found[0] not in used:
            used.add(found[0])
            return found
    raise DistillError(
        f"The made world has no {len(used) + 1} contexts. Lower data.contexts, or name fewer data.tests."
    )


def dialogue(topic: str, responses: int, draw: np.random.Generator) -> Dialogue:
    """A context about a topic, with ``responses`` of each level, best level first."""
    time = str(draw.choice(TIMES))
    thing, other = pair_of(topic, draw)
    words = {"thing": thing, "other": other, "time": time}
    context = (one_of(OPENINGS, draw).format(**words), one_of(MIDDLES, draw).format(**words))
    wrong_times = [each for each in TIMES if each != time]
    other_topics = [each for each in TOPICS if each != topic]
    levels = (
        tuple(answer(topic, time, draw) for _ in range(responses)),
        tuple(answer(topic, str(draw.choice(wrong_times)), draw) for _ in range(responses)),
        tuple(answer(str(draw.choice(other_topics)), str(draw.choice(TIMES)), draw) for _ in range(responses)),
    )
    return context, levels


def answer(topic: str, time: str, draw: np.random.Generator) -> str:
    """A response about a topic and a time."""
    thing, other = pair_of(topic, draw)
    return one_of(ANSWERS, draw).format(thing=thing, other=other, time=time)


def rated(topics: Sequence[str], contexts: int, draw: np.random.Generator, used: set[Context]) -> list[Row]:
    """One response of each level to each of ``contexts`` contexts, with the scores of simulated raters."""
    rows = []
    for _ in range(contexts):
        context, levels = unused(topics, 1, draw, used)
        for (response,), mean in zip(levels, LEVEL_SCORES, strict=True):
            rows.append((context, response, float(np.clip(draw.normal(mean, RATER_NOISE), 1, 5))))
    return rows


def pair_of(topic: str, draw: np.random.Generator) -> tuple[str, str]:
    """Two different things of a topic."""
    first, second = draw.choice(TOPICS[topic], size=2, replace=False)
    return str(first), str(second)


def one_of(texts: Sequence[str], draw: np.random.Generator) -> str:
    """One of the texts."""
    return str(draw.choice(texts))


def vocabulary() -> list[str]:
    """Every word of the world."""
    texts = [*OPENINGS, *MIDDLES, *ANSWERS, *TIMES, *(thing for things in TOPICS.values() for thing in things)]
    return sorted({word for text in texts for word in text.split() if "{" not in word})
