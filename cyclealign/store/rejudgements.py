"""Stored rounds judged again by another judge."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import in_parts, insert, now

NOTHING = records.Spending()


class RejudgementStore(Repository):
    """Rejudgements and their cost."""

    def record(self, made: records.Rejudgement) -> None:
        """Record the result of a rejudgement; an earlier result with the same id is replaced."""
        row = _row(made)
        with self._database.writing() as session:
            statement = insert(session, tables.Rejudgement).values(row)
            changed = {name: value for name, value in row.items() if name != "id"}
            session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))

    def spending(
        self, experiment: str, round_id: int | None = None, keys: Collection[str] | None = None
    ) -> records.Spending:
        """Return the cost of rejudging: of the experiment, of one round, or of these requests.

        Requests that a round asked for its own labels are not counted.
        """
        call = tables.JudgeCall
        sums = (call.attempts, call.prompt_tokens + call.completion_tokens, call.cost_usd)
        statement = (
            select(*(func.coalesce(func.sum(each), 0) for each in sums))
            .join(tables.Experiment, tables.Experiment.id == call.experiment_id)
            .where(tables.Experiment.name == experiment, call.purpose == "rejudge")
        )
        if round_id is not None:
            statement = statement.where(call.round_id == round_id)
        parts = [statement]
        if keys is not None:
            parts = [statement.where(call.key.in_(part)) for part in in_parts(sorted(keys))]
        with self._database.reading() as session:
            found = [session.execute(part).one() for part in parts]
        return sum((records.Spending(int(calls), int(tokens), float(usd)) for calls, tokens, usd in found), NOTHING)


def read_rejudgements(session: Session, round_id: int) -> list[dict[str, Any]]:
    """Return the rejudgements of the round as JSON values, the oldest first, for the history."""
    table = tables.Rejudgement
    found = session.scalars(select(table).where(table.round_id == round_id).order_by(table.made_at, table.id))
    names = [column.name for column in table.__table__.columns if column.name != "round_id"]
    return [{**{name: getattr(row, name) for name in names}, "made_at": row.made_at.isoformat()} for row in found]


def _row(made: records.Rejudgement) -> dict[str, Any]:
    flips, tau = made.flips, made.tau
    return {
        "id": made.id,
        "round_id": made.round_id,
        "model": made.model,
        "template_hash": made.template_hash,
        "demonstrations": made.demonstrations,
        "lists": made.lists,
        "unread": made.unread,
        "pairs": made.pairs,
        "flips": flips.value if flips else None,
        "flips_low": flips.low if flips else None,
        "flips_high": flips.high if flips else None,
        "tau": tau.value,
        "tau_low": tau.low,
        "tau_high": tau.high,
        "calls": made.cost.calls,
        "tokens": made.cost.tokens,
        "cost_usd": made.cost.usd,
        "made_at": now(),
    }
