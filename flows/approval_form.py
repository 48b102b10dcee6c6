"""Approval by a form: the run is suspended, so that its process ends, until somebody resumes it from its page.

Prefect starts the flow anew on *Resume*. The decision is stored before anything else is done, and counts from then on
whatever becomes of the run.
"""

from itertools import count
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from cyclealign.evaluation.round_page import paragraph
from cyclealign.records import Approval, Choice
from cyclealign.store import Store
from flows.run_identity import this_run

LATER: Literal["decide later"] = "decide later"
CHOICES: dict[str, Choice] = {"accept": "accept", "reject": "reject", "stop the experiment": "stop"}
UNNAMED = "somebody in the Prefect UI"


class DecisionForm(RunInput):
    """The form of a suspended run. All fields have defaults, so that `cyclealign approve` can resume the run."""

    decision: Literal["decide later", "accept", "reject", "stop the experiment"] = Field(LATER, title="Decision")
    comment: str = Field("", title="Comment", description="For the history.", max_length=2000)
    name: str = Field("", title="Your name", description="For the history.", max_length=200)


def ask_for_decision(store: Store, approval: Approval) -> None:
    """Suspend this run, or, once it has been resumed, store what the form says; ask again for a form left as it was.

    Each form of a run has its own key, the same in every process of the run: Prefect answers a key that was resumed
    with what was submitted.
    """
    page = DecisionForm.with_initial_data(description=words(approval))
    for attempt in count():
        filled = suspend_flow_run(wait_for_input=page, timeout=None, key=f"approval-{approval.round_id}-{attempt}")
        if choice := CHOICES.get(filled.decision):
            name = filled.name.strip() or UNNAMED
            store.approvals.decide(approval.experiment, choice, filled.comment.strip(), name)
            return


def words(approval: Approval) -> str:
    """Return the text above the fields."""
    suggested = approval.verdict.replace("_", " ")
    head = f"## Round {approval.number} waits for your decision"
    evidence = paragraph(f"The evidence suggests: {suggested}. {approval.reason}")
    return f"{head}\n\n{evidence}\n\nThe report is among the artifacts of this run. *Stop* leaves the round open."


def asked_elsewhere(approval: Approval) -> bool:
    """Return whether another run is suspended with the form of this round."""
    return approval.run != this_run() and is_suspended(approval.run)


def is_suspended(run: str) -> bool:
    """Return whether the run exists on this server and is suspended."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run)).state
    except (ValueError, ObjectNotFound):  # the round was evaluated without Prefect, or the run was deleted
        return False
    return state is not None and state.name == "Suspended"


def resume(run: str) -> bool:
    """Resume a suspended run with an empty form, since the decision is stored; return whether it was suspended."""
    try:
        if not is_suspended(run):
            return False
        with get_client(sync_client=True) as client:
            client.resume_flow_run(UUID(run))
    except PrefectException:
        return False
    return True
