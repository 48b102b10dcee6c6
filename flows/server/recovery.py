"""Flow runs that were interrupted together with their worker: find them and let them resume.

Prefect leaves such a run in state Running for good. Ctrl-C on `cyclealign up` is meant to free the machine, not to
cancel the run. So the run is set to Crashed, which explains on its page what happened, and then to AwaitingRetry, so
that the next worker takes it: the same run with the same parameters and page. The flow resumes from the database and
repeats nothing. To drop the run, cancel it in the UI.
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

# A paused run keeps its process, so one without a process was interrupted during its pause.
ACTIVE_STATES = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.PAUSED]
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
    return [run for run in (*active, *vanished) if claimed_by(run, worker)]


def claimed_by(run: FlowRun, worker: str) -> bool:
    """Return whether the worker took the run. A run without a worker's label was being taken when its worker exited."""
    return run.labels.get("prefect.worker.name", worker) == worker


def _runs(client: SyncPrefectClient, state: FlowRunFilterState, limit: int = 200) -> list[FlowRun]:
    """Return the pool's newest runs in the given states."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=state),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
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
    """Cancel scheduled runs that are overdue, if an interrupted run of the same deployment waits; return their number.

    A deployment allows one run and cancels the others, so an overdue one could take the interrupted run's place. Runs
    that become due before the worker has taken its first run are skipped as well.
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
    deadline = datetime.now(UTC) + WORKER_START
    skipped = [run for run in overdue if run.auto_scheduled and _due(run, deadline)]
    for run in skipped:
        message = "Was due while `cyclealign up` was stopped; the interrupted run resumes first."
        client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
    return len(skipped)


def _due(run: FlowRun, by: datetime) -> bool:
    return run.expected_start_time is not None and run.expected_start_time < by
