"""The task of the demo: to give good answers in the demo world, where a gold rubric says how good an answer is.

The teacher has learnt the best of several answers to each prompt; the student has learnt answers of all qualities.
"""

import random
from typing import Literal

from cyclealign.demo.world import dataset, grammar
from cyclealign.demo.world.topics import topic_of_prompt
from cyclealign.records import seed_from

Pairs = list[tuple[str, str]]
Split = Literal["training", "evaluation"]
HELD_OUT = 10  # one prompt in ten


def prompts(split: Split) -> list[str]:
    """Return the prompts of a split: one in ten is for the evaluation. The splits share topics, but no prompt."""
    texts = dataset.all_prompts()  # in an order that mixes the topics
    return [text for number, text in enumerate(texts) if (number % HELD_OUT == 0) == (split == "evaluation")]


def quality(prompt: str, answer: str) -> float:
    """Return the quality of an answer by the gold rubric, from 0 to 1."""
    return dataset.quality(prompt, answer)


def teacher_pairs(count: int, best_of: int, seed: int) -> Pairs:
    """Return ``count`` prompts, each with the best of ``best_of`` answers."""
    draw, texts = random.Random(seed_from(seed, "opd teacher")), dataset.all_prompts()
    pairs = []
    for number in range(count):
        prompt = texts[number % len(texts)]
        answers = [grammar.answer(topic_of_prompt()[prompt], draw) for _ in range(best_of)]
        pairs.append((prompt, max(answers, key=lambda answer, prompt=prompt: quality(prompt, answer))))  # type: ignore[misc]
    return pairs


def student_pairs(count: int, seed: int) -> Pairs:
    """Return ``count`` prompts, each with an answer of any quality."""
    return dataset.pretraining_pairs(count, seed)
