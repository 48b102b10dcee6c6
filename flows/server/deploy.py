"""Register on the Prefect server: the work pool, the automation for vanished runs, and the deployments."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.process import ProcessWorker

from cyclealign.config import ExperimentConfig
from cyclealign.files import CHECKOUT
from flows.server import own_deployments
from flows.server.environment import CannotStart, ServerConfig

POOL = "local"
TAG = "cyclealign"
FLOW = "align"
HOUSEKEEPING = "housekeeping/housekeeping"
WEEKLY = "30 4 * * 0"
AUTOMATION = "cyclealign: a run whose process vanished is Crashed"
# Automations on existing servers hold this text, and `recovery` finds their runs by it: do not change it.
VANISHED = "The run's process has vanished: no heartbeat for 90 seconds. Start it again; it goes on from where it was."
# Three heartbeats of PREFECT_FLOWS_HEARTBEAT_FREQUENCY in prefect.yaml.
HEARTBEATS_MISSED = timedelta(seconds=90)


def client_of(server: ServerConfig) -> SyncPrefectClient:
    """Return a client of the server, with the user's credentials if there are any."""
    api = get_current_settings().api
    return SyncPrefectClient(
        server.api,
        auth_string=api.auth_string.get_secret_value() if api.auth_string else None,
        api_key=api.key.get_secret_value() if api.key else None,
    )


def create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool of this machine's processes, unless it exists.

    Raises:
        CannotStart: a pool of that name exists for another kind of worker.
    """
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        return
    if pool.type != "process":
        raise CannotStart(
            f"The work pool '{POOL}' on this Prefect server is of type '{pool.type}', and `cyclealign up` starts a "
            "worker of type 'process'. Delete or rename the pool under Work Pools, or use another server."
        )


def other_workers(client: SyncPrefectClient, server: ServerConfig) -> list[str]:
    """Return the names of the other workers that serve the pool now."""
    workers = client.read_workers_for_work_pool(POOL)
    return [worker.name for worker in workers if worker.name != server.worker and worker.status == "ONLINE"]


def watch_heartbeats(client: SyncPrefectClient, fresh_server: bool) -> None:
    """Create the automation that marks vanished runs, unless it exists; users' changes to it are kept.

    Its timers outlive a restart of the server and would fire at once for runs that ended or resumed meanwhile. So when
    the server has just been started, the automation is deleted, which deletes its timers, and recreated unchanged.
    """
    existing = next((one for one in client.read_automations() if one.name == AUTOMATION), None)
    if existing is None:
        client.create_automation(heartbeat_automation())
    elif fresh_server and existing.enabled:
        client.delete_automation(existing.id)
        client.create_automation(AutomationCore.model_validate(existing.model_dump(exclude={"id"})))


def heartbeat_automation() -> AutomationCore:
    """Return the automation: a run is Crashed if no event follows its heartbeat in time, since its process is gone."""
    return AutomationCore(
        name=AUTOMATION,
        description="Made by `cyclealign up`. To switch it off, disable it here; if deleted, it is created again.",
        tags=[TAG],
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=HEARTBEATS_MISSED,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=VANISHED)],
    )


def deployments_file(folder: Path) -> Path:
    """Return ``prefect.yaml`` of the folder, else that of the checkout that this package belongs to.

    Raises:
        CannotStart: neither exists.
    """
    for root in (folder, CHECKOUT):
        if (root / "prefect.yaml").is_file():
            return root / "prefect.yaml"
    raise CannotStart("There is no prefect.yaml here. Run `make up` in the folder of the cyclealign repository.")


def deploy(server: ServerConfig, name: str | None = None) -> list[str]:
    """Register the deployments with Prefect's command, which, unlike `serve()`, keeps the schedules made in the UI.

    Args:
        name: of a single deployment; default: all, the user's own among them.

    Returns:
        Warnings about the user's own deployments that were left as they were.

    Raises:
        CannotStart: it failed; the message quotes its output.
    """
    file, warnings = own_deployments.file_with_own(server, deployments_file(server.folder))
    which = ["--all"] if name is None else ["--name", name]
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *which, "--prefect-file", str(file)]
    done = subprocess.run(
        command,
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = server.log_of("deploy")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise CannotStart(f"The deployments could not be registered. The end of {log}:\n{last}")
    return warnings


def has_deployment(client: SyncPrefectClient, name: str) -> bool:
    """Return whether the server has the deployment ``flow/deployment``."""
    try:
        client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    return True


def offer_schedule(client: SyncPrefectClient) -> None:
    """Create the schedule of housekeeping, switched off; only for a new deployment, so that a deleted one stays away.

    It is no dry run: switched on, it deletes.
    """
    deployment = client.read_deployment_by_name(HOUSEKEEPING)
    schedule = {
        "schedule": {"cron": WEEKLY, "timezone": "UTC"},
        "active": False,
        "parameters": {"rules": {"dry_run": False}},
    }
    client.request(
        "POST", "/deployments/{id}/schedules", path_params={"id": deployment.id}, json=[schedule]
    ).raise_for_status()


def delete_removed(client: SyncPrefectClient, home: Path) -> None:
    """Delete the deployments that the user has removed, with their schedules."""
    for name in own_deployments.removed(home):
        with suppress(ObjectNotFound):
            client.delete_deployment(client.read_deployment_by_name(f"{FLOW}/{name}").id)


def keep_settings_of_schedules(client: SyncPrefectClient, defaults: Mapping[str, Any]) -> int:
    """Write the settings into the schedules of `align` that take the form's, if those are about to change.

    A schedule without parameters takes the defaults of the deployment, which a new version may have changed: up to
    0.2.0 they were the demo's.

    Args:
        defaults: the settings that the deployment is about to have.

    Returns:
        The number of schedules that got their settings written out.
    """
    try:
        deployment = client.read_deployment_by_name(f"{FLOW}/{FLOW}")
    except ObjectNotFound:
        return 0
    form = (deployment.parameter_openapi_schema or {}).get("properties", {}).get("config", {}).get("default")
    if not form or "config" in deployment.parameters or ExperimentConfig.model_validate(form).model_dump() == defaults:
        return 0
    bare = [schedule for schedule in deployment.schedules if "config" not in schedule.parameters]
    for schedule in bare:
        client.request(
            "PATCH",
            "/deployments/{id}/schedules/{schedule_id}",
            path_params={"id": deployment.id, "schedule_id": schedule.id},
            json={"parameters": {**schedule.parameters, "config": form}},
        )
    return len(bare)
