"""The demo world: prompts, labelled lists and pretraining text, all written for this project.

The simulated judge never imports this module; the policy only sees text from it.
"""

import random
from functools import cache
from itertools import pairwise
from typing import Literal

from cyclealign.demo.world import gold, grammar
from cyclealign.demo.world.topics import Topic, topic_of_prompt, topics
from cyclealign.records import LabelledList, Message, Prompt, seed_from

WorldSplit = Literal["alignment", "labelled"]

LABELLED_TOPIC_MODULUS = 5  # one topic in five is reserved for labelled lists
MIN_QUALITY_GAP = 0.04  # between neighbours of a labelled list
quality = gold.quality


@cache
def all_prompts() -> list[str]:
    """Return all prompts, in a fixed order that mixes the topics."""
    return sorted(topic_of_prompt(), key=lambda text: seed_from("order of prompts", text))


@cache
def prompts(split: WorldSplit) -> list[str]:
    """Return the prompts of a split: those to align on or those of the labelled lists. They share no topic."""
    return [text for text in all_prompts() if _split_of(topic_of_prompt()[text]) == split]


def _split_of(topic: Topic) -> WorldSplit:
    return "alignment" if seed_from("split", topic.kind, topic.asked) % LABELLED_TOPIC_MODULUS else "labelled"


def labelled_lists(count: int, answers: int, seed: int) -> list[LabelledList]:
    """Return ``count`` lists of ``answers`` answers, in gold order, best first, with distinct qualities.

    Raises:
        ValueError: there are fewer than ``count`` prompts, or ``answers`` is above 8.
    """
    if answers > 8:
        raise ValueError("The gold rubric distinguishes at most 8 answers.")
    chosen = random.Random(seed_from(seed, "labelled")).sample(prompts("labelled"), count)
    return [_labelled(text, answers, random.Random(seed_from(seed, text))) for text in chosen]


def _labelled(text: str, count: int, draw: random.Random) -> LabelledList:
    topic = topic_of_prompt()[text]
    prompt = Prompt.of((Message(role="user", content=text),))
    while True:
        drawn = {grammar.answer(topic, draw) for _ in range(count)}
        ranked = sorted(drawn, key=lambda answer: -gold.quality(text, answer))
        qualities = [gold.quality(text, answer) for answer in ranked]
        if len(ranked) == count and all(better - worse >= MIN_QUALITY_GAP for better, worse in pairwise(qualities)):
            return LabelledList(prompt, tuple(ranked), "demo world, gold rubric")


def pretraining_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Return ``count`` (prompt, answer) pairs over all prompts and qualities, so that the base model's answers vary."""
    draw = random.Random(seed_from(seed, "pretraining"))
    texts = all_prompts()
    cycled = (texts[number % len(texts)] for number in range(count))
    pairs = [(text, grammar.answer(topic_of_prompt()[text], draw)) for text in cycled]
    draw.shuffle(pairs)
    return pairs


def kinds() -> list[str]:
    """Return the kinds of requests, harmless ones first."""
    return list(dict.fromkeys(topic.kind for topic in topics()))
