"""The rounds of an experiment with their metrics, for tables and plots; and what a next round must fit."""

from typing import Any, TypeVar

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from cyclealign import tables
from cyclealign.store.connecting import Database
from cyclealign.store.history import summaries
from cyclealign.store.measurements import read_metrics
from cyclealign.store.remarks import read_notes

Value = TypeVar("Value")


class OverviewMemory(Database):
    """The part of the store that is asked about whole experiments."""

    def experiments(self) -> list[str]:
        """The names of all experiments, the oldest first."""
        with self.reading() as session:
            return list(session.scalars(select(tables.Experiment.name).order_by(tables.Experiment.id)))

    def rounds(self, experiment: str) -> list[dict[str, Any]]:
        """The rows of ``round_summary`` of one experiment, with ``metrics`` (name -> Metric) and ``notes``; or none."""
        with self.reading() as session:
            found = session.execute(
                select(tables.Round.number, tables.Round.id)
                .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
                .where(tables.Experiment.name == experiment)
            )
            ids = {number: round_id for number, round_id in found}  # noqa: C416 - dict() would ask a Result for keys
            rows = summaries(session, experiment)
            return [
                {
                    **row,
                    "metrics": read_metrics(session, ids[row["number"]]),
                    "notes": read_notes(session, ids[row["number"]]),
                }
                for row in rows
            ]

    def base_model_of(self, experiment: str) -> str | None:
        """The base model that the experiment's first round was opened with."""
        with self.reading() as session:
            return session.scalar(_of_rounds(experiment, tables.Round.base_model))

    def method_of(self, experiment: str) -> str | None:
        """How the experiment trains: ``lora``, also from before there was a choice, or ``full``; None while no round
        was accepted or is under way.
        """
        counts = or_(tables.Round.verdict.is_(None), tables.Round.verdict == "accepted")
        with self.reading() as session:
            settings = session.scalar(_of_rounds(experiment, tables.Round.settings).where(counts))
        return None if settings is None else str(settings.get("training", {}).get("method", "lora"))


def _of_rounds(experiment: str, column: InstrumentedAttribute[Value]) -> Select[tuple[Value]]:
    """A column of the first round of an experiment that fits further conditions."""
    return (
        select(column)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .where(tables.Experiment.name == experiment)
        .order_by(tables.Round.number)
        .limit(1)
    )
