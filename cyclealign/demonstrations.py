"""The judge's demonstrations: which are shown, which are promoted, which are retired. Pure functions."""

import re
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from typing import Literal

from cyclealign.records import Agreement, Demonstration

Choice = Literal["newest", "most_agreed", "most_similar"]


def choose(
    pool: Sequence[Demonstration], question: str, static: int, dynamic: int, by: Choice
) -> tuple[Demonstration, ...]:
    """The demonstrations shown with ``question``: static ones in file order, then dynamic ones.

    ``newest`` and ``most_agreed`` give every question of a round the same list, which a provider's prompt cache can
    serve; ``most_similar`` gives each question its own.
    """
    written = [each for each in pool if each.kind == "static"][:static]
    agreed = sorted((each for each in pool if each.kind == "dynamic"), key=lambda each: each.id)
    agreed.sort(key=lambda each: _merit(each, question, by), reverse=True)
    return (*written, *agreed[:dynamic])


def _merit(demonstration: Demonstration, question: str, by: Choice) -> tuple[float, ...]:
    newest = float(demonstration.promoted_round or 0)
    agreed = (-demonstration.chance, demonstration.tau)
    if by == "newest":
        return (newest, *agreed)
    if by == "most_agreed":
        return (*agreed, newest)
    return (similarity(demonstration.question, question), newest, *agreed)


def similarity(first: str, second: str) -> float:
    """Cosine of the word counts of two texts, in [0, 1]."""
    a, b = _words(first), _words(second)
    norm = sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(count * b[word] for word, count in a.items()) / norm if norm else 0.0


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def worth_promoting(agreements: Sequence[Agreement], chance_at_most: float) -> list[Agreement]:
    """The agreements that two random orders would seldom reach, the least likely first.

    A common subsequence of two answers says nothing (it is nearly always there), so at least three must agree, or all
    of a list of two is refused too: its chance level is one half.
    """
    kept = [each for each in agreements if each.chance <= chance_at_most and each.lcs_length >= 3]
    return sorted(kept, key=lambda each: (each.chance, -each.tau, each.prompt_id))


def to_retire(active: Sequence[Demonstration], promoted: int, keep: int) -> list[str]:
    """Ids of the oldest active dynamic demonstrations that must go so that at most ``keep`` remain."""
    dynamic = [each for each in active if each.kind == "dynamic"]
    surplus = max(0, len(dynamic) + promoted - keep)
    oldest_first = sorted(dynamic, key=lambda each: (each.promoted_round or 0, -each.chance, each.id))
    return [each.id for each in oldest_first[:surplus]]
