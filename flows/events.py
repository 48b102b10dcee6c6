"""Events for automations: notifications, runs of other deployments."""

from prefect.events import emit_event

from cyclealign.loop.ports import EventKind
from cyclealign.records import Round

STOPPED = "cyclealign.experiment.stopped"
VERDICT = "cyclealign.round"  # .accepted, .rolled-back, .undecided, .waiting


def resource_of(experiment: str) -> dict[str, str]:
    """Return the resource of an experiment's events."""
    return {
        "prefect.resource.id": f"cyclealign.experiment.{experiment}",
        "prefect.resource.name": experiment,
    }


def report_stop(experiment: str, reason: str) -> None:
    """Emit the event that the experiment has reached a limit of the section `stop`."""
    emit_event(STOPPED, resource=resource_of(experiment), payload={"experiment": experiment, "reason": reason})


def report_event(kind: EventKind, round_: Round, reason: str) -> None:
    """Emit the event ``cyclealign.KIND``."""
    payload = {"experiment": round_.experiment, "round": round_.number, "reason": reason}
    emit_event(f"cyclealign.{kind}", resource=resource_of(round_.experiment), payload=payload)


def report_round(round_: Round, verdict: str | None, reason: str = "") -> None:
    """Emit the event of a round's verdict, so that an automation can start what follows."""
    if verdict is not None:
        event = f"{VERDICT}.{verdict.replace('_', '-')}"
        payload = {"experiment": round_.experiment, "round": round_.number, "reason": reason}
        emit_event(event, resource=resource_of(round_.experiment), payload=payload)
