"""Generated dialogues of the demo, with simulated raters.

Two people talk about a thing of some topic and about a time. A coherent answer is about a thing of that topic and that
time; an adversarial one is about the topic but gets the time wrong; a random one is about another topic.
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
LEVEL_SCORES = (4.6, 2.9, 1.3)  # mean score of the simulated raters for each level
RATER_NOISE = 0.5
SCORED_CONTEXTS, TEST_CONTEXTS = 12, 40
TRIES = 2_000  # to draw an unused context; there are 120 per topic, so more tries would not help

Context = tuple[str, ...]
Dialogue = tuple[Context, tuple[tuple[str, ...], ...]]
Row = tuple[Context, str, float]


@dataclass(frozen=True)
class DemoDialogues:
    """Graded contexts, scored responses to learn from, and test sets by name."""

    graded: list[Dialogue]
    scored: list[Row]
    tests: dict[str, list[Row]]


def generate(contexts: int, responses: int, tests: Sequence[str], seed: int) -> DemoDialogues:
    """Generate dialogues without repeated contexts; reproducible by seed.

    Training scores cover two topics only. The first test set covers these, the others cover the remaining topics.

    Args:
        contexts: number of graded contexts.
        responses: per level.
        tests: names of the test sets.
        seed: of all draws.

    Raises:
        DistillError: there are not enough different contexts.
    """
    draw = np.random.default_rng([seed, 11])
    used: set[Context] = set()
    names = [str(name) for name in draw.permutation(list(TOPICS))]
    scored_topics, others = names[:2], names[2:]
    graded = [unused_dialogue(names, responses, draw, used) for _ in range(contexts)]
    scored = rated(scored_topics, SCORED_CONTEXTS, draw, used)
    sets = {
        name: rated(others if number else scored_topics, TEST_CONTEXTS, draw, used) for number, name in enumerate(tests)
    }
    return DemoDialogues(graded, scored, sets)


def unused_dialogue(topics: Sequence[str], responses: int, draw: np.random.Generator, used: set[Context]) -> Dialogue:
    """Return a context that is not in ``used``, which it joins, with its responses; raise as `generate`."""
    for _ in range(TRIES):
        context, levels = dialogue(str(draw.choice(topics)), responses, draw)
        if context not in used:
            used.add(context)
            return context, levels
    raise DistillError(
        f"The demo has fewer than {len(used) + 1} contexts. Lower data.contexts, or name fewer data.tests."
    )


def dialogue(topic: str, responses: int, draw: np.random.Generator) -> Dialogue:
    """Return a context about a topic, with ``responses`` of each level, best level first."""
    time = str(draw.choice(TIMES))
    thing, other = pair_of(topic, draw)
    words = {"thing": thing, "other": other, "time": time}
    context = (one_of(OPENINGS, draw).format(**words), one_of(MIDDLES, draw).format(**words))
    wrong_times = [other_time for other_time in TIMES if other_time != time]
    other_topics = [other_topic for other_topic in TOPICS if other_topic != topic]
    levels = (
        tuple(answer(topic, time, draw) for _ in range(responses)),
        tuple(answer(topic, str(draw.choice(wrong_times)), draw) for _ in range(responses)),
        tuple(answer(str(draw.choice(other_topics)), str(draw.choice(TIMES)), draw) for _ in range(responses)),
    )
    return context, levels


def answer(topic: str, time: str, draw: np.random.Generator) -> str:
    """Return a response about a topic and a time."""
    thing, other = pair_of(topic, draw)
    return one_of(ANSWERS, draw).format(thing=thing, other=other, time=time)


def rated(topics: Sequence[str], contexts: int, draw: np.random.Generator, used: set[Context]) -> list[Row]:
    """Return one response of each level to each of ``contexts`` contexts, with scores of simulated raters."""
    rows = []
    for _ in range(contexts):
        context, levels = unused_dialogue(topics, 1, draw, used)
        for (response,), mean in zip(levels, LEVEL_SCORES, strict=True):
            rows.append((context, response, float(np.clip(draw.normal(mean, RATER_NOISE), 1, 5))))
    return rows


def pair_of(topic: str, draw: np.random.Generator) -> tuple[str, str]:
    """Return two different things of a topic."""
    first, second = draw.choice(TOPICS[topic], size=2, replace=False)
    return str(first), str(second)


def one_of(texts: Sequence[str], draw: np.random.Generator) -> str:
    """Return one of the texts."""
    return str(draw.choice(texts))


def vocabulary() -> list[str]:
    """Return every word that dialogues are made of."""
    texts = [*OPENINGS, *MIDDLES, *ANSWERS, *TIMES, *(thing for things in TOPICS.values() for thing in things)]
    return sorted({word for text in texts for word in text.split() if "{" not in word})
