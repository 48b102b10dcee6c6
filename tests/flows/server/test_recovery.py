"""Recovery at a start: runs that are rescheduled, and runs that are left alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.paths import ROOT

ME = "cyclealign-here"
Start = Callable[..., UUID]


@pytest.fixture
def client(prefect_server: str, tmp_path: Path) -> Iterator[Any]:
    """A client of the tests' server, where the work pool is there."""
    from flows.server.deploy import client_of, create_pool
    from flows.server.environment import ServerConfig

    server = ServerConfig(prefect_server.removesuffix("/api"), tmp_path, tmp_path, external=True)
    with client_of(server) as opened:
        create_pool(opened)
        yield opened


@pytest.fixture
def start(client: Any) -> Iterator[Start]:
    """Make a run of a deployment of this test alone, in a state, taken by a worker."""
    from prefect.states import Pending

    flow_id = client.create_flow_from_name("interrupted")
    deployment_id = client.create_deployment(flow_id, f"test-{uuid4()}", work_pool_name="local")

    def make(state: Any, worker: str | None = ME) -> UUID:
        run = client.create_flow_run_from_deployment(deployment_id, state=Pending())
        if worker:
            client.update_flow_run_labels(run.id, {"prefect.worker.name": worker})
        client.set_flow_run_state(run.id, state, force=True)
        return UUID(str(run.id))

    yield make
    client.delete_deployment(deployment_id)


def name_of_state(client: Any, run_id: UUID) -> str:
    return str(client.read_flow_run(run_id).state.name)


def test_runs_of_this_worker_go_on_and_those_of_other_machines_are_left_alone(client: Any, start: Start) -> None:
    """Prevents a start on one machine from crashing what another one is at work on."""
    from prefect.states import Running

    from flows.server.recovery import reschedule_interrupted

    mine, theirs = start(Running()), start(Running(), worker="cyclealign-elsewhere")
    assert [run.id for run in reschedule_interrupted(client, ME, "stopped")] == [mine]
    states = [each.name for each in client.read_flow_run_states(mine)]
    assert states[-2:] == ["Crashed", "AwaitingRetry"]
    assert name_of_state(client, theirs) == "Running"


def test_a_run_that_was_cut_off_while_it_waited_for_people_goes_on(client: Any, start: Start) -> None:
    """Prevents a paused run without a process from standing until its time is over, and then failing."""
    from prefect.states import Paused

    from flows.server.recovery import reschedule_interrupted

    run_id = start(Paused(timeout_seconds=600, pause_key="a pause"))
    assert [run.id for run in reschedule_interrupted(client, ME, "stopped")] == [run_id]
    assert name_of_state(client, run_id) == "AwaitingRetry"


def test_a_run_that_was_being_cancelled_is_cancelled(client: Any, start: Start) -> None:
    """Prevents a run that the user has given up from coming back."""
    from prefect.states import Cancelling

    from flows.server.recovery import reschedule_interrupted

    run_id = start(Cancelling())
    assert reschedule_interrupted(client, ME, "stopped") == []
    assert name_of_state(client, run_id) == "Cancelled"


def test_a_vanished_run_goes_on_and_one_that_crashed_by_itself_does_not(client: Any, start: Start) -> None:
    """Prevents a run that crashes every time from being started again at every start."""
    from prefect.states import Crashed

    from flows.server.deploy import VANISHED
    from flows.server.recovery import reschedule_interrupted

    vanished, crashed = start(Crashed(message=VANISHED)), start(Crashed(message="Out of memory."))
    assert [run.id for run in reschedule_interrupted(client, ME, "stopped")] == [vanished]
    assert name_of_state(client, crashed) == "Crashed"


