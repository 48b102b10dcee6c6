"""Is the new adapter better than its parent, is the judge right, has the policy drifted: numbers with intervals."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import sqrt
from statistics import fmean

import numpy as np

from cyclealign.records import Candidate, LabelledList, Metric, Tiers, content_id

RESAMPLES = 2_000
Z_95 = 1.959964  # the standard normal's 97.5 % quantile


def with_interval(name: str, values: Sequence[float], unit: str = "", seed: int = 0) -> Metric:
    """The mean of ``values`` with a 95 % percentile bootstrap interval over them.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError(f"No values for '{name}'.")
    sample = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(0, len(sample), size=(RESAMPLES, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), [0.025, 0.975])
    return Metric(name, float(sample.mean()), float(low), float(high), len(sample), unit)


def share(name: str, outcomes: Sequence[float]) -> Metric:
    """The mean of outcomes in [0, 1] (a tie is 0.5) with its 95 % score interval (Wilson, JASA 1927).

    Unlike the bootstrap's, the interval has a width where all of a few outcomes are alike. It takes them for
    independent.

    Raises:
        ValueError: there are no outcomes.
    """
    if not outcomes:
        raise ValueError(f"No outcomes for '{name}'.")
    count, mean = len(outcomes), fmean(outcomes)
    shrunk = 1 + Z_95**2 / count
    centre = (mean + Z_95**2 / (2 * count)) / shrunk
    half = Z_95 / shrunk * sqrt(mean * (1 - mean) / count + Z_95**2 / (4 * count**2))
    return Metric(name, mean, max(0.0, centre - half), min(1.0, centre + half), count)


def duel_score(new_id: str, verdicts: Sequence[Tiers]) -> float | None:
    """Share of the verdicts on a pair that place the new answer first: 1, 0, or 0.5 where the two orders disagree.

    A tie is half a verdict. None where no verdict could be read.
    """
    return fmean((new_id in verdict[0]) / len(verdict[0]) for verdict in verdicts) if verdicts else None


def pair_accuracy(order: Sequence[str], truth: Sequence[str]) -> float:
    """Share of the pairs of ``truth`` (ids, best first) that ``order`` places the same way."""
    place = {item: number for number, item in enumerate(order)}
    return fmean(float(place[better] < place[worse]) for better, worse in combinations(truth, 2))


def labelled_texts(labelled: LabelledList) -> dict[str, str]:
    """Item id -> text of a labelled list; sorted ids are in no relation to the order of quality."""
    return dict(zip(labelled_ids(labelled), labelled.answers, strict=True))


def labelled_ids(labelled: LabelledList) -> list[str]:
    """The item ids of a labelled list, best first."""
    return [content_id("labelled-answer", labelled.prompt.id, text) for text in labelled.answers]


def drift(new: Sequence[Candidate], base_logprob_sums: Sequence[float]) -> Metric:
    """KL(new || base) per token, estimated on the new policy's own samples, in nats per token.

    Mean over samples of (log p_new - log p_base) / tokens; each sample is drawn from the new policy.
    """
    pairs = zip(new, base_logprob_sums, strict=True)
    values = [(each.logprob_sum - base) / max(len(each.token_ids), 1) for each, base in pairs]
    return with_interval("kl_from_base", values, "nats/token")


def length(answers: Sequence[Candidate]) -> Metric:
    """Mean length of answers in tokens: the first sign of a policy that games its judge."""
    return with_interval("answer_tokens", [float(len(each.token_ids)) for each in answers], "tokens")


def gold(name: str, answers: Sequence[tuple[str, str]], quality: Callable[[str, str], float]) -> Metric:
    """Mean gold quality of (prompt text, answer text) pairs. For reports only: nothing decides by it."""
    return with_interval(name, [quality(prompt, answer) for prompt, answer in answers])
