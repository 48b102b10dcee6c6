"""The simulated judge's verdict on one request: read it, learn from its demonstrations, score, reply in words.

All that it knows is the text of the request and its own settings: position bias, noise and name.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from cyclealign.demo.judge import learning
from cyclealign.demo.judge.features import Vector
from cyclealign.demo.judge.prompt_parser import Block, read_blocks

NOTHING_TO_RANK = "I found no question with answers to rank in this message."
DEFAULT_NOISE = 0.15
SchemaSupport = Literal["take", "refuse"]  # of a response_format
REASONS = '{"reasons":'  # how the request for reasons looks in prompts/rank.jinja


@dataclass(frozen=True)
class Behaviour:
    """The judge's settings, in nats of Plackett-Luce strength.

    ``position_bias`` is how much better the first place looks than the last, the others evenly between them. ``noise``
    is the standard deviation of a whim per answer, drawn from the hash of the request.
    """

    position_bias: float = 0.0
    noise: float = DEFAULT_NOISE


@dataclass(frozen=True)
class Verdict:
    """The reply and what it rests on; ``ranking`` is empty where there was nothing to rank."""

    text: str
    ranking: tuple[str, ...] = ()
    demonstrations: int = 0


def judge(messages: Sequence[str], manner: Behaviour) -> Verdict:
    """Rank the answers to the last question of the last message; the same texts get the same verdict."""
    last = read_blocks(messages[-1]) if messages else []
    blocks = [block for message in messages[:-1] for block in read_blocks(message)] + last
    if not last or last[-1].ranking is not None or not last[-1].answers:
        return Verdict(NOTHING_TO_RANK)
    shown = tuple((block.question, tuple(block.ranked_answers)) for block in blocks if block.ranked_answers)
    ranking = _ranked(last[-1], _learned(shown), manner, _seed(messages))
    said: dict[str, object] = {}
    if any(REASONS in message for message in messages[:-1]):
        said["reasons"] = {label: f"Number {place} of {len(ranking)}." for place, label in enumerate(ranking, 1)}
    return Verdict(json.dumps({**said, "ranking": list(ranking)}), ranking, len(shown))


@lru_cache(maxsize=64)
def _learned(demonstrations: tuple[tuple[str, tuple[str, ...]], ...]) -> Vector:
    """Most requests of a round show the same demonstrations."""
    return learning.learn(demonstrations)


def _ranked(block: Block, weights: Vector, manner: Behaviour, seed: int) -> tuple[str, ...]:
    labels = list(block.answers)
    scores = learning.scores(weights, block.question, list(block.answers.values()))
    scores = scores + manner.position_bias * np.linspace(0.5, -0.5, len(labels))
    scores = scores + np.random.default_rng(seed).normal(0, manner.noise, len(labels))
    return tuple(labels[place] for place in np.argsort(-scores, kind="stable"))


def _seed(messages: Sequence[str]) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(messages).encode(errors="surrogatepass")).digest()[:8])


def count_tokens(text: str) -> int:
    """The judge's rule for tokens: a run of letters or digits is one, every other sign that is no blank is one."""
    return len(re.findall(r"\w+|[^\w\s]", text))
