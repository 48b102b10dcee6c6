"""Compute metrics of a round: win rate, accuracy on labelled pairs, drift from the base model, gold quality."""

from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean

from cyclealign.evaluation.intervals import with_interval
from cyclealign.evaluation.sequential_test import DESIGN_ALPHA, e_values
from cyclealign.records import Candidate, LabelledList, Metric, Tiers, content_id


def duel_score(new_id: str, verdicts: Sequence[Tiers]) -> float | None:
    """Return the share of verdicts on a pair that rank the new answer first: 0.5 if the two orders shown disagree.

    A tie counts half. None if there is no readable verdict.
    """
    return fmean((new_id in verdict[0]) / len(verdict[0]) for verdict in verdicts) if verdicts else None


def duel_metrics(
    duels: Sequence[tuple[str, float | None]], level: float = DESIGN_ALPHA, planned: int | None = None
) -> list[Metric]:
    """Return win rate, shares of readable duels and of ties, and the evidence of both sides as e-values.

    Win rate and evidence are over prompts: duels of one prompt are not independent, so their mean is one score.

    Args:
        duels: prompt id and score of the new answer, None without a readable verdict, of every planned duel.
        level: of the test that the e-values are for.
        planned: number of prompts that its bets are made for; None: that of the duels.

    Raises:
        ValueError: no duel is readable.
    """
    scores = [score for _, score in duels if score is not None]
    of_prompts, planned = scores_of_prompts(duels), planned or len({prompt_id for prompt_id, _ in duels})
    win_rate = with_interval("win_rate", of_prompts)
    evidence = {"win_e_value": of_prompts, "loss_e_value": [1 - score for score in of_prompts]}
    return [
        win_rate,
        Metric("duels_readable", len(scores) / len(duels), count=len(duels)),
        Metric("duels_tied", fmean(score == 0.5 for score in scores), count=len(scores)),
        *(Metric(name, float(e_values(row, planned, level)), count=len(row)) for name, row in evidence.items()),
    ]


def base_metrics(duels: Sequence[tuple[str, float | None]], planned: int) -> list[Metric]:
    """Return win rate and evidence against the base model; no metric if no duel is readable.

    The arguments are as those of `duel_metrics`.
    """
    scores = scores_of_prompts(duels)
    if not scores:
        return []
    evidence = Metric("base_e_value", float(e_values(scores, planned)), count=len(scores))
    return [with_interval("base_win_rate", scores), evidence]


def scores_of_prompts(duels: Sequence[tuple[str, float | None]]) -> list[float]:
    """Return the mean score of each prompt with a readable duel: those of one prompt are not independent."""
    return [*mean_scores(duels).values()]


def mean_scores(duels: Sequence[tuple[str, float | None]]) -> dict[str, float]:
    """Return the mean score of each prompt with a readable duel, by prompt id."""
    by_prompt: dict[str, list[float]] = {}
    for prompt_id, score in duels:
        if score is not None:
            by_prompt.setdefault(prompt_id, []).append(score)
    return {prompt_id: fmean(row) for prompt_id, row in by_prompt.items()}


def pair_accuracy(order: Sequence[str], truth: Sequence[str]) -> float:
    """Return the share of the pairs of ``truth`` (ids, best first) that ``order`` ranks the same way."""
    place = {item: number for number, item in enumerate(order)}
    return fmean(float(place[better] < place[worse]) for better, worse in combinations(truth, 2))


def agreed_pair_accuracy(first: Sequence[str], second: Sequence[str], truth: Sequence[str]) -> float | None:
    """Return the share of the pairs that two orders rank alike which ``truth`` ranks so, too; None without such a pair.

    Args:
        first: an order of the ids.
        second: another order of them.
        truth: the ids, best first.
    """
    places = [{item: number for number, item in enumerate(order)} for order in (first, second)]
    votes = [[place[better] < place[worse] for place in places] for better, worse in combinations(truth, 2)]
    alike = [float(one) for one, other in votes if one == other]
    return fmean(alike) if alike else None


def labelled_texts(labelled: LabelledList) -> dict[str, str]:
    """Return item id -> text of a labelled list. Ids are hashes: sorting by id does not reveal the labelled order."""
    return dict(zip(labelled_ids(labelled), labelled.answers, strict=True))


def labelled_ids(labelled: LabelledList) -> list[str]:
    """Return the item ids of a labelled list, best first."""
    return [content_id("labelled-answer", labelled.prompt.id, text) for text in labelled.answers]


def drift(new: Sequence[Candidate], base_logprob_sums: Sequence[float]) -> Metric:
    """Return the drift from the base model in nats per token, on samples of the new policy.

    The mean over samples of (log p_new - log p_base) / tokens, thoughts included: they drift with the rest. It
    estimates KL(new || base) if the samples were drawn at temperature 1 and top-p 1; the log-probs are those before
    either.

    Args:
        new: samples, with their log-prob sums under the new policy.
        base_logprob_sums: log-prob sums of the same samples under the base model, in nats.
    """
    pairs = zip(new, base_logprob_sums, strict=True)
    values = [(answer.logprob_sum - base) / max(len(answer.token_ids), 1) for answer, base in pairs]
    return with_interval("kl_from_base", values)


def length(answers: Sequence[Candidate]) -> Metric:
    """Return the mean length of answers in tokens, which grows first when a policy exploits its judge."""
    return with_interval("answer_tokens", [float(answer.answer_tokens) for answer in answers])


def gold(name: str, answers: Sequence[tuple[str, str]], quality: Callable[[str, str], float]) -> Metric:
    """Return the mean gold quality of (prompt text, answer text) pairs. For reports only: no decision depends on it."""
    return with_interval(name, [quality(prompt, answer) for prompt, answer in answers])
