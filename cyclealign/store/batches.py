"""Batches of judge calls at the provider: written before they are submitted, so that none is submitted twice."""

from collections.abc import Sequence

from sqlalchemy import select, update

from cyclealign import records, tables
from cyclealign.store.connecting import Database
from cyclealign.store.writing import experiment_of, insert, now


class BatchMemory(Database):
    """The part of the store that knows which calls wait at the provider."""

    def begin_batch(self, round_id: int, token: str, keys: Sequence[str]) -> None:
        """Note that these calls are about to be submitted under this token."""
        row = {
            "experiment_id": experiment_of(round_id),
            "round_id": round_id,
            "token": token,
            "call_keys": list(keys),
            "status": "submitting",
            "submitted_at": now(),
        }
        with self.writing() as session:
            session.execute(insert(session, tables.JudgeBatch).values(**row))

    def name_batch(self, token: str, batch_id: str) -> None:
        """Note the provider's name of the batch."""
        self._change(token, batch_id=batch_id, status="submitted")

    def end_batch(self, token: str) -> None:
        """Note that its replies are recorded (or that it never came to be): nobody is to wait for it any more."""
        self._change(token, status="collected", collected_at=now())

    def open_batches(self, experiment: str) -> list[records.Batch]:
        """The batches of the experiment that are not collected, the oldest first."""
        batch = tables.JudgeBatch
        with self.reading() as session:
            found = session.scalars(
                select(batch)
                .join(tables.Experiment, tables.Experiment.id == batch.experiment_id)
                .where(tables.Experiment.name == experiment, batch.status != "collected")
                .order_by(batch.id)
            )
            return [records.Batch(row.token, row.batch_id, tuple(row.call_keys)) for row in found]

    def _change(self, token: str, **values: object) -> None:
        with self.writing() as session:
            session.execute(update(tables.JudgeBatch).where(tables.JudgeBatch.token == token).values(**values))
