"""The gain from demonstrations: the judge's accuracy on labelled lists with and without them."""

import logging
from collections.abc import Mapping, Sequence

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import DemonstrationSettings
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.evaluation.paired_test import spent
from cyclealign.judge import demonstrations
from cyclealign.judge.demonstrations import exclude_same_question
from cyclealign.judge.methods import rank
from cyclealign.loop.judge_requests import prompt_spec, ranking_method, ranking_task
from cyclealign.loop.session import JudgeJob, RoundSession
from cyclealign.records import Demonstration, LabelledList, Metric, Round

logger = logging.getLogger(__name__)

# Names of a round's notes: on the demonstrations that it shows, and on those of the next round.
SHOWN, NEXT = "demonstrations", "next demonstrations"
REVIEWED_ACCURACY = "judge_accuracy_reviewed"


def judge_accuracy(session: RoundSession, round_: Round) -> list[Metric]:
    """Measure the judge's accuracy on labelled lists that are never trained on, one metric per set of demonstrations.

    The requests do not depend on the round's number: only those with new demonstrations cost anything, and the next
    round finds the measurement of its own set answered.
    """
    labelled = labelled_lists(session)
    arms = accuracy_arms(round_, next_dynamic(session, round_)) if labelled else {}
    shares = {name: pair_accuracies(session, round_, name, labelled, pool) for name, pool in arms.items()}
    metrics = demonstrations.accuracy_metrics(shares)
    note_gain(session, round_, {metric.name: metric for metric in metrics})
    return metrics


def labelled_lists(session: RoundSession) -> list[LabelledList]:
    """Return the lists that measure the judge."""
    return session.store.prompts.labelled_lists(session.config.prompts.set_name)[
        : session.config.evaluation.labelled_lists
    ]


def next_dynamic(session: RoundSession, round_: Round) -> list[Demonstration]:
    """Return the dynamic demonstrations of the next round if this one is accepted; none if the settings show none."""
    if not session.config.demonstrations.dynamic:
        return []
    return session.store.demonstrations.active(round_.experiment, if_accepted=round_.id)


def accuracy_arms(round_: Round, dynamic_next: Sequence[Demonstration]) -> dict[str, list[Demonstration]]:
    """Return the sets of demonstrations to measure, by the name of the metric."""
    pool = list(round_.plan.demonstrations)
    static = [demonstration for demonstration in pool if demonstration.kind == "static"]
    arms = {demonstrations.NONE: [], demonstrations.STATIC: static, demonstrations.USED: pool}
    return {**arms, demonstrations.NEXT: [*static, *dynamic_next]} if dynamic_next else arms


def pair_accuracies(
    session: RoundSession, round_: Round, name: str, labelled: Sequence[LabelledList], pool: Sequence[Demonstration]
) -> list[float | None]:
    """Return, for each list, the share of its pairs that the judge orders as the label does."""
    jobs = [accuracy_job(session, round_, one_list, pool) for one_list in labelled]
    return session.run_jobs(round_, name.replace("_", " "), jobs)


def accuracy_job(
    session: RoundSession, round_: Round, labelled: LabelledList, pool: Sequence[Demonstration]
) -> JudgeJob[float | None]:
    """Return a job for the share of the list's pairs that the judge orders as labelled; None without a verdict."""
    verdict, truth = verdict_job(session, round_, labelled, pool), evaluation.labelled_ids(labelled)

    async def job(ask_judge: AskJudge) -> float | None:
        order = await verdict(ask_judge)
        return evaluation.pair_accuracy(order, truth) if order else None

    return job


def verdict_job(
    session: RoundSession, round_: Round, labelled: LabelledList, pool: Sequence[Demonstration]
) -> JudgeJob[tuple[str, ...] | None]:
    """Return a job for the judge's order of the list's item ids; None without a verdict.

    Demonstrations of the same question are excluded, since they hold the answer.
    """
    spec = prompt_spec(session, round_, "accuracy")
    texts = evaluation.labelled_texts(labelled)
    others = demonstrations.exclude_same_question(pool, labelled.prompt.text)

    async def job(ask_judge: AskJudge) -> tuple[str, ...] | None:
        task = ranking_task(session, spec, "accuracy", labelled.id, labelled.prompt, texts, others)
        verdict = (await rank(ask_judge, task, ranking_method(session.config.judge))).ranking(labelled.prompt.id)
        return verdict.order if verdict else None

    return job


