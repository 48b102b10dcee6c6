"""Batches of judge calls at the provider: written before they are submitted, so that none is submitted twice."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update

from cyclealign import records, tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import experiment_of, insert, now

# Providers keep the files of a batch no longer.
KEPT_FOR = timedelta(days=30)


class BatchStore(Repository):
    """Batches that the provider works on."""

    def begin(self, round_id: int, token: str, keys: Sequence[str]) -> None:
        """Record that these calls are about to be submitted under this token."""
        row = {
            "experiment_id": experiment_of(round_id),
            "round_id": round_id,
            "token": token,
            "call_keys": list(keys),
            "status": "submitting",
            "submitted_at": now(),
        }
        with self._database.writing(durable=True) as session:
            session.execute(insert(session, tables.JudgeBatch).values(**row))

    def set_id(self, token: str, batch_id: str) -> None:
        """Record the provider's id of the batch."""
        self._change(token, batch_id=batch_id, status="submitted")

    def end(self, token: str) -> None:
        """Record that the batch's replies are stored, or that it was never created."""
        self._change(token, status="collected", collected_at=now())

    def pending(self, experiment: str) -> list[records.Batch]:
        """Return the batches of the last 30 days of the experiment that are not collected, the oldest first."""
        batch = tables.JudgeBatch
        with self._database.reading() as session:
            found = session.scalars(
                select(batch)
                .join(tables.Experiment, tables.Experiment.id == batch.experiment_id)
                .where(tables.Experiment.name == experiment, batch.status != "collected")
                .where(batch.submitted_at > now() - KEPT_FOR)
                .order_by(batch.id)
            )
            return [records.Batch(row.token, row.batch_id, tuple(row.call_keys)) for row in found]

    def _change(self, token: str, **values: object) -> None:
        with self._database.writing(durable=True) as session:
            session.execute(update(tables.JudgeBatch).where(tables.JudgeBatch.token == token).values(**values))
