"""The simulated judge's verdict on one request: parse it, learn from its demonstrations, score the answers, reply.

Its only inputs are the text of the request and its own settings.
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
SchemaSupport = Literal["take", "refuse"]  # a request's response_format
REASONS = '{"reasons":'  # text of prompts/rank.jinja that requests reasons


@dataclass(frozen=True)
class Behaviour:
    """The judge's biases, in nats of Plackett-Luce strength.

    ``position_bias`` is the bonus of the first position over the last, linear in between. ``noise`` is the standard
    deviation of a random term per answer, seeded by the hash of the request.
    """

    position_bias: float = 0.0
    noise: float = DEFAULT_NOISE


@dataclass(frozen=True)
class Verdict:
    """The reply text, its ranking (empty if there was nothing to rank) and the number of demonstrations used."""

    text: str
    ranking: tuple[str, ...] = ()
    demonstrations: int = 0


def judge(messages: Sequence[str], behaviour: Behaviour) -> Verdict:
    """Rank the answers to the last question of the last message; equal messages give equal verdicts."""
    last = read_blocks(messages[-1]) if messages else []
    blocks = [block for message in messages[:-1] for block in read_blocks(message)] + last
    if not last or last[-1].ranking is not None or not last[-1].answers:
        return Verdict(NOTHING_TO_RANK)
    shown = tuple((block.question, tuple(block.ranked_answers)) for block in blocks if block.ranked_answers)
    ranking = _ranked(last[-1], _learned(shown), behaviour, _seed(messages))
    reasons: dict[str, object] = {}
    if any(REASONS in message for message in messages[:-1]):
        reasons["reasons"] = {label: f"Number {place} of {len(ranking)}." for place, label in enumerate(ranking, 1)}
    return Verdict(json.dumps({**reasons, "ranking": list(ranking)}), ranking, len(shown))


@lru_cache(maxsize=64)
def _learned(demonstrations: tuple[tuple[str, tuple[str, ...]], ...]) -> Vector:
    """Cached, since most requests of a round show the same demonstrations."""
    return learning.learn(demonstrations)


def _ranked(block: Block, weights: Vector, behaviour: Behaviour, seed: int) -> tuple[str, ...]:
    labels = list(block.answers)
    scores = learning.scores(weights, block.question, list(block.answers.values()))
    scores = scores + behaviour.position_bias * np.linspace(0.5, -0.5, len(labels))
    scores = scores + np.random.default_rng(seed).normal(0, behaviour.noise, len(labels))
    return tuple(labels[place] for place in np.argsort(-scores, kind="stable"))


def _seed(messages: Sequence[str]) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(messages).encode(errors="surrogatepass")).digest()[:8])


def count_tokens(text: str) -> int:
    """Return the number of tokens by the judge's own rule: a run of word characters, or any other visible character."""
    return len(re.findall(r"\w+|[^\w\s]", text))
