"""The judge's demonstrations: selection, promotion, retirement, and their gain in accuracy. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal

from cyclealign.evaluation.intervals import with_interval
from cyclealign.evaluation.paired_test import sign_flip_p
from cyclealign.records import Agreement, Demonstration, Metric

# Metrics: the judge's accuracy without demonstrations, with the static ones, with those of the round and of the next
# round, and the gain of the last over the static ones, paired by list.
NONE, STATIC, USED = "judge_accuracy_none", "judge_accuracy_static", "judge_accuracy"
NEXT, GAIN, GAIN_P = "judge_accuracy_next", "demonstrations_gain", "demonstrations_gain_p"
ROUNDING = 1e-9  # error of averaged floats

Selection = Literal["newest", "most_agreed", "most_similar", "diverse"]
OF_ONE_KIND = 0.5  # cosine similarity of the words of two questions from which on `diverse` shows one of them alone


def select(
    pool: Sequence[Demonstration], question: str, static: int, dynamic: int, by: Selection
) -> tuple[Demonstration, ...]:
    """Select the demonstrations to show with ``question``: static ones in file order, then dynamic ones.

    ``newest``, ``most_agreed`` and ``diverse`` give all questions of a round the same list, which a provider's prompt
    cache can serve; ``most_similar`` gives each question its own.
    """
    written = [shown for shown in pool if shown.kind == "static"][:static]
    agreed = sorted((shown for shown in pool if shown.kind == "dynamic"), key=lambda shown: shown.id)
    agreed.sort(key=lambda shown: _priority(shown, question, by), reverse=True)
    if by == "diverse":
        agreed = _one_of_each_kind(agreed)
    return (*written, *agreed[:dynamic])


def _one_of_each_kind(ordered: Sequence[Demonstration]) -> list[Demonstration]:
    """Return the demonstrations with those first whose questions resemble no earlier one's."""
    chosen: list[Demonstration] = []
    others: list[Demonstration] = []
    for shown in ordered:
        alike = any(similarity(shown.question, each.question) >= OF_ONE_KIND for each in chosen)
        (others if alike else chosen).append(shown)
    return [*chosen, *others]


def _priority(demonstration: Demonstration, question: str, by: Selection) -> tuple[float, ...]:
    newest = float(demonstration.promoted_round or 0)
    agreed = (-demonstration.chance, demonstration.tau)
    if by in ("newest", "diverse"):
        return (newest, *agreed)
    if by == "most_agreed":
        return (*agreed, newest)
    return (similarity(demonstration.question, question), newest, *agreed)


def similarity(first: str, second: str) -> float:
    """Return the cosine similarity of the word counts of two texts, in [0, 1]."""
    a, b = _words(first), _words(second)
    norm = sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(count * b[word] for word, count in a.items()) / norm if norm else 0.0


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def promotable(agreements: Sequence[Agreement], max_chance: float) -> list[Agreement]:
    """Return the agreements that two random orders reach with at most ``max_chance``, the least likely first.

    At least three answers must agree: two orders nearly always share a subsequence of two. A list of two answers is
    never promoted, since two random orders of it agree half the time.
    """
    kept = [agreed for agreed in agreements if agreed.chance <= max_chance and agreed.lcs_length >= 3]
    return sorted(kept, key=lambda agreed: (agreed.chance, -agreed.tau, agreed.prompt_id))


def to_retire(active: Sequence[Demonstration], promoted: int, max_kept: int) -> list[str]:
    """Return the ids of the oldest active dynamic demonstrations to retire so that at most ``max_kept`` remain."""
    dynamic = [shown for shown in active if shown.kind == "dynamic"]
    surplus = max(0, len(dynamic) + promoted - max_kept)
    oldest_first = sorted(dynamic, key=lambda shown: (shown.promoted_round or 0, -shown.chance, shown.id))
    return [shown.id for shown in oldest_first[:surplus]]


def exclude_same_question(pool: Sequence[Demonstration], question: str) -> list[Demonstration]:
    """Return the demonstrations of other questions than ``question``, ignoring whitespace and case."""
    return [shown for shown in pool if _plain(shown.question) != _plain(question)]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def accuracy_metrics(shares: Mapping[str, Sequence[float | None]]) -> list[Metric]:
    """Return the judge's accuracy by arm, and the gain of the next round's set over the static ones.

    Args:
        shares: by arm, the share of correctly ordered pairs of each labelled list (the same lists in all arms); None
            where the judge gave no verdict.
    """
    known = {name: [value for value in row if value is not None] for name, row in shares.items()}
    accuracies = [with_interval(name, row) for name, row in known.items() if row]
    pairs = zip(shares.get(NEXT, ()), shares.get(STATIC, ()), strict=False)
    gains = [with_ - without for with_, without in pairs if with_ is not None and without is not None]
    if not gains:
        return accuracies
    return [*accuracies, with_interval(GAIN, gains), Metric(GAIN_P, sign_flip_p(gains), count=len(gains))]


def show_dynamic(metrics: Mapping[str, Metric], min_gain: float, level: float | None = None) -> bool:
    """Return whether the last round's gain justifies showing dynamic demonstrations; True if it was not measured.

    Args:
        metrics: of that round.
        min_gain: minimum of the mean gain.
        level: of the paired test that the gain must pass as well; None: the mean alone decides.
    """
    if GAIN not in metrics:
        return True
    enough = metrics[GAIN].value >= min_gain - ROUNDING
    return enough and (level is None or (GAIN_P in metrics and metrics[GAIN_P].value <= level))


def gain_summary(metrics: Mapping[str, Metric]) -> str:
    """Return the judge's accuracy with and without dynamic demonstrations, as text."""
    gain = metrics[GAIN]
    p = f", p = {metrics[GAIN_P].value:.2g}" if GAIN_P in metrics else ""
    return f"accuracy {metrics[NEXT].value:.3f} with, {metrics[STATIC].value:.3f} without, {gain.count} lists{p}"
