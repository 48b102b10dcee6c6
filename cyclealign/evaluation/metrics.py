"""Is the new adapter better than its parent, is the judge right, has the policy drifted: numbers with intervals."""

from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean

from cyclealign.evaluation.intervals import with_interval
from cyclealign.records import Candidate, LabelledList, Metric, Tiers, content_id


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
    return with_interval("kl_from_base", values)


def length(answers: Sequence[Candidate]) -> Metric:
    """Mean length of answers in tokens: the first sign of a policy that games its judge."""
    return with_interval("answer_tokens", [float(len(answer.token_ids)) for answer in answers])


def gold(name: str, answers: Sequence[tuple[str, str]], quality: Callable[[str, str], float]) -> Metric:
    """Mean gold quality of (prompt text, answer text) pairs. For reports only: nothing decides by it."""
    return with_interval(name, [quality(prompt, answer) for prompt, answer in answers])
