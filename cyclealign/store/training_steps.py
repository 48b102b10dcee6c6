"""The figures of training steps, by round."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.database import Database
from cyclealign.store.statements import insert_all, require_owner


class TrainingStepStore:
    """The figures of the steps of each round's training."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, round_id: int, owner: str, steps: Sequence[records.TrainingStep]) -> None:
        """Record consecutive steps in place of those from the first of them on: they are of an earlier attempt.

        Raises:
            LeaseLost: the round is closed, or another run holds it.
        """
        if not steps:
            return
        table = tables.TrainingStep
        with self._database.writing() as session:
            require_owner(session, round_id, owner)
            session.execute(delete(table).where(table.round_id == round_id, table.step >= steps[0].step))
            insert_all(session, table, [{"round_id": round_id, **asdict(step)} for step in steps])

    def of_round(self, round_id: int) -> list[records.TrainingStep]:
        """Return the steps of the round's training in their order."""
        with self._database.reading() as session:
            return read_training_steps(session, round_id)


def read_training_steps(session: Session, round_id: int) -> list[records.TrainingStep]:
    """Return the steps of the round's training in their order."""
    table = tables.TrainingStep
    rows = session.scalars(select(table).where(table.round_id == round_id).order_by(table.step))
    return [
        records.TrainingStep(row.step, **{name: getattr(row, name) for name in records.STEP_FIGURES}) for row in rows
    ]
