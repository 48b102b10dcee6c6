"""The demo world: prompts, labelled lists and training text, all written for this project.

The judge never imports this module, and the policy only ever sees the text that it hands out.
"""

import random
from functools import cache
from itertools import pairwise
from typing import Literal

from cyclealign.demo.world import gold, grammar
from cyclealign.demo.world.topics import Topic, topic_of_prompt, topics
from cyclealign.records import LabelledList, Message, Prompt, seed_from

WorldSplit = Literal["alignment", "labelled"]

LABELLED_SHARE = 5  # one topic in five is kept for labelled lists
CLEARLY_APART = 0.04  # smallest gold gap between neighbours of a labelled list
quality = gold.quality


@cache
def all_prompts() -> list[str]:
    """Every prompt of the world, in a fixed order that mixes the topics."""
    return sorted(topic_of_prompt(), key=lambda text: seed_from("order of prompts", text))


@cache
def prompts(split: WorldSplit) -> list[str]:
    """The prompts to align on, or those of the labelled lists; the two share no topic."""
    return [text for text in all_prompts() if _split_of(topic_of_prompt()[text]) == split]


def _split_of(topic: Topic) -> WorldSplit:
    return "alignment" if seed_from("split", topic.kind, topic.asked) % LABELLED_SHARE else "labelled"


def labelled_lists(count: int, answers: int, seed: int) -> list[LabelledList]:
    """``count`` lists of ``answers`` answers each, in gold order, best first, no two of them nearly equal in quality.

    Raises:
        ValueError: there are fewer than ``count`` prompts to draw from, or more answers asked than can be told apart.
    """
    if answers > 8:
        raise ValueError("At most 8 answers can be told apart by the gold rubric.")
    chosen = random.Random(seed_from(seed, "labelled")).sample(prompts("labelled"), count)
    return [_labelled(text, answers, random.Random(seed_from(seed, text))) for text in chosen]


def _labelled(text: str, count: int, draw: random.Random) -> LabelledList:
    topic = topic_of_prompt()[text]
    prompt = Prompt.of((Message(role="user", content=text),))
    while True:
        drawn = {grammar.answer(topic, draw) for _ in range(count)}
        ranked = sorted(drawn, key=lambda answer: -gold.quality(text, answer))
        worth = [gold.quality(text, answer) for answer in ranked]
        if len(ranked) == count and all(better - worse >= CLEARLY_APART for better, worse in pairwise(worth)):
            return LabelledList(prompt, tuple(ranked), "demo world, gold rubric")


def pretraining_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """``count`` (prompt, answer) pairs over all prompts and qualities: what makes the base model a mixed bag."""
    draw = random.Random(seed_from(seed, "pretraining"))
    asked = all_prompts()
    drawn = (asked[number % len(asked)] for number in range(count))
    pairs = [(text, grammar.answer(topic_of_prompt()[text], draw)) for text in drawn]
    draw.shuffle(pairs)
    return pairs


def kinds() -> list[str]:
    """The kinds of requests, helpful ones first."""
    return list(dict.fromkeys(topic.kind for topic in topics()))
