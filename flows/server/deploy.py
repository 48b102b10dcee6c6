"""What is put on the Prefect server: the work pool, the automation for vanished runs, and the deployments."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.process import ProcessWorker

from cyclealign.files import CHECKOUT
from flows.server.environment import CannotStart, ServerConfig

POOL = "local"
TAG = "cyclealign"
AUTOMATION = "cyclealign: a run whose process vanished is Crashed"
VANISHED = "The run's process has vanished: no heartbeat for 90 seconds. Start it again; it goes on from where it was."
# Three heartbeats of PREFECT_FLOWS_HEARTBEAT_FREQUENCY in prefect.yaml.
HEARTBEATS_MISSED = timedelta(seconds=90)


def client_of(place: ServerConfig) -> SyncPrefectClient:
    """A client of the place's server, with the user's credentials where the server wants some."""
    api = get_current_settings().api
    return SyncPrefectClient(
        place.api,
        auth_string=api.auth_string.get_secret_value() if api.auth_string else None,
        api_key=api.key.get_secret_value() if api.key else None,
    )


def create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool of this machine's processes, unless it is there.

    Raises:
        CannotStart: there is a pool of that name for another kind of worker.
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


def other_workers(client: SyncPrefectClient, place: ServerConfig) -> list[str]:
    """Names of the workers that serve the same pool now; they take runs too."""
    workers = client.read_workers_for_work_pool(POOL)
    return [each.name for each in workers if each.name != place.worker and each.status == "ONLINE"]


def watch_heartbeats(client: SyncPrefectClient, fresh_server: bool) -> None:
    """Create the automation that marks our vanished runs, once; what users changed in it stays.

    Its timers outlive a restart of the server, and would fire at once for runs that ended or went on meanwhile. So at
    a fresh server's start the automation is made anew, as it was: timers belong to the old one and go with it.
    """
    found = next((each for each in client.read_automations() if each.name == AUTOMATION), None)
    if found is None:
        client.create_automation(heartbeat_automation())
    elif fresh_server and found.enabled:
        client.delete_automation(found.id)
        client.create_automation(AutomationCore.model_validate(found.model_dump(exclude={"id"})))


def heartbeat_automation() -> AutomationCore:
    """After one heartbeat of a run of ours there must be another event of it in time, or its process is gone."""
    return AutomationCore(
        name=AUTOMATION,
        description="Made by `cyclealign up`. Disable it here if you do not want it; deleted, it comes back.",
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
    """``prefect.yaml`` of the current folder, else that of the checkout which this package belongs to.

    Raises:
        CannotStart: there is neither.
    """
    for place in (folder, CHECKOUT):
        if (place / "prefect.yaml").is_file():
            return place / "prefect.yaml"
    raise CannotStart("There is no prefect.yaml here. Run `make up` in the folder of the cyclealign repository.")


def deploy(place: ServerConfig) -> None:
    """Register the deployments by Prefect's own command: unlike `serve()`, it keeps the schedules made in the UI.

    Raises:
        CannotStart: it failed; the message holds what it said.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file"]
    done = subprocess.run(
        [*command, str(deployments_file(place.folder))],
        env=place.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = place.log_of("deploy")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise CannotStart(f"The deployments could not be registered. What was said is in {log}:\n{last}")
