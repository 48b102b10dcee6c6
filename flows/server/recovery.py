"""Flow runs that were cut off with their worker: how they are found, and how they are made to go on.

Prefect leaves such a run "Running" for ever. It could be set to Cancelled, but whoever presses Ctrl-C on
`cyclealign up` wants the machine back, and has not decided against the run. So the run is set to Crashed, which says
on its page what happened, and then to AwaitingRetry, so that the next worker takes it up: the same run, with the same
parameters and the same page. The flow finds in the database where it was and repeats nothing. Who does not want that
cancels the waiting run in the UI.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
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

# A paused run of ours holds its process, so one without a process was cut off in its pause.
AT_WORK = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.PAUSED]
GRACE_SECONDS = 5.0
STARTING = timedelta(minutes=1)


def reschedule_interrupted(client: SyncPrefectClient, worker: str, why: str) -> list[FlowRun]:
    """Make the runs that this worker was at work on, and whose process is gone, wait for the next worker.

    A run that somebody was cancelling is cancelled. Returns those that will go on. The worker must have ended: a run
    without a process would otherwise be one that is just being started.
    """
    going_on = []
    for run in left_by(client, worker):
        if process_of(run) is not None:
            continue
        if run.state_type is StateType.CANCELLING:
            client.set_flow_run_state(run.id, Cancelled(message=why), force=True)
            continue
        # Early, so that a queue which has grown meanwhile stands behind it.
        since = run.expected_start_time or datetime.now(UTC)
        client.set_flow_run_state(run.id, Crashed(message=why), force=True)
        waiting: State[None] = AwaitingRetry(scheduled_time=since, message="It goes on with the next `make up`.")
        client.set_flow_run_state(run.id, waiting, force=True)
        going_on.append(run)
    return going_on


def left_by(client: SyncPrefectClient, worker: str) -> list[FlowRun]:
    """Runs of the worker that look as if they were at work, and those that the automation has given up."""
    at_work = _runs(client, FlowRunFilterState(type=FlowRunFilterStateType(any_=AT_WORK)))
    crashed = _runs(client, FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])))
    vanished = [run for run in crashed if run.state and run.state.message == VANISHED]
    return [run for run in (*at_work, *vanished) if taken_by(run, worker)]


def taken_by(run: FlowRun, worker: str) -> bool:
    """Whether the worker took the run. One that no worker has labelled yet was being taken as its worker ended."""
    return run.labels.get("prefect.worker.name", worker) == worker


def _runs(client: SyncPrefectClient, state: FlowRunFilterState, limit: int = 200) -> list[FlowRun]:
    """The pool's newest runs in some states."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )


def process_of(run: FlowRun) -> psutil.Process | None:
    """The run's own process, if it lives. Process ids are used again, so its environment must name the run."""
    with suppress(psutil.Error, ValueError, TypeError):
        process = psutil.Process(int(run.infrastructure_pid or ""))
        if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id) and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def end_processes(runs: Sequence[FlowRun]) -> None:
    """End processes of runs whose worker was killed: they are in sessions of their own, and would go on unwatched.

    By SIGKILL, as the worker itself does it: at SIGTERM a run would report a crash, which looks like one of its own
    making, and would not be put back. Its database is made for that, and its own children end with it.
    """
    processes = [process for run in runs if (process := process_of(run)) is not None]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=GRACE_SECONDS)


def make_way(client: SyncPrefectClient) -> int:
    """Skip scheduled runs that fell due while nobody worked, where an interrupted run of the same deployment waits.

    The deployment lets one run work and cancels the others. It must not be chance that the interrupted one is chosen;
    so those go too that fall due before the worker, still to be started, has surely taken its first run.
    """
    waiting = FlowRunFilterState(name=FlowRunFilterStateName(any_=["AwaitingRetry"]))
    deployments = {run.deployment_id for run in _runs(client, waiting) if run.deployment_id}
    if not deployments:
        return 0
    overdue = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled", "Late"])),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    at_work_by = datetime.now(UTC) + STARTING
    skipped = [run for run in overdue if run.auto_scheduled and _due(run, at_work_by)]
    for run in skipped:
        message = "Fell due while `cyclealign up` was stopped; the run that was interrupted goes first."
        client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
    return len(skipped)


def _due(run: FlowRun, by: datetime) -> bool:
    return run.expected_start_time is not None and run.expected_start_time < by
