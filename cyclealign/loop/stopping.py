"""Stop an experiment whose rounds are rolled back, or whose runs fail, several times in a row."""

from collections.abc import Iterator
from contextlib import contextmanager

from cyclealign.errors import (
    AwaitsApproval,
    BudgetReached,
    CycleAlignError,
    ExperimentBusy,
    ExperimentStopped,
    LeaseLost,
)
from cyclealign.loop.session import RoundSession

MAX_ERROR_CHARS = 500
# Ends of a run that say nothing against the experiment.
NOT_A_FAILURE = (AwaitsApproval, ExperimentBusy, ExperimentStopped, BudgetReached, LeaseLost)


def require_not_stopped(session: RoundSession) -> None:
    """Raise ExperimentStopped if one of the limits of the section `stop` was reached before."""
    if reason := reason_to_stop(session):
        raise ExperimentStopped(reason)


def stop_after_rollbacks(session: RoundSession) -> None:
    """Report and raise ExperimentStopped if the round just closed was one rollback too many."""
    if reason := reason_to_stop(session):
        session.ports.report_stop(session.config.experiment, reason)
        raise ExperimentStopped(reason)


@contextmanager
def count_failures(session: RoundSession) -> Iterator[None]:
    """Count the run as failed if the block fails; report the failure that reaches the limit."""
    try:
        yield
    except NOT_A_FAILURE:
        raise
    except Exception as error:
        experiment = session.config.experiment
        failures = session.store.leases.add_failure(experiment, session.owner, _in_words(error))
        if failures == session.config.stop.max_failures:
            session.ports.report_stop(experiment, reason_to_stop(session))
        raise


def reason_to_stop(session: RoundSession) -> str:
    """Return why the experiment is not continued; an empty text if it may be."""
    experiment, limits = session.config.experiment, session.config.stop
    rollbacks = session.store.rounds.rollbacks_in_a_row(experiment)
    if 0 < limits.max_rollbacks <= rollbacks:
        return (
            f"Experiment '{experiment}' is stopped: {rollbacks} rounds in a row were rolled back (stop.max_rollbacks = "
            f"{limits.max_rollbacks}). See their reasons in the history and change the settings. To try on, raise "
            "stop.max_rollbacks for one run, or set it to 0; the next accepted round starts the count anew."
        )
    failures, last = session.store.leases.failures(experiment)
    if 0 < limits.max_failures <= failures:
        return (
            f"Experiment '{experiment}' is stopped: {failures} runs in a row failed (stop.max_failures = "
            f"{limits.max_failures}). The last error: {last} - Fix it. To try on, raise stop.max_failures for one run, "
            "or set it to 0; the next finished round starts the count anew."
        )
    return ""


def _in_words(error: Exception) -> str:
    """Return the error in a line. Only messages of this project are known to hold no key."""
    message = f": {error}" if isinstance(error, CycleAlignError) else ""
    return f"{type(error).__name__}{message}"[:MAX_ERROR_CHARS]
