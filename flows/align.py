"""The CycleAlign loop as a Prefect flow: each task gathers what is missing, calls the library, and writes rows.

Prefect's result cache stays off: the database is the record, and to resume is to run again.
"""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import JudgeUntrusted
from cyclealign.files import EXAMPLES
from cyclealign.loop.agree import agree
from cyclealign.loop.concurrency import BackgroundWorker
from cyclealign.loop.evaluate import answer_as_parent, decide, evaluate
from cyclealign.loop.generate import generate
from cyclealign.loop.judge import judge
from cyclealign.loop.judge_health import examine_judge, watch_judge
from cyclealign.loop.lease import LEASE_SECONDS, kept_alive
from cyclealign.loop.plan import open_or_resume
from cyclealign.loop.promote import teach
from cyclealign.loop.review import review
from cyclealign.loop.session import RoundSession, open_session
from cyclealign.loop.settings import effective_settings
from cyclealign.loop.train import train
from cyclealign.progress import announce
from cyclealign.records import Round
from flows.artifacts import publish

logger = logging.getLogger(__name__)

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_config(EXAMPLES / "demo.toml").model_copy(update={"until": None, "rounds": 1})

P = ParamSpec("P")
T = TypeVar("T")
Step = Callable[[RoundSession, Round], int | str]
# After generating and judging.
STEPS: tuple[Step, ...] = (watch_judge, agree, review, teach, answer_as_parent, train, evaluate, decide)


@flow(name="align", flow_run_name="align-{config.experiment}", persist_result=False, validate_parameters=True)
def align(config: ExperimentConfig = FORM) -> int:
    """Advance an experiment by some rounds of CycleAlign.

    Each round: the policy answers fresh prompts, the judge ranks the answers, agreed rankings become demonstrations,
    the policy is fine-tuned, and the round is accepted or rolled back whole. A run that was stopped goes on where it
    was when it is started again.

    Args:
        config: What to align, with which judge, and how.

    Returns:
        How many rounds were finished by this run.
    """
    with open_session(config) as session:
        # Rounds that this very run finished before it was cut off and retried are among the ones it was asked for.
        rounds = session.store.rounds
        while (finished := rounds.count_closed(config.experiment, session.run)) < config.rounds and not enough(session):
            advance(session)
        return finished


def enough(session: RoundSession) -> bool:
    """Whether the experiment has the rounds that ``until`` asks for."""
    until = session.config.until
    return until is not None and session.store.rounds.count_closed(session.config.experiment) >= until


def advance(session: RoundSession) -> None:
    """One round, from its opening (or from where it stands) to its verdict."""
    given = session.config
    round_ = open_or_resume(session)
    session.work_by(effective_settings(given, round_))
    announce(f"Experiment {round_.experiment}, round {round_.number}")
    try:
        with kept_alive(session.store, round_.id, session.owner):
            # LeaseLost, if another run took the round over.
            session.store.rounds.renew_lease(round_.id, session.owner, LEASE_SECONDS)
            run_step(examine_judge, session, round_)
            generate_and_judge(session, round_)
            for step in STEPS:
                session.store.rounds.renew_lease(round_.id, session.owner, LEASE_SECONDS)
                run_step(step, session, round_)
    except JudgeUntrusted:
        publish(session.store, round_)  # a refusal is part of the history, too
        raise
    finally:
        session.work_by(given)
    publish(session.store, round_)


def generate_and_judge(session: RoundSession, round_: Round) -> None:
    """Two tasks at once: what the first has put into the database is judged while it makes the rest.

    The seconds of the step `judge` are those after the last answer, so that the steps add up to the round's time.
    """
    with BackgroundWorker(lambda bell: as_task(judge, round_)(session, round_, bell)) as judging:
        with session.timed(round_, "generate"):
            usable = as_task(generate, round_)(session, round_, judging.bell)
        with session.timed(round_, "judge"):
            judged = judging.result()
    logger.info("Round %d of '%s': judged %d of %d prompts", round_.number, round_.experiment, judged, usable)


def run_step(step: Step, session: RoundSession, round_: Round) -> None:
    """One step as a task, timed."""
    with session.timed(round_, step.__name__):
        outcome = as_task(step, round_)(session, round_)
    logger.info("Round %d of '%s': %s -> %s", round_.number, round_.experiment, step.__name__, outcome)


def as_task(step: Callable[P, T], round_: Round) -> Callable[P, T]:
    """A step as a Prefect task, so that the run's page shows where the round is."""
    name = step.__name__
    run_name = f"{name}-round-{round_.number}"
    return task(name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)(step)
