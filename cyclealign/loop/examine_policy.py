"""The policy on labelled lists: how often it orders them as labelled, and what its agreement with the judge is worth.

CycleAlign takes an order on which judge and policy agree for better than the judge's own. Of two raters that err
independently, right in shares p and q of the pairs, the pairs that they order alike are right in a share of

    p q / (p q + (1 - p) (1 - q))

If the policy is right in half of the pairs, or errs where the judge errs, agreement adds nothing: it is measured here.
"""

import logging
from collections.abc import Mapping, Sequence

from cyclealign.errors import EngineFailed, PolicyError
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.loop.demonstration_gain import labelled_lists, verdict_job
from cyclealign.loop.score import Measure, raw_scores, score_name
from cyclealign.loop.session import RoundSession
from cyclealign.ranking.agreement import rank_by_score
from cyclealign.records import Candidate, LabelledList, Metric, Prompt, Round

logger = logging.getLogger(__name__)
POLICY_ACCURACY, AGREED_ACCURACY = "policy_accuracy", "agreed_accuracy"


def examine_policy(session: RoundSession, round_: Round) -> int:
    """Measure the round's policy on labelled lists, while it is still loaded; return the number of lists.

    The judge's requests are those of its own accuracy, which are answered once.
    """
    lists = lists_that_fit(session, labelled_lists(session))
    if not lists:
        return 0
    try:
        orders = policy_orders(session, round_, lists)
    except EngineFailed:
        raise
    except PolicyError as error:  # a list that is too long for the score, say: no reason to end the round
        logger.warning("The policy's accuracy on labelled lists is not measured: %s", error)
        return 0
    jobs = [verdict_job(session, round_, labelled, round_.plan.demonstrations) for labelled in lists]
    verdicts = session.run_jobs(round_, "judge accuracy", jobs)
    metrics = accuracies(lists, orders, verdicts)
    session.store.metrics.record(round_.id, metrics)
    logger.info("Round %d of '%s': %s.", round_.number, round_.experiment, in_words(metrics))
    return len(lists)


def lists_that_fit(session: RoundSession, lists: Sequence[LabelledList]) -> list[LabelledList]:
    """Return the lists without empty answers whose longest answer fits into the policy's context."""

    def fits(labelled: LabelledList) -> bool:
        lengths = [len(session.policy.text_ids(text)) for text in labelled.answers]
        room = session.policy.context_tokens - len(session.policy.prompt_ids(labelled.prompt))
        return min(lengths) > 0 and max(lengths) <= room

    return [labelled for labelled in lists if fits(labelled)]


def policy_orders(session: RoundSession, round_: Round, lists: Sequence[LabelledList]) -> list[tuple[str, ...]]:
    """Return the round's policy's order of each list, by the score of the round without length control."""
    session.use(round_.parent)
    answers = {labelled.id: candidates_of(session, labelled) for labelled in lists}
    prompts = {labelled.id: labelled.prompt for labelled in lists}

    def measured(kind: str, measure: Measure, base: bool) -> dict[str, float]:
        session.use(None if base else round_.parent)
        return {
            item: value for list_id, row in answers.items() for item, value in measure(prompts[list_id], row).items()
        }

    values = raw_scores(session, round_, score_name(session, round_), answers, measured)
    session.use(round_.parent)
    return [rank_by_score({each.id: values[each.id] for each in answers[labelled.id]}) for labelled in lists]


def candidates_of(session: RoundSession, labelled: LabelledList) -> list[Candidate]:
    """Return the answers of a labelled list with their log-probs under the policy in use, without an end token."""
    prompt = Prompt(labelled.prompt.id, labelled.prompt.messages)
    ids = [tuple(session.policy.text_ids(text)) for text in labelled.answers]
    sums = session.policy.logprob_sums(prompt, ids)
    items = evaluation.labelled_ids(labelled)
    return [
        Candidate(item, prompt.id, position, text, tokens, value, "stop", None)
        for position, (item, text, tokens, value) in enumerate(zip(items, labelled.answers, ids, sums, strict=True))
    ]


def accuracies(
    lists: Sequence[LabelledList], orders: Sequence[Sequence[str]], verdicts: Sequence[Sequence[str] | None]
) -> list[Metric]:
    """Return the policy's accuracy, and that of the pairs that judge and policy order alike; intervals over lists.

    Args:
        lists: labelled lists.
        orders: the policy's order of each.
        verdicts: the judge's order of each; None without a readable verdict.
    """
    truths = [evaluation.labelled_ids(labelled) for labelled in lists]
    own = [evaluation.pair_accuracy(order, truth) for order, truth in zip(orders, truths, strict=True)]
    agreed = [
        evaluation.agreed_pair_accuracy(order, verdict, truth)
        for order, verdict, truth in zip(orders, verdicts, truths, strict=True)
        if verdict is not None
    ]
    known = [share for share in agreed if share is not None]
    return [with_interval(POLICY_ACCURACY, own), *([with_interval(AGREED_ACCURACY, known)] if known else [])]


def in_words(metrics: Sequence[Metric]) -> str:
    """Return the accuracies as text."""
    values: Mapping[str, float] = {metric.name: metric.value for metric in metrics}
    words = f"the policy orders {values[POLICY_ACCURACY]:.0%} of labelled pairs as labelled"
    if AGREED_ACCURACY not in values:
        return words
    return f"{words}, and of the pairs on which judge and policy agree {values[AGREED_ACCURACY]:.0%} are right"
