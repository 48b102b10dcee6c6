"""The judge is examined before a round pays for anything else, and watched by what it then said of the answers."""

import logging
from collections.abc import Mapping

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import JudgeUntrusted
from cyclealign.judge import biases, controls, demonstrations
from cyclealign.judge.requests import RankingTask
from cyclealign.loop.judge_requests import prompt_spec, ranking_task
from cyclealign.loop.session import Job, RoundSession
from cyclealign.records import Demonstration, Metric, Round

logger = logging.getLogger(__name__)
ABOUT = "health"


def examine_judge(session: RoundSession, round_: Round) -> str:
    """Put the planted controls to the judge; returns in a word how that went.

    Figures that are stored already are not measured anew: the round is past this gate, or is to be refused now.

    Raises:
        JudgeUntrusted: a control is below its bound. The round is closed as rolled back; nothing was generated.
    """
    planted = planted_in(session, round_)
    if not planted:
        return unexamined(session, round_)
    metrics = stored_figures(session, round_) or figures(session, round_, planted)
    bounds = session.config.health
    if failed := controls.failures(metrics, bounds):
        refuse(session, round_, failed)
    silent = [each.metric for each in controls.CONTROLS if each.metric not in metrics]
    remarks = [f"{each}, which may be chance" for each in controls.uncertain_failures(metrics, bounds)]
    remarks += [f"no readable verdict for {', '.join(silent)}"] if silent else []
    if remarks:
        session.store.notes.record(round_.id, ABOUT, "; ".join(remarks))
    return "trusted"


def planted_in(session: RoundSession, round_: Round) -> list[controls.ControlSet]:
    """The controls of this round; none where they are switched off, or there is nothing to make them of."""
    config = session.config
    if config.health.lists == 0:
        return []
    lists = controls.choose_lists(
        session.store.prompts.labelled_lists(config.prompts.set_name),
        spare_demonstrations(session, round_),
        config.health.lists,
        round_.number,
        round_.plan.seed,
    )
    return controls.build_control_sets(
        lists, controls.answers_per_request(config.judge, config.policy.answers), round_.number
    )


def spare_demonstrations(session: RoundSession, round_: Round) -> list[Demonstration]:
    """The written demonstrations that the judge is not shown."""
    written = [each for each in round_.plan.demonstrations if each.kind == "static"]
    return written[session.config.demonstrations.static :]


def unexamined(session: RoundSession, round_: Round) -> str:
    """Say that nothing is known of the judge's health, unless that is what the settings want."""
    if session.config.health.lists == 0:
        return "not examined"
    words = (
        f"unknown: prompt set '{session.config.prompts.set_name}' has no labelled lists to make controls of, and there "
        "are no written demonstrations beyond those shown. Import dialogues with `chosen` and `rejected` "
        "(`cyclealign prompts import`), or write more demonstrations than demonstrations.static."
    )
    logger.warning("The judge's health is %s", words)
    session.store.notes.record(round_.id, ABOUT, words)
    return "unknown"


def stored_figures(session: RoundSession, round_: Round) -> dict[str, Metric]:
    """What the controls of this round gave, if they were all put to the judge."""
    metrics = session.store.metrics.of_round(round_.id)
    return {each.metric: metrics[each.metric] for each in controls.CONTROLS if each.metric in metrics}


def figures(session: RoundSession, round_: Round, planted: list[controls.ControlSet]) -> dict[str, Metric]:
    """Ask, count and store, whatever the figures are."""
    jobs = [control_job(session, round_, each) for each in planted]
    examined = session.ask(round_, "examine the judge", jobs)
    session.store.calls.record_parse_problems(
        round_.id, dict(problem for each in examined for problem in each.problems)
    )
    metrics = controls.control_metrics(examined)
    session.store.metrics.record(round_.id, metrics)
    return {each.name: each for each in metrics}


def control_job(session: RoundSession, round_: Round, planted: controls.ControlSet) -> Job[controls.ControlVerdicts]:
    """The controls of one list, asked in the very manner of the round's rankings, so anew each round.

    Demonstrations of this very question are not shown: what is measured is judgement, not memory.
    """
    spec = prompt_spec(session, round_, round_.number, "judge")
    text = planted.labelled.prompt.text
    pool = demonstrations.exclude_same_question(round_.plan.demonstrations, text)

    def ask(subject_id: str, answers: Mapping[str, str]) -> RankingTask:
        return ranking_task(session, spec, "health", subject_id, text, answers, pool)

    async def job(ask_judge: AskJudge) -> controls.ControlVerdicts:
        return await controls.examine(ask_judge, planted, ask)

    return job


def refuse(session: RoundSession, round_: Round, failed: list[str]) -> None:
    """Close the round before anything is trained, and say why.

    Raises:
        JudgeUntrusted: always.
    """
    reason = f"refused before training: {'; '.join(failed)}"
    names = ", ".join(each.split()[0] for each in failed)
    session.store.notes.record(round_.id, ABOUT, f"the judge was found unfit by {names}")
    session.store.rounds.close(round_.id, session.owner, "rolled_back", reason)
    raise JudgeUntrusted(
        f"Round {round_.number} of '{round_.experiment}' was {reason}. Nothing was generated. "
        f"`cyclealign history {round_.experiment} --round {round_.number}` shows how '{session.config.judge.model}' "
        f"answered the controls. Fix {session.config.templates}/rank.jinja, use another judge or change the threshold, "
        "then rerun."
    )


def watch_judge(session: RoundSession, round_: Round) -> int:
    """Measure the judge's steadiness and biases on its own verdicts of this round; returns how many figures."""
    texts = {each.id: each.text for row in session.store.candidates.by_prompt(round_.id).values() for each in row}
    found = biases.bias_metrics(biases.shown_verdicts(session.store.calls.answered(round_.id, "rank")), texts)
    session.store.metrics.record(round_.id, found)
    return len(found)
