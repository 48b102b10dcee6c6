"""The judge's demonstrations: which are shown, promoted and retired, and whether they earn their place. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal

from cyclealign.evaluation.intervals import with_interval
from cyclealign.records import Agreement, Demonstration, Metric

# The judge's accuracy by what it is shown: nothing, the static ones, those of the round, those of the next round; and
# what the last gains over the static ones, list by list.
NONE, STATIC, USED = "judge_accuracy_none", "judge_accuracy_static", "judge_accuracy"
NEXT, GAIN = "judge_accuracy_next", "demonstrations_gain"
ROUNDING = 1e-9  # of means of shares

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


def worth_promoting(agreements: Sequence[Agreement], max_chance: float) -> list[Agreement]:
    """The agreements that two random orders would seldom reach, the least likely first.

    A common subsequence of two answers says nothing (it is nearly always there), so at least three must agree, or all
    of a list of two is refused too: its chance level is one half.
    """
    kept = [each for each in agreements if each.chance <= max_chance and each.lcs_length >= 3]
    return sorted(kept, key=lambda each: (each.chance, -each.tau, each.prompt_id))


def to_retire(active: Sequence[Demonstration], promoted: int, keep: int) -> list[str]:
    """Ids of the oldest active dynamic demonstrations that must go so that at most ``keep`` remain."""
    dynamic = [each for each in active if each.kind == "dynamic"]
    surplus = max(0, len(dynamic) + promoted - keep)
    oldest_first = sorted(dynamic, key=lambda each: (each.promoted_round or 0, -each.chance, each.id))
    return [each.id for each in oldest_first[:surplus]]


def exclude_same_question(pool: Sequence[Demonstration], question: str) -> list[Demonstration]:
    """Those that are not about ``question`` itself; blanks and capitals do not count."""
    return [each for each in pool if _plain(each.question) != _plain(question)]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def measures(shares: Mapping[str, Sequence[float | None]]) -> list[Metric]:
    """The judge's accuracy by arm, and what the next set gains over the static ones.

    Args:
        shares: by arm the share of correctly ordered pairs of each labelled list, the same lists for all arms; None
            where the judge gave no verdict.
    """
    known = {name: [each for each in row if each is not None] for name, row in shares.items()}
    found = [with_interval(name, row) for name, row in known.items() if row]
    pairs = zip(shares.get(NEXT, ()), shares.get(STATIC, ()), strict=False)
    gains = [with_ - without for with_, without in pairs if with_ is not None and without is not None]
    return [*found, with_interval(GAIN, gains)] if gains else found


def earn_their_place(metrics: Mapping[str, Metric], min_gain: float) -> bool:
    """Whether the dynamic ones are to be shown, by the measures of the round before. Yes, if nothing was measured."""
    return GAIN not in metrics or metrics[GAIN].value >= min_gain - ROUNDING


def worth(metrics: Mapping[str, Metric]) -> str:
    """What the dynamic ones did to the judge, in words."""
    gain = metrics[GAIN]
    return f"accuracy {metrics[NEXT].value:.3f} with, {metrics[STATIC].value:.3f} without, {gain.count} lists"
