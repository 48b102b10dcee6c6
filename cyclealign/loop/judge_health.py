"""The judge's health: controls before a round pays for anything else, and biases measured on its verdicts."""

import logging
from collections.abc import Collection, Mapping, Sequence

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import JudgeError, JudgeUntrusted
from cyclealign.judge import biases, controls, demonstrations
from cyclealign.judge.requests import RankingTask
from cyclealign.loop.judge_requests import prompt_spec, ranking_task
from cyclealign.loop.session import JudgeJob, RoundSession
from cyclealign.records import Demonstration, JudgeCall, Metric, Reply, Round

logger = logging.getLogger(__name__)
NOTE = "health"


def examine_judge(session: RoundSession, round_: Round) -> str:
    """Send the controls to the judge; return ``trusted``, ``unknown`` or ``not examined``.

    Stored metrics are not measured again: the round has passed the controls, or was interrupted before its rejection.

    Raises:
        JudgeUntrusted: a control is below its threshold. The round is closed as rolled back; nothing was generated.
        JudgeError: no reply can be read. The round stays open; nothing was generated.
    """
    sets = control_sets(session, round_)
    if not sets:
        return skip_controls(session, round_)
    metrics = stored_metrics(session, round_) or measure_controls(session, round_, sets)
    thresholds = session.config.health
    if failed := controls.failures(metrics, thresholds):
        reject_judge(session, round_, failed)
    silent = [control.metric for control in controls.CONTROLS if control.metric not in metrics]
    remarks = [f"{failure}, which may be chance" for failure in controls.uncertain_failures(metrics, thresholds)]
    remarks += [f"no readable verdict for {', '.join(silent)}"] if silent else []
    if remarks:
        session.store.notes.record(round_.id, NOTE, "; ".join(remarks))
    return "trusted"


def control_sets(session: RoundSession, round_: Round) -> list[controls.ControlSet]:
    """Return the controls of this round; none if they are switched off or there are no lists to build them from."""
    config = session.config
    if config.health.lists == 0:
        return []
    lists = controls.choose_lists(
        session.store.prompts.labelled_lists(config.prompts.set_name),
        spare_demonstrations(session, round_),
        config.health.lists,
        round_.draw,
        round_.plan.seed,
    )
    return controls.build_control_sets(
        lists, controls.answers_per_request(config.judge, config.policy.answers), round_.draw
    )


def spare_demonstrations(session: RoundSession, round_: Round) -> list[Demonstration]:
    """Return the written demonstrations that the judge is not shown."""
    written = [demonstration for demonstration in round_.plan.demonstrations if demonstration.kind == "static"]
    return written[session.config.demonstrations.static :]


def skip_controls(session: RoundSession, round_: Round) -> str:
    """Note that the judge's health is unknown, unless controls are switched off; return the step's outcome."""
    if session.config.health.lists == 0:
        return "not examined"
    text = (
        f"unknown: prompt set '{session.config.prompts.set_name}' has no labelled lists to build controls from, and "
        "there are no written demonstrations beyond those shown. Import dialogues with `chosen` and `rejected` "
        "(`cyclealign prompts import`), or write more demonstrations than demonstrations.static."
    )
    logger.warning("The judge's health is %s", text)
    session.store.notes.record(round_.id, NOTE, text)
    return "unknown"


def stored_metrics(session: RoundSession, round_: Round) -> dict[str, Metric]:
    """Return the stored metrics of this round's controls."""
    metrics = session.store.metrics.of_round(round_.id)
    return {control.metric: metrics[control.metric] for control in controls.CONTROLS if control.metric in metrics}


def measure_controls(session: RoundSession, round_: Round, sets: list[controls.ControlSet]) -> dict[str, Metric]:
    """Send the controls, store their metrics and return them by name.

    Raises:
        JudgeError: no reply to any control can be read. The round stays open; nothing was generated.
    """
    jobs = [control_job(session, round_, control_set) for control_set in sets]
    examined = session.run_jobs(round_, "examine the judge", jobs)
    session.store.calls.record_parse_problems(
        round_.id, dict(problem for verdicts in examined for problem in verdicts.problems)
    )
    metrics = controls.control_metrics(examined)
    if not metrics:
        raise JudgeError(no_verdict_message(round_, examined))
    session.store.metrics.record(round_.id, metrics)
    return {metric.name: metric for metric in metrics}


def no_verdict_message(round_: Round, examined: Sequence[controls.ControlVerdicts]) -> str:
    """Return the error message for a judge without a single readable verdict on its controls."""
    problem = next((words for verdicts in examined for _, words in verdicts.problems), "")
    name = round_.experiment
    return (
        f"No reply of the judge to its control lists gives a readable verdict, so nothing was generated. {problem} "
        f"Look at the replies with `cyclealign history {name} --failures`. Rerun to repeat failed calls; to change "
        f"judge or template, run `cyclealign abandon {name}` first."
    )


def control_job(
    session: RoundSession, round_: Round, control_set: controls.ControlSet
) -> JudgeJob[controls.ControlVerdicts]:
    """Return a job for the controls of one list, with the same template, settings and seed as the round's rankings.

    Demonstrations of the same question are excluded, since they hold the answer.
    """
    spec = prompt_spec(session, round_, round_.draw, "judge")
    prompt = control_set.labelled.prompt
    pool = demonstrations.exclude_same_question(round_.plan.demonstrations, prompt.text)

    def task(subject_id: str, answers: Mapping[str, str]) -> RankingTask:
        return ranking_task(session, spec, "health", subject_id, prompt, answers, pool)

    async def job(ask_judge: AskJudge) -> controls.ControlVerdicts:
        return await controls.examine(ask_judge, control_set, task)

    return job


def reject_judge(session: RoundSession, round_: Round, failed: list[str]) -> None:
    """Close the round as rolled back before anything is generated or trained.

    Raises:
        JudgeUntrusted: always.
    """
    reason = f"refused before training: {'; '.join(failed)}"
    names = ", ".join(failure.split()[0] for failure in failed)
    session.store.notes.record(round_.id, NOTE, f"the judge was found unfit by {names}")
    session.store.rounds.close(round_.id, session.owner, "rolled_back", reason)
    raise JudgeUntrusted(
        f"Round {round_.number} of '{round_.experiment}' was {reason}. Nothing was generated. "
        f"`cyclealign history {round_.experiment} --round {round_.number}` shows how '{session.config.judge.model}' "
        f"answered the controls. Fix {session.config.templates}/rank.jinja, use another judge or change the threshold, "
        "then rerun."
    )


def measure_biases(session: RoundSession, round_: Round) -> int:
    """Measure the judge's steadiness and biases on its own verdicts of this round; return the number of metrics."""
    candidates = session.store.candidates.by_prompt(round_.id)
    texts = {candidate.judged_as: candidate.text for row in candidates.values() for candidate in row}
    metrics = biases.bias_metrics(biases.shown_verdicts(calls_on(session, round_, texts)), texts)
    session.store.metrics.record(round_.id, metrics)
    return len(metrics)


def calls_on(session: RoundSession, round_: Round, items: Collection[str]) -> list[tuple[JudgeCall, Reply]]:
    """Return the answered rankings of the round's answers; some were paid by an abandoned round that it repeats.

    Args:
        items: the ids of the answers as the judge is shown them.
    """
    rounds = [round_.id, *(repeated.id for repeated in session.store.rounds.repeated(round_))]
    template = prompt_spec(session, round_).template.hash
    calls = session.store.calls.ranking_calls(rounds, session.config.judge.model, template)
    return [(call, reply) for call, reply in calls if all(item in items for _, item in call.shown)]
