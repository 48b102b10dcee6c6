"""A small world of dialogues, made on the spot for the demo. Its raters are simulated.

Two people talk about a thing of some topic and about a time. A coherent answer is about a thing of that topic and that
time; an adversarial one is about the topic and gets the time wrong; a random one is about something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOPICS = {
    "garden": ("the roses", "the hedge"),
    "kitchen": ("the soup", "the bread"),
    "travel": ("the train", "the hotel"),
    "music": ("the piano", "the choir"),
    "office": ("the report", "the printer"),
}
TIMES = ("tonight", "tomorrow")
OPENINGS = ("did you see to {thing} {time} ?", "what about {thing} {time} ?", "i will look after {thing} {time} .")
MIDDLES = ("please think of {other} too .", "and {other} ?", "i worry about {other} .")
ANSWERS = (
    "yes , {other} too {time} .",
    "{other} can wait , {thing} is for {time} .",
    "sure , i planned {thing} {time} .",
)
LEVEL_SCORES = (4.6, 2.9, 1.3)  # what the simulated raters give a level on average
RATER_NOISE = 0.5
SCORED_EACH, TEST_CONTEXTS = 12, 40

Context = tuple[str, ...]
Row = tuple[Context, str, float]


@dataclass(frozen=True)
class World:
    """Graded contexts, scored responses to learn from, and test sets by name."""

    graded: list[tuple[Context, tuple[tuple[str, ...], ...]]]
    scored: list[Row]
    tests: dict[str, list[Row]]


def made(contexts: int, responses: int, tests: Sequence[str], seed: int) -> World:
    """The world of a seed. Scores to learn from are of two topics only; the first test set is of these, others not."""
    draw = np.random.default_rng([seed, 11])
    names = [str(name) for name in draw.permutation(list(TOPICS))]
    scored_topics, others = names[:2], names[2:]
    graded = [dialogue(str(draw.choice(names)), responses, draw) for _ in range(contexts)]
    scored = rated(scored_topics, SCORED_EACH, draw)
    sets = {name: rated(others if number else scored_topics, TEST_CONTEXTS, draw) for number, name in enumerate(tests)}
    return World(graded, scored, sets)


def dialogue(topic: str, responses: int, draw: np.random.Generator) -> tuple[Context, tuple[tuple[str, ...], ...]]:
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


def rated(topics: Sequence[str], contexts: int, draw: np.random.Generator) -> list[Row]:
    """One response of each level to each of ``contexts`` contexts, with the scores of simulated raters."""
    rows = []
    for _ in range(contexts):
        context, levels = dialogue(str(draw.choice(topics)), 1, draw)
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
