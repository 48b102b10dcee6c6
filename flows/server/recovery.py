"""Flow runs that were interrupted together with their worker: find them and let them resume.

Prefect leaves such a run in state Running for good. Ctrl-C on `cyclealign up` is meant to free the machine, not to
cancel the run. So the run is set to Crashed, which explains on its page what happened, and then to AwaitingRetry, so
that the next worker takes it: the same run with the same parameters and page. The flow resumes from the database and
repeats nothing. To drop the run, cancel it in the UI.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Cancelled, Crashed

from flows.server.deploy import POOL, VANISHED

# A paused run keeps its process, so one without a process was interrupted during its pause.
ACTIVE_STATES = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.PAUSED]
SUSPENDED = "Suspended"
GRACE_SECONDS = 5.0
WORKER_START = timedelta(minutes=1)  # until a worker that is about to start has taken its first run


def reschedule_interrupted(client: SyncPrefectClient, worker: str, why: str) -> list[FlowRun]:
    """Reschedule the worker's active runs whose process has exited; return them.

    A run that was being cancelled is cancelled. The worker must have exited: otherwise a run without a process may be
    one that is just being started.

    Args:
        why: the message of the states Crashed and Cancelled.
    """
    rescheduled = []
    for run in interrupted_runs(client, worker):
        if process_of(run) is not None:
            continue
        if run.state_type is StateType.CANCELLING:
            client.set_flow_run_state(run.id, Cancelled(message=why), force=True)
            continue
        # Its former time puts it ahead of runs that were queued meanwhile.
        since = run.expected_start_time or datetime.now(UTC)
        client.set_flow_run_state(run.id, Crashed(message=why), force=True)
        waiting: State[None] = AwaitingRetry(scheduled_time=since, message="Resumes at the next `make up`.")
        client.set_flow_run_state(run.id, waiting, force=True)
        rescheduled.append(run)
    return rescheduled


def interrupted_runs(client: SyncPrefectClient, worker: str) -> list[FlowRun]:
    """Return the worker's runs in an active state, and those that the automation has marked as vanished."""
    active = _runs(client, FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE_STATES)))
    crashed = _runs(client, FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])))
    vanished = [run for run in crashed if run.state and run.state.message == VANISHED]
    # A suspended run has no process: it waits for a person, and starts anew when it is resumed.
    left = [run for run in active if run.state_name != SUSPENDED]
    return [run for run in (*left, *vanished) if claimed_by(run, worker)]


def claimed_by(run: FlowRun, worker: str) -> bool:
    """Return whether the worker took the run. A run without a worker's label was being taken when its worker exited."""
    return run.labels.get("prefect.worker.name", worker) == worker


def _runs(
    client: SyncPrefectClient,
    state: FlowRunFilterState,
    sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_DESC,
    limit: int = 200,
) -> list[FlowRun]:
    """Return the pool's runs in the given states, the newest first unless ``sort`` says otherwise."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        sort=sort,
        limit=limit,
    )


def process_of(run: FlowRun) -> psutil.Process | None:
    """Return the run's process if it is alive. Process ids are reused, so its environment must name the run."""
    with suppress(psutil.Error, ValueError, TypeError):
        process = psutil.Process(int(run.infrastructure_pid or ""))
        if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id) and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def end_processes(runs: Sequence[FlowRun]) -> None:
    """Kill the processes of runs whose worker was killed: they have their own sessions and would continue unobserved.

    By SIGKILL, as the worker does it: at SIGTERM a run would report a crash that looks like its own failure, and would
    not be rescheduled. The database survives a kill, and the run's own children exit with it.
    """
    processes = [process for run in runs if (process := process_of(run)) is not None]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=GRACE_SECONDS)


def skip_overdue(client: SyncPrefectClient) -> int:
    """Cancel scheduled runs that came due while nothing ran, except one for each experiment; return their number.

    All of them would start at once, and all but one would end as Cancelled.
    """
    interrupted = _runs(client, _named("AwaitingRetry"))
    planned = _runs(client, _named("Scheduled", "Late"), sort=FlowRunSort.EXPECTED_START_TIME_ASC)
    skipped = surplus(interrupted, [run for run in planned if run.auto_scheduled], datetime.now(UTC))
    for run in skipped:
        message = "Was due while `cyclealign up` was stopped; another run of the same experiment is started instead."
        client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
    return len(skipped)


def surplus(interrupted: Sequence[FlowRun], planned: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """Return the planned runs to cancel at a start.

    An interrupted run goes before those of the same experiment, or of the same job; else the first overdue one goes.
    Runs that become due before the worker has taken its first run are cancelled as well if another one goes first.

    Args:
        planned: runs of schedules, by their time.
    """
    taken, cancelled = {_work_of(run) for run in interrupted}, []
    for run in planned:
        if _work_of(run) in taken and _due(run, now + WORKER_START):
            cancelled.append(run)
        elif _due(run, now):
            taken.add(_work_of(run))
    return cancelled


def _named(*names: str) -> FlowRunFilterState:
    return FlowRunFilterState(name=FlowRunFilterStateName(any_=list(names)))


def _work_of(run: FlowRun) -> tuple[UUID | None, str]:
    """Return the work at which one run may be at a time: an experiment, or a job, which is a flow of its own."""
    config = run.parameters.get("config")
    experiment = config.get("experiment", "") if isinstance(config, dict) else ""
    return run.flow_id, str(experiment)


def _due(run: FlowRun, by: datetime) -> bool:
    return run.expected_start_time is not None and run.expected_start_time < by
