"""Experiments: their rounds with metrics, and what a next round must fit."""

from typing import Any, TypeVar

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from cyclealign import tables
from cyclealign.store.history import require_experiment, summaries
from cyclealign.store.metrics import read_all_metrics
from cyclealign.store.notes import read_all_notes
from cyclealign.store.repository import Repository
from cyclealign.store.upkeep import require_active

Value = TypeVar("Value")


class ExperimentStore(Repository):
    """Whole experiments."""

    def names(self, archived: bool = True) -> list[str]:
        """Return the names of all experiments, the oldest first; with or without the archived ones."""
        query = select(tables.Experiment.name).order_by(tables.Experiment.id)
        with self._database.reading() as session:
            return list(session.scalars(query if archived else query.where(tables.Experiment.archived_at.is_(None))))

    def require_active(self, experiment: str) -> None:
        """Raise StoreError if the experiment is archived; one that does not exist yet is not."""
        with self._database.reading() as session:
            require_active(session, experiment)

    def require(self, experiment: str) -> None:
        """Raise NoSuchExperiment, with the known names, unless the experiment exists."""
        with self._database.reading() as session:
            require_experiment(session, experiment)

    def rounds(self, experiment: str, last: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of ``round_summary`` of one experiment, with ``metrics`` (name -> Metric) and ``notes``
        (subject -> words).

        Args:
            last: maximum number of rounds, the last ones; None: all.
        """
        with self._database.reading() as session:
            found = session.execute(
                select(tables.Round.number, tables.Round.id)
                .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
                .where(tables.Experiment.name == experiment)
                .order_by(tables.Round.number.desc())
                .limit(last)
            )
            ids = {number: round_id for number, round_id in found}  # noqa: C416 - dict() would ask a Result for keys
            if not ids:
                return []
            first = min(ids)
            metrics, notes = read_all_metrics(session, experiment, first), read_all_notes(session, experiment, first)
            return [
                {**row, "metrics": metrics.get(round_id, {}), "notes": notes.get(round_id, {})}
                for row, round_id in ((row, ids[row["number"]]) for row in summaries(session, experiment, first))
            ]

    def base_model(self, experiment: str) -> str | None:
        """Return the base model that the experiment's first round was opened with, or None."""
        with self._database.reading() as session:
            return session.scalar(_of_rounds(experiment, tables.Round.base_model))

    def training_method(self, experiment: str) -> str | None:
        """Return the training method, ``lora`` or ``full``; None while no round was kept or is under way.

        Rounds that predate the setting trained ``lora``.
        """
        counts = or_(tables.Round.verdict.is_(None), tables.Round.kept)
        with self._database.reading() as session:
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
