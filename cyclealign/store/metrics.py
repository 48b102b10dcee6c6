"""The metrics of rounds."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert, require_open


class MetricStore(Repository):
    """Metrics by round and name."""

    def record(self, round_id: int, metrics: Sequence[records.Metric]) -> None:
        """Record metrics; one of the same name is replaced.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            for metric in metrics:
                _put_metric(session, round_id, metric)

    def of_round(self, round_id: int) -> dict[str, records.Metric]:
        """Return the metrics of the round by name."""
        with self._database.reading() as session:
            return read_metrics(session, round_id)

    def count_accepted(self, experiment: str, name: str) -> int:
        """Return the number of accepted rounds of the experiment that have the metric."""
        metric = tables.Metric
        rounds = (
            select(func.count(tables.Round.id))
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .join(metric, metric.round_id == tables.Round.id)
            .where(tables.Experiment.name == experiment, tables.Round.verdict == "accepted", metric.name == name)
        )
        with self._database.reading() as session:
            return session.scalar(rounds) or 0

    def of_last_accepted(self, experiment: str) -> tuple[int, dict[str, records.Metric]]:
        """Return number and metrics of the experiment's last accepted round; 0 and no metrics if there is none."""
        last = (
            select(tables.Round.number, tables.Round.id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .where(tables.Experiment.name == experiment, tables.Round.verdict == "accepted")
            .order_by(tables.Round.number.desc())
            .limit(1)
        )
        with self._database.reading() as session:
            found = session.execute(last).first()
            return (0, {}) if found is None else (found.number, read_metrics(session, found.id))


def read_metrics(session: Session, round_id: int) -> dict[str, records.Metric]:
    """Return the metrics of the round by name, sorted by name."""
    found = session.scalars(
        select(tables.Metric).where(tables.Metric.round_id == round_id).order_by(tables.Metric.name)
    )
    return {row.name: metric_record(row) for row in found}


def read_all_metrics(session: Session, experiment: str, first: int = 1) -> dict[int, dict[str, records.Metric]]:
    """Return the metrics of an experiment's rounds from the one with number ``first`` on, by round id and name."""
    metric, row = tables.Metric, tables.Round
    found = session.execute(
        select(metric.round_id, metric.name, metric.value, metric.low, metric.high, metric.count, metric.unit)
        .join(row, row.id == metric.round_id)
        .join(tables.Experiment, tables.Experiment.id == row.experiment_id)
        .where(tables.Experiment.name == experiment, row.number >= first)
        .order_by(metric.round_id, metric.name)
    )
    by_round: dict[int, dict[str, records.Metric]] = {}
    for round_id, name, *values in found:
        by_round.setdefault(round_id, {})[name] = records.Metric(name, *values)
    return by_round


def metric_record(row: tables.Metric) -> records.Metric:
    """Return the value of a row."""
    return records.Metric(row.name, row.value, row.low, row.high, row.count, row.unit)


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
