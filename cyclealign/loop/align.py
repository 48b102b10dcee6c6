"""The CycleAlign loop: each step gathers what is missing, calls the library, and writes rows.

The database is the record: to resume is to run again.
"""

import logging
from collections.abc import Callable, Mapping

from cyclealign.config import ExperimentConfig
from cyclealign.errors import BudgetReached, CycleAlignError, JudgeUntrusted, StoreError
from cyclealign.loop.agree import agree
from cyclealign.loop.approval import leave_to_people, take_up_decision
from cyclealign.loop.concurrency import BackgroundWorker
from cyclealign.loop.evaluate import answer_held_out_as_parent, decide, evaluate
from cyclealign.loop.events import report_budget_reached, report_prompts_low
from cyclealign.loop.examine_policy import examine_policy
from cyclealign.loop.generate import generate
from cyclealign.loop.judge import judge
from cyclealign.loop.judge_health import examine_judge, measure_biases
from cyclealign.loop.lease import LEASE_SECONDS, heartbeat, hold_experiment
from cyclealign.loop.mend_weights import mend_weights
from cyclealign.loop.open_round import open_or_resume
from cyclealign.loop.ports import Ports
from cyclealign.loop.promote import promote_demonstrations
from cyclealign.loop.review import review
from cyclealign.loop.score import needs_passes, score
from cyclealign.loop.session import RoundSession, open_session
from cyclealign.loop.stopping import count_failures, require_not_stopped, stop_after_rollbacks
from cyclealign.loop.train import train
from cyclealign.progress import announce
from cyclealign.records import Round

logger = logging.getLogger(__name__)

Step = Callable[[RoundSession, Round], int | str]
# The steps after generation and judging, by the names under which the history stores their seconds: these never change.
STEPS: Mapping[str, Step] = {
    "watch_judge": measure_biases,
    "agree": agree,
    "review": review,
    "teach": promote_demonstrations,
    "answer_as_parent": answer_held_out_as_parent,
    "examine_policy": examine_policy,
    "train": train,
    "evaluate": evaluate,
    "decide": decide,
}


def align(config: ExperimentConfig, ports: Ports | None = None) -> int:
    """Advance an experiment by ``config.rounds`` rounds, at most until it has ``config.until``.

    An unfinished round is resumed first. A run that was cut off and is retried under the same run id counts the rounds
    that it finished before.

    Returns:
        The number of rounds that this run finished.

    Raises:
        ExperimentBusy: another run is advancing the experiment.
        ExperimentStopped: too many rounds were rolled back, or too many runs failed, in a row; or a person stopped it.
        AwaitsApproval: a round waits for a person; the next run after the decision goes on.
        JudgeUntrusted: the judge failed the controls; the round is rolled back.
        CycleAlignError: a step failed; the round stays open, and the next run resumes it.
    """
    with open_session(config, ports) as session:
        name = session.ports.run_name()
        with hold_experiment(session.store, config.experiment, session.owner, name), count_failures(session):
            return run_rounds(session)


def run_rounds(session: RoundSession) -> int:
    """Run the rounds that the settings ask for; return how many this run has finished.

    Raises:
        ExperimentStopped: too many rounds were rolled back, or too many runs failed, in a row; or a person stopped it.
        AwaitsApproval: a round waits for a person.
    """
    config, store = session.config, session.store
    checked = False
    while (finished := store.rounds.count_closed(config.experiment, session.run)) < config.rounds:
        if enough(session):
            break
        require_not_stopped(session)
        if not take_up_decision(session):
            mend_weights(session)
            if not checked:
                session.ports.check(config, session.ports)
                checked = True
            advance(session)
        store.leases.forget_failures(config.experiment)
        stop_after_rollbacks(session)
    return finished


def enough(session: RoundSession) -> bool:
    """Return whether the experiment has the rounds that ``until`` asks for."""
    until = session.config.until
    return until is not None and session.store.rounds.count_closed(session.config.experiment) >= until


def advance(session: RoundSession) -> None:
    """Run one round from its opening, or from where it was left, to its verdict."""
    given = session.config
    try:
        round_ = open_or_resume(session)
        announce(f"Experiment {round_.experiment}, round {round_.number}")
        with heartbeat(session.store, round_.id, session.owner) as session.lease:
            run_steps(session, round_)
            leave_to_people(session, round_)
    finally:
        session.lease = None
        session.apply_settings(given)
    session.ports.publish(session.store, round_)
    report_prompts_low(session, round_)


def run_steps(session: RoundSession, round_: Round) -> None:
    """Run the steps of an open round."""
    try:
        # Raises LeaseLost if another run took the round over.
        session.store.rounds.renew_lease(round_.id, session.owner, LEASE_SECONDS)
        run_step("examine_judge", examine_judge, session, round_)
        generate_and_judge(session, round_)
        for name, step in STEPS.items():
            session.store.rounds.renew_lease(round_.id, session.owner, LEASE_SECONDS)
            run_step(name, step, session, round_)
    except JudgeUntrusted as error:
        session.ports.publish(session.store, round_)  # a rejected judge belongs to the history as well
        session.ports.report_event("judge-untrusted", round_, str(error))
        raise
    except StoreError:  # LeaseLost among them
        raise
    except CycleAlignError as error:
        if isinstance(error, BudgetReached):
            report_budget_reached(session, round_, error)
        logger.warning(
            "Round %d of '%s' stays open: rerun to resume it, or give it up with `cyclealign abandon %s`.",
            round_.number,
            round_.experiment,
            round_.experiment,
        )
        raise


def generate_and_judge(session: RoundSession, round_: Round) -> None:
    """Run both steps at once: stored answers are judged while the policy generates the rest.

    The seconds of the step `judge` are those after the last answer, so that the steps add up to the round's time.
    """
    run, number = session.ports.run_step, round_.number
    with BackgroundWorker(lambda signal: run("judge", number, lambda: judge(session, round_, signal))) as judging:
        with session.timed(round_, "generate"):
            usable = run("generate", number, lambda: generate(session, round_, judging.signal))
        if needs_passes(session, round_):
            with session.timed(round_, "score"):  # while the judge ranks
                run("score", number, lambda: score(session, round_, judging.signal))
        with session.timed(round_, "judge"):
            judged = judging.result()
    logger.info("Round %d of '%s': judged %d of %d prompts", number, round_.experiment, judged, usable)


def run_step(name: str, step: Step, session: RoundSession, round_: Round) -> None:
    """Run one step and add its seconds to the round."""
    with session.timed(round_, name):
        outcome = session.ports.run_step(name, round_.number, lambda: step(session, round_))
    logger.info("Round %d of '%s': %s -> %s", round_.number, round_.experiment, name, outcome)