def note_gain(session: RoundSession, round_: Round, metrics: Mapping[str, Metric]) -> None:
    """Note on the round whether the next one will show dynamic demonstrations, and why."""
    if demonstrations.GAIN in metrics:
        settings, number = session.config.demonstrations, tests_of_gain(session) + 1
        shown = demonstrations.show_dynamic(metrics, settings.min_gain, level_of_gain(settings, number))
        text = f"{'to be' if shown else 'not to be'} shown: {demonstrations.gain_summary(metrics)}"
        session.store.notes.record(round_.id, NEXT, text)


def dynamic_to_show(session: RoundSession) -> list[Demonstration]:
    """Return the active dynamic demonstrations, or none if the last accepted round measured too small a gain.

    A round that was rolled back measured a set that was dropped with it, so its metrics do not count. Demonstrations
    that are withheld stay active, and the next measurement may bring them back.
    """
    _, metrics = session.store.metrics.of_last_accepted(session.config.experiment)
    settings = session.config.demonstrations
    if not demonstrations.show_dynamic(metrics, settings.min_gain, level_of_gain(settings, tests_of_gain(session))):
        return []
    return session.store.demonstrations.active(session.config.experiment)


def tests_of_gain(session: RoundSession) -> int:
    """Return the number of accepted rounds that measured the gain: each is a test of another set."""
    return session.store.metrics.count_accepted(session.config.experiment, demonstrations.GAIN)


def level_of_gain(settings: DemonstrationSettings, number: int) -> float | None:
    """Return the level of the paired test with this number; None: the mean alone decides."""
    return None if settings.gain_alpha is None else spent(settings.gain_alpha, max(number, 1))


def note_withheld(session: RoundSession, round_: Round) -> None:
    """Note on the round that it withholds the active dynamic demonstrations, and why."""
    shown = any(demonstration.kind == "dynamic" for demonstration in round_.plan.demonstrations)
    number, metrics = session.store.metrics.of_last_accepted(round_.experiment)
    if shown or demonstrations.GAIN not in metrics or not session.store.demonstrations.active(round_.experiment):
        return
    text = f"dynamic ones not shown: {demonstrations.gain_summary(metrics)}, round {number}"
    session.store.notes.record(round_.id, SHOWN, text)
    logger.info("Round %d of '%s': %s.", round_.number, round_.experiment, text)


def reviewed_accuracy(session: RoundSession, round_: Round) -> list[Metric]:
    """Measure the judge's accuracy on lists ranked by people; no metric without such lists or readable verdicts."""
    jobs = reviewed_accuracy_jobs(session, round_)
    results = session.run_jobs(round_, REVIEWED_ACCURACY.replace("_", " "), jobs) if jobs else []
    shares = [share for share in results if share is not None]
    return [with_interval(REVIEWED_ACCURACY, shares)] if shares else []


def reviewed_accuracy_jobs(session: RoundSession, round_: Round) -> list[JudgeJob[float | None]]:
    """Return a job for each list ranked by people, with the demonstrations of the round."""
    pool = round_.plan.demonstrations
    return [accuracy_job(session, round_, labelled, pool) for labelled in reviewed_lists(session, round_)]


def reviewed_lists(session: RoundSession, round_: Round) -> list[LabelledList]:
    """Return the lists ranked by people, without those exported as demonstrations of the round."""
    pool = round_.plan.demonstrations
    lists = session.store.reviews.labelled_lists(session.config.prompts.set_name)
    unseen = [labelled for labelled in lists if len(exclude_same_question(pool, labelled.prompt.text)) == len(pool)]
    return unseen[: session.config.evaluation.labelled_lists]