def test_a_run_whose_process_lives_is_left_alone_until_it_is_ended(client: Any, start: Start) -> None:
    """Prevents two processes at work on one run; a process id that was given again proves nothing."""
    from prefect.states import Running

    from flows.server.recovery import end_processes, interrupted_runs, process_of, reschedule_interrupted

    run_id, other_id = start(Running()), start(Running())
    environment = {"PREFECT__FLOW_RUN_ID": str(run_id)}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment) as process:
        for each in (run_id, other_id):
            client.request("PATCH", f"/flow_runs/{each}", json={"infrastructure_pid": str(process.pid)})
        assert [run.id for run in reschedule_interrupted(client, ME, "stopped")] == [other_id]
        client.set_flow_run_state(other_id, _completed(), force=True)
        end_processes(interrupted_runs(client, ME))
        assert process_of(client.read_flow_run(run_id)) is None
    assert [run.id for run in reschedule_interrupted(client, ME, "stopped")] == [run_id]


def _completed() -> Any:
    from prefect.states import Completed

    return Completed()


def test_the_automation_is_made_once_and_stays_as_the_user_set_it(client: Any) -> None:
    """Prevents a second automation at each start, and one that comes back to life after it was switched off."""
    from flows.server.deploy import AUTOMATION, watch_heartbeats

    def ours() -> list[Any]:
        return [each for each in client.read_automations() if each.name == AUTOMATION]

    watch_heartbeats(client, fresh_server=True)
    watch_heartbeats(client, fresh_server=True)
    (only,) = ours()
    assert only.trigger.match_related.model_dump() == {
        "prefect.resource.role": "tag",
        "prefect.resource.id": "prefect.tag.cyclealign",
    }
    client.request("PATCH", f"/automations/{only.id}", json={"enabled": False})
    watch_heartbeats(client, fresh_server=True)
    assert [(each.id, each.enabled) for each in ours()] == [(only.id, False)]


def test_a_pool_of_another_kind_is_refused_by_name(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a worker that starts and never takes a run."""
    from prefect.client.schemas.actions import WorkPoolCreate

    from flows.server import deploy
    from flows.server.environment import CannotStart

    client.create_work_pool(WorkPoolCreate(name="images", type="docker", base_job_template={}))
    monkeypatch.setattr(deploy, "POOL", "images")
    with pytest.raises(CannotStart, match="docker"):
        deploy.create_pool(client)


def test_of_the_runs_that_came_due_meanwhile_one_of_each_experiment_is_started() -> None:
    """Prevents a night of planned runs from starting at once, and one experiment's backlog from stopping another's."""
    from prefect.client.schemas.objects import FlowRun

    from flows.server.recovery import surplus

    now, flow = datetime.now(UTC), uuid4()

    def run(experiment: str, minutes_ago: float, flow_id: UUID = flow) -> FlowRun:
        parameters = {"config": {"experiment": experiment}} if experiment else {}
        due = now - timedelta(minutes=minutes_ago)
        return FlowRun(flow_id=flow_id, parameters=parameters, expected_start_time=due, name=f"{experiment}-{due}")

    first, second, soon = run("a", 20), run("a", 10), run("a", -0.5)
    other, resumed, later = run("b", 15), run("c", 5), run("c", -60)
    job = run("", 8, uuid4())
    job_again = run("", 7, job.flow_id)
    planned = [first, other, second, job, job_again, resumed, soon, later]
    assert surplus([run("c", 30)], planned, now) == [second, job_again, resumed, soon]


def test_a_deployment_of_an_earlier_version_loses_its_limit(client: Any, tmp_path: Path) -> None:
    """Prevents a server that still cancels paused runs after an upgrade, since it kept the deployment's limit."""
    from flows.server.deploy import deploy
    from flows.server.environment import ServerConfig

    server = ServerConfig(str(client.api_url).removesuffix("/api/").removesuffix("/api"), tmp_path, ROOT, external=True)
    flow_id = client.create_flow_from_name("align")
    old = client.create_deployment(
        flow_id, "align", work_pool_name="local", concurrency_limit=1, parameters={}, entrypoint="flows.align.align"
    )
    assert client.read_deployment(old).global_concurrency_limit.limit == 1
    deploy(server)
    new = client.read_deployment(old)
    assert new.global_concurrency_limit is None
    assert client.read_deployment_by_name("align/demo").global_concurrency_limit is None
    assert client.read_deployment_by_name("pld/pld").global_concurrency_limit.limit == 1
