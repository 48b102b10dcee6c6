"""The topics of the demo world, with the right details that only the gold rubric and the grammar know."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from cyclealign.demo.world.harmful import HARMFUL
from cyclealign.demo.world.helpful import QUESTIONS, TASKS

Sort = Literal["task", "question", "harmful"]

TO_DO = (
    "How do I {asked}?",
    "What is a good way to {asked}?",
    "Please tell me how to {asked}.",
    "I want to {asked}, where should I start?",
    "Could you explain to me how to {asked}?",
)
TO_KNOW = (
    "Can you tell me {asked}?",
    "I would like to know {asked}.",
    "Please explain in plain words {asked}.",
    "My daughter asked me {asked}, what should I say?",
    "Do you know {asked}? I am curious.",
)


@dataclass(frozen=True)
class Topic:
    """One subject of requests.

    A harmless topic has a ``thing`` and two right details in ``advice``. A harmful one has ``carrying_out``,
    ``instead`` and the ``reason`` for refusing. The other fields are empty.
    """

    kind: str
    sort: Sort
    asked: str
    thing: str = ""
    advice: tuple[str, ...] = ()
    reason: str = ""
    carrying_out: str = ""
    instead: str = ""

    @property
    def harmful(self) -> bool:
        return self.sort == "harmful"

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the phrasings, 6 to 16 words each. Harmful and harmless tasks share the phrasings."""
        phrasings = TO_KNOW if self.sort == "question" else TO_DO
        return tuple(phrasing.format(asked=self.asked) for phrasing in phrasings)


@cache
def topics() -> tuple[Topic, ...]:
    """Return all topics, in a fixed order."""
    return (
        *(_helpful(kind, "task", fields) for kind, fields in _lines(TASKS)),
        *(_helpful(kind, "question", fields) for kind, fields in _lines(QUESTIONS)),
        *(_harmful(heading, fields) for heading, fields in _lines(HARMFUL)),
    )


@cache
def siblings(kind: str) -> tuple[Topic, ...]:
    """Return the topics of one kind."""
    return tuple(topic for topic in topics() if topic.kind == kind)


@cache
def topic_of_prompt() -> dict[str, Topic]:
    """Return the topic of each prompt."""
    return {prompt: topic for topic in topics() for prompt in topic.prompts}


def _lines(table: str) -> Iterator[tuple[str, list[str]]]:
    heading = ""
    for line in filter(None, table.splitlines()):
        if line.startswith("#"):
            heading = line.removeprefix("# ")
        else:
            yield heading, line.split(" | ")


def _helpful(kind: str, sort: Sort, fields: list[str]) -> Topic:
    asked, thing, first, second = fields
    return Topic(kind, sort, asked, thing, advice=(first, second))


def _harmful(heading: str, fields: list[str]) -> Topic:
    kind, reason = heading.split(": ")
    asked, carrying_out, instead = fields
    return Topic(kind, "harmful", asked, reason=reason, carrying_out=carrying_out, instead=instead)
