"""Automations on the events of experiments, made by `cyclealign automate`."""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.server.deploy import TAG
from flows.server.environment import CannotStart

# In the order of the form of an automation; see docs/prefect-ui.md for the meaning.
EVENTS = (
    "cyclealign.round.accepted",
    "cyclealign.round.rolled-back",
    "cyclealign.round.undecided",
    "cyclealign.budget-reached",
    "cyclealign.judge-untrusted",
    "cyclealign.prompts-low",
    "cyclealign.experiment.stopped",
)
ACCEPTED = EVENTS[0]
SUBJECT = "{{ event.event }}: {{ event.payload.experiment }}"
ROUND = "{% if event.payload.round %}, round {{ event.payload.round }}{% endif %}"
BODY = f"Experiment {{{{ event.payload.experiment }}}}{ROUND}: {{{{ event.payload.reason }}}}"


def notify(client: SyncPrefectClient, block: str, events: list[str], experiment: str | None) -> str:
    """Make the automation that sends events through a notification block; return its name.

    Args:
        block: ``type/name``, such as ``slack-webhook/team``.
        events: names of `EVENTS`.
        experiment: only of this experiment; None: of all.

    Raises:
        CannotStart: there is no such block.
    """
    kind, _, name = block.partition("/")
    try:
        document = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise CannotStart(
            f"There is no block '{block}'. Create a notification under Blocks in the Prefect UI and give its type and "
            "name, such as slack-webhook/team; `prefect block ls` lists them."
        ) from None
    action = SendNotification(block_document_id=UUID(str(document.id)), subject=SUBJECT, body=BODY)
    title = f"cyclealign: notify {block}{of(experiment)}"
    return put(client, automation(title, events, experiment, action))


def distill(client: SyncPrefectClient, deployment: str, experiment: str | None, parameters: dict[str, Any]) -> str:
    """Make the automation that starts a deployment after each accepted round; return its name.

    Args:
        deployment: ``flow/deployment``, such as ``pld/pld``.
        parameters: of the run; those left out take the deployment's.

    Raises:
        CannotStart: there is no such deployment.
    """
    try:
        found = client.read_deployment_by_name(deployment)
    except ObjectNotFound:
        raise CannotStart(
            f"There is no deployment '{deployment}' on this server; `prefect deployment ls` lists them."
        ) from None
    action = RunDeployment(source="selected", deployment_id=found.id, parameters=parameters or None)
    title = f"cyclealign: run {deployment} after an accepted round{of(experiment)}"
    return put(client, automation(title, [ACCEPTED], experiment, action))


def of(experiment: str | None) -> str:
    """Return the part of a name that says of which experiment."""
    return f" of {experiment}" if experiment else ""


def automation(
    name: str, events: list[str], experiment: str | None, action: SendNotification | RunDeployment
) -> AutomationCore:
    """Return an automation that acts on each of the events."""
    return AutomationCore(
        name=name,
        description="Made by `cyclealign automate`, which replaces it; disable or delete it here.",
        tags=[TAG],
        trigger=EventTrigger(
            expect=set(events),
            match={"prefect.resource.id": f"cyclealign.experiment.{experiment or '*'}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[action],
    )


def put(client: SyncPrefectClient, made: AutomationCore) -> str:
    """Create the automation in place of one of the same name; return the name."""
    for existing in client.read_automations_by_name(made.name):
        client.delete_automation(existing.id)
    client.create_automation(made)
    return made.name
