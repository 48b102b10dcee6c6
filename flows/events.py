"""Events for automations: notifications, runs of other deployments."""

from prefect.events import emit_event

STOPPED = "cyclealign.experiment.stopped"


def resource_of(experiment: str) -> dict[str, str]:
    """Return the resource of an experiment's events."""
    return {
        "prefect.resource.id": f"cyclealign.experiment.{experiment}",
        "prefect.resource.name": experiment,
    }


def report_stop(experiment: str, reason: str) -> None:
    """Emit the event that the experiment has reached a limit of the section `stop`."""
    emit_event(STOPPED, resource=resource_of(experiment), payload={"experiment": experiment, "reason": reason})
