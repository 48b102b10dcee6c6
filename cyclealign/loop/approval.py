"""Approval: a round that waits for a person, and what follows from the decision. The database keeps both."""

from cyclealign.errors import AwaitsApproval, ExperimentStopped
from cyclealign.loop.lease import LEASE_SECONDS, may_be_alive
from cyclealign.loop.session import RoundSession
from cyclealign.loop.verdict import Decision as Suggestion
from cyclealign.records import Approval, Decision, Round

WAITS = "waits for a decision"


def settle(session: RoundSession, round_: Round, suggested: Suggestion) -> str:
    """Close an evaluated round by a person's decision, or by its evidence if nobody is to be asked.

    Returns:
        The verdict, or that the round waits.
    """
    store, asks = session.store, session.config.acceptance.approval == "ask"
    if asks:
        assert suggested.verdict != "abandoned"  # rounds are given up by a command, not by their evidence
        store.approvals.ask(round_.id, session.owner, session.run, suggested.verdict, suggested.reason, suggested.kept)
    approval = store.approvals.waiting(round_.experiment)
    if approval is not None and approval.decision is not None:
        return close(session, approval, approval.decision)
    if asks:
        return WAITS
    store.rounds.close(round_.id, session.owner, suggested.verdict, suggested.reason, suggested.kept)
    return suggested.verdict


def close(session: RoundSession, approval: Approval, decision: Decision) -> str:
    """Close the round as decided; a decision to stop leaves it open."""
    if decision.choice == "stop":
        return WAITS
    accepted = decision.choice == "accept"
    verdict = "accepted" if accepted else "rolled_back"
    session.store.rounds.close(
        approval.round_id, session.owner, "accepted" if accepted else "rolled_back", in_words(approval, decision)
    )
    return verdict


def in_words(approval: Approval, decision: Decision) -> str:
    """Return a decision as the reason of a verdict, with what the evidence suggested."""
    comment = f": {decision.comment}" if decision.comment else ""
    done = "accepted" if decision.choice == "accept" else "rejected"
    suggested = approval.verdict.replace("_", " ")
    return f"{done} by {decision.decided_by}{comment} (the evidence suggested {suggested}: {approval.reason})"


def leave_to_people(session: RoundSession, round_: Round) -> None:
    """Report on a round that waits, and end the run; nothing if the round is closed.

    Raises:
        AwaitsApproval: nobody has decided yet.
        ExperimentStopped: a person decided to stop.
    """
    if approval := session.store.approvals.waiting(round_.experiment):
        session.ports.publish(session.store, round_)
        raise reason_to_end(approval)


def take_up_decision(session: RoundSession) -> bool:
    """Close the round that waited, if a person has decided, without loading policy or judge; return whether it did.

    Without a decision, a run whose settings ask nobody goes on with the round as with any other.

    Raises:
        AwaitsApproval: nobody has decided yet.
        ExperimentStopped: a person decided to stop.
        ExperimentBusy: another run holds the round.
    """
    store, experiment = session.store, session.config.experiment
    approval = store.approvals.waiting(experiment)
    if approval is None:
        return False
    if approval.decision is None and session.config.acceptance.approval == "auto":
        return False
    if approval.decision is None or approval.decision.choice == "stop":
        raise reason_to_end(approval)
    store.experiments.require_active(experiment)
    store.rounds.take_over(approval.round_id, session.owner, LEASE_SECONDS, may_be_alive)
    close(session, approval, approval.decision)
    session.ports.publish(store, store.rounds.get(experiment, approval.number))
    return True


def reason_to_end(approval: Approval) -> AwaitsApproval | ExperimentStopped:
    """Return the error with which the run ends: nobody has decided, or a person decided to stop."""
    command = f"`cyclealign approve {approval.experiment} --accept` or `--reject`"
    round_name = f"Round {approval.number} of '{approval.experiment}'"
    if (decision := approval.decision) is None:
        suggested = approval.verdict.replace("_", " ")
        return AwaitsApproval(
            f"{round_name} waits for your decision (the evidence suggests {suggested}: {approval.reason}). Decide with "
            f"{command}, then run the experiment again; what is done is kept.",
            approval.round_id,
        )
    comment = f" ({decision.comment})" if decision.comment else ""
    return ExperimentStopped(
        f"{round_name} was stopped by {decision.decided_by} on {decision.decided_at:%Y-%m-%d %H:%M} UTC{comment}. It "
        f"stays open. To go on, decide anew: {command}."
    )
