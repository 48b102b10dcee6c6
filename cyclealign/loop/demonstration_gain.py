"""Whether demonstrations earn their place: the judge against labelled lists, with and without them."""

import logging
from collections.abc import Mapping, Sequence

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.intervals import with_interval
from cyclealign.judge import demonstrations
from cyclealign.judge.demonstrations import exclude_same_question
from cyclealign.judge.methods import rank
from cyclealign.loop.judge_requests import prompt_spec, ranking_method, ranking_task
from cyclealign.loop.session import Job, RoundSession
from cyclealign.records import Demonstration, LabelledList, Metric, Round
from cyclealign.store import Store

logger = logging.getLogger(__name__)

# What the notes of a round are about: what it shows its judge, and what it found out about the next set.
SHOWN, NEXT = "demonstrations", "next demonstrations"


def judge_accuracy(session: RoundSession, round_: Round) -> list[Metric]:
    """The judge against labelled lists that nobody trains on: by the demonstrations that it is shown.

    The requests do not depend on the round's number, so only those that show new demonstrations cost anything anew.
    What is measured with the next round's set is what that round finds answered, if it shows it.
    """
    labelled = labelled_lists(session)
    arms = accuracy_arms(round_, coming(session, round_)) if labelled else {}
    shares = {name: shares_of(session, round_, name, labelled, pool) for name, pool in arms.items()}
    metrics = demonstrations.accuracy_metrics(shares)
    note_worth(session, round_, {each.name: each for each in metrics})
    return metrics


def labelled_lists(session: RoundSession) -> list[LabelledList]:
    """The lists that measure the judge."""
    return session.store.prompts.labelled_lists(session.config.prompts.set_name)[
        : session.config.evaluation.labelled_lists
    ]


def coming(session: RoundSession, round_: Round) -> list[Demonstration]:
    """The dynamic demonstrations that the next round would have if this one is accepted; none if none are shown."""
    if not session.config.demonstrations.dynamic:
        return []
    return session.store.demonstrations.active(round_.experiment, if_accepted=round_.id)


def accuracy_arms(round_: Round, dynamic_next: Sequence[Demonstration]) -> dict[str, list[Demonstration]]:
    """The demonstrations that the judge may be shown, by the name of the metric."""
    pool = list(round_.plan.demonstrations)
    static = [each for each in pool if each.kind == "static"]
    arms = {demonstrations.NONE: [], demonstrations.STATIC: static, demonstrations.USED: pool}
    return {**arms, demonstrations.NEXT: [*static, *dynamic_next]} if dynamic_next else arms


def shares_of(
    session: RoundSession, round_: Round, name: str, labelled: Sequence[LabelledList], pool: Sequence[Demonstration]
) -> list[float | None]:
    """For each list the share of its pairs that the judge orders as the label does."""
    jobs = [accuracy_on(session, round_, each, pool) for each in labelled]
    return session.ask(round_, name.replace("_", " "), jobs)


def accuracy_on(
    session: RoundSession, round_: Round, labelled: LabelledList, pool: Sequence[Demonstration]
) -> Job[float | None]:
    """Share of one list's pairs that the judge orders as the label does; None without a readable verdict.

    Demonstrations of this very question are not shown: what is measured is judgement, not memory.
    """
    spec = prompt_spec(session, round_, "accuracy")
    texts, truth = evaluation.labelled_texts(labelled), evaluation.labelled_ids(labelled)
    others = demonstrations.exclude_same_question(pool, labelled.prompt.text)

    async def job(ask_judge: AskJudge) -> float | None:
        question = ranking_task(session, spec, "accuracy", labelled.id, labelled.prompt.text, texts, others)
        found = (await rank(ask_judge, question, ranking_method(session.config.judge))).ranking(labelled.prompt.id)
        return evaluation.pair_accuracy(found.order, truth) if found else None

    return job


def note_worth(session: RoundSession, round_: Round, metrics: Mapping[str, Metric]) -> None:
    """Say on the round what it measured for the next one."""
    if demonstrations.GAIN in metrics:
        kept = demonstrations.show_dynamic(metrics, session.config.demonstrations.min_gain)
        words = f"{'to be' if kept else 'not to be'} shown: {demonstrations.gain_summary(metrics)}"
        session.store.notes.record(round_.id, NEXT, words)


def dynamic_to_show(session: RoundSession) -> list[Demonstration]:
    """The dynamic demonstrations in use, unless the last accepted round measured that they do not earn their place.

    A round that was rolled back proposed another set and took it with it; the measure that counts is that of the set
    in use. Those left out stay promoted, and the next measure may bring them back.
    """
    _, metrics = last_measured(session.store, session.config.experiment)
    if not demonstrations.show_dynamic(metrics, session.config.demonstrations.min_gain):
        return []
    return session.store.demonstrations.active(session.config.experiment)


def last_measured(store: Store, experiment: str) -> tuple[int, Mapping[str, Metric]]:
    """Number and metrics of the last accepted round; 0 and none where there is none."""
    accepted = [row for row in store.experiments.rounds(experiment) if row["verdict"] == "accepted"]
    return (accepted[-1]["number"], accepted[-1]["metrics"]) if accepted else (0, {})


def note_left_out(session: RoundSession, round_: Round) -> None:
    """Say on a round that dynamic demonstrations are in use and it does not show them, and why."""
    shown = any(each.kind == "dynamic" for each in round_.plan.demonstrations)
    number, metrics = last_measured(session.store, round_.experiment)
    if shown or demonstrations.GAIN not in metrics or not session.store.demonstrations.active(round_.experiment):
        return
    words = f"dynamic ones not shown: {demonstrations.gain_summary(metrics)}, round {number}"
    session.store.notes.record(round_.id, SHOWN, words)
    logger.info("Round %d of '%s': %s.", round_.number, round_.experiment, words)


NAME = "judge_accuracy_reviewed"


def accuracy_on_reviewed(session: RoundSession, round_: Round) -> list[Metric]:
    """Its accuracy, with an interval over lists; none where people have ranked nothing, or no reply can be read."""
    jobs = jobs_on_reviewed(session, round_)
    found = session.ask(round_, NAME.replace("_", " "), jobs) if jobs else []
    shares = [each for each in found if each is not None]
    return [with_interval(NAME, shares)] if shares else []


def jobs_on_reviewed(session: RoundSession, round_: Round) -> list[Job[float | None]]:
    """What is asked for it: with the demonstrations that the round shows."""
    return [accuracy_on(session, round_, each, round_.plan.demonstrations) for each in reviewed_lists(session, round_)]


def reviewed_lists(session: RoundSession, round_: Round) -> list[LabelledList]:
    """Lists that people ranked, but for those whose question is a demonstration's: that one was exported."""
    pool = round_.plan.demonstrations
    lists = session.store.reviews.labelled_lists(session.config.prompts.set_name)
    unseen = [each for each in lists if len(exclude_same_question(pool, each.prompt.text)) == len(pool)]
    return unseen[: session.config.evaluation.labelled_lists]
