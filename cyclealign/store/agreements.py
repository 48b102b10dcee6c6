"""Agreements of policy and judge on the prompts of a round."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import Row, insert, require_open


class AgreementStore(Repository):
    """Agreements between policy and judge."""

    def record(self, round_id: int, rows: Sequence[records.Agreement]) -> None:
        """Record agreements, all or none; of an existing one only the weight is replaced.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            values = [_agreement_row(round_id, row) for row in rows]
            if values:
                statement = insert(session, tables.Agreement)
                weight = {"weight": statement.excluded.weight}
                keys = ["round_id", "prompt_id"]
                session.execute(statement.on_conflict_do_update(index_elements=keys, set_=weight), values)

    def by_prompt(self, round_id: int) -> dict[str, records.Agreement]:
        """Return the agreements of the round by prompt id, in the order of the round's prompts."""
        with self._database.reading() as session:
            return {row.prompt_id: row for row in read_agreements(session, round_id)}


def read_agreements(
    session: Session, round_id: int, prompt_ids: Sequence[str] | None = None
) -> list[records.Agreement]:
    """Return the agreements on the round's prompts, or on those named, in the order of the prompts."""
    agreement, drawn = tables.Agreement, tables.RoundPrompt
    query = (
        select(agreement)
        .join(drawn, (drawn.round_id == agreement.round_id) & (drawn.prompt_id == agreement.prompt_id))
        .where(agreement.round_id == round_id)
        .order_by(drawn.purpose, drawn.position)
    )
    found = session.scalars(query if prompt_ids is None else query.where(agreement.prompt_id.in_(prompt_ids)))
    return [
        records.Agreement(
            prompt_id=row.prompt_id,
            order=tuple(row.agreed),
            lcs_length=row.lcs_length,
            answers=row.answers,
            chance=row.chance_probability,
            tau=row.tau,
            weight=row.weight,
        )
        for row in found
    ]


def _agreement_row(round_id: int, row: records.Agreement) -> Row:
    return {
        "round_id": round_id,
        "prompt_id": row.prompt_id,
        "agreed": list(row.order),
        "lcs_length": row.lcs_length,
        "answers": row.answers,
        "chance_probability": row.chance,
        "tau": row.tau,
        "weight": row.weight,
    }
