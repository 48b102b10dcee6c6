"""What a round made and measured: its adapter, its metrics, the seconds of its steps."""

import math
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import StoreError
from cyclealign.store.connecting import Database
from cyclealign.store.writing import insert, insert_new, now, require_open


class MeasurementMemory(Database):
    """The part of the store that holds adapters, metrics and seconds."""

    def add_adapter(self, round_id: int, adapter: records.Adapter, base_model: str) -> records.Adapter:
        """Record the adapter of the round, after its folder is complete; return the one that the round has.

        A round has one adapter: if it has one already, that one stays and is returned.

        Raises:
            LeaseLost: the round is closed.
            StoreError: the id belongs to the adapter of another round, so this one would be lost.
        """
        row = {
            "id": adapter.id,
            "round_id": round_id,
            "path": adapter.path,
            "content_hash": adapter.content_hash,
            "parent_id": adapter.parent_id,
            "base_model": base_model,
            "created_at": now(),
        }
        with self.writing() as session:
            require_open(session, round_id)
            insert_new(session, tables.Adapter, [row], tables.Adapter.id)
            held = _adapter_of(session, round_id)
            if held is None:
                raise StoreError(f"The adapter id {adapter.id} belongs to another round: the id must hash the round.")
            return held

    def adapter_of(self, round_id: int) -> records.Adapter | None:
        """The adapter that the round made, if it has made one."""
        with self.reading() as session:
            return _adapter_of(session, round_id)

    def put_metrics(self, round_id: int, metrics: Sequence[records.Metric]) -> None:
        """Record metrics; one of the same name is replaced.

        Raises:
            LeaseLost: the round is closed.
            ValueError: a value is not a finite number: leave out what was not measured.
        """
        for metric in metrics:
            if not all(math.isfinite(part) for part in (metric.value, metric.low, metric.high) if part is not None):
                raise ValueError(f"the metric '{metric.name}' is not a finite number: {metric}")
        with self.writing() as session:
            require_open(session, round_id)
            for metric in metrics:
                _put_metric(session, round_id, metric)

    def metrics(self, round_id: int) -> dict[str, records.Metric]:
        """The metrics of the round by name."""
        with self.reading() as session:
            return read_metrics(session, round_id)

    def add_seconds(self, round_id: int, step: str, seconds: float) -> None:
        """Add the seconds that one run spent on a step; a resumed round has several runs, and they add up."""
        spent = tables.RoundStep
        with self.writing() as session:
            statement = insert(session, spent).values(round_id=round_id, step=step, seconds=seconds, runs=1)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=[spent.round_id, spent.step],
                    set_={"seconds": spent.seconds + statement.excluded.seconds, "runs": spent.runs + 1},
                )
            )


def read_metrics(session: Session, round_id: int) -> dict[str, records.Metric]:
    """The metrics of the round by name, sorted by name."""
    found = session.scalars(
        select(tables.Metric).where(tables.Metric.round_id == round_id).order_by(tables.Metric.name)
    )
    return {row.name: records.Metric(row.name, row.value, row.low, row.high, row.count, row.unit) for row in found}


def _adapter_of(session: Session, round_id: int) -> records.Adapter | None:
    row = session.scalar(select(tables.Adapter).where(tables.Adapter.round_id == round_id))
    return None if row is None else records.Adapter(row.id, row.path, row.content_hash, row.parent_id)


def _put_metric(session: Session, round_id: int, metric: records.Metric) -> None:
    table = tables.Metric
    measured = {
        "value": metric.value,
        "low": metric.low,
        "high": metric.high,
        "count": metric.count,
        "unit": metric.unit,
    }
    statement = insert(session, table).values(round_id=round_id, name=metric.name, **measured)
    session.execute(statement.on_conflict_do_update(index_elements=[table.round_id, table.name], set_=measured))
