"""Read the rows of approvals and decisions."""

from typing import Any, Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import records, tables

Suggested = Literal["accepted", "rolled_back", "undecided"]


def read_approval(session: Session, round_id: int) -> records.Approval | None:
    """Return the round's approval; None if it never waited for a person."""
    row = session.get(tables.Approval, round_id)
    if row is None:
        return None
    of_round = session.get_one(tables.Round, round_id)
    table = tables.Decision
    decided = session.scalars(select(table).where(table.round_id == round_id).order_by(table.id))
    return records.Approval(
        round_id,
        session.get_one(tables.Experiment, of_round.experiment_id).name,
        of_round.number,
        cast(Suggested, row.verdict),  # the table takes no other
        row.reason,
        row.run,
        row.asked_at,
        tuple(
            records.Decision(cast(records.Choice, each.choice), each.comment, each.decided_by, each.decided_at)
            for each in decided
        ),
    )


def approval_values(session: Session, round_id: int) -> dict[str, Any] | None:
    """Return the round's approval as JSON values, for the history; None if it never waited for a person."""
    approval = read_approval(session, round_id)
    if approval is None:
        return None
    return {
        "verdict": approval.verdict,
        "reason": approval.reason,
        "asked_at": approval.asked_at.isoformat(),
        "decisions": [
            {
                "choice": each.choice,
                "comment": each.comment,
                "decided_by": each.decided_by,
                "decided_at": each.decided_at.isoformat(),
            }
            for each in approval.decisions
        ],
    }
