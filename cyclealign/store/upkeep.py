"""Upkeep of experiments: list, rename, archive, delete, and mark pruned adapters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import StoreError
from cyclealign.store.history import plain, require_experiment
from cyclealign.store.plans import adapter_record
from cyclealign.store.repository import Repository
from cyclealign.store.statements import in_parts, now
from cyclealign.store.totals import call_totals

VERDICTS = ("accepted", "rolled_back", "undecided", "abandoned")


class UpkeepStore(Repository):
    """Whole experiments, as they are kept or removed. The caller holds the experiment's lease."""

    def experiments(self) -> list[dict[str, Any]]:
        """Return a row for each experiment, the oldest first.

        Keys: ``experiment``, ``base_model``, ``rounds``, ``accepted``, ``rolled_back``, ``undecided``,
        ``abandoned``, ``open``, ``cost_usd``, ``created_at``, ``archived_at``.
        """
        round_, experiment, total = tables.Round, tables.Experiment, call_totals()
        of_experiment = (
            select(round_.experiment_id, func.sum(total.c.cost_usd).label("usd"))
            .join(total, total.c.round_id == round_.id)
            .group_by(round_.experiment_id)
            .subquery("cost")
        )
        counts = [func.sum(case((round_.verdict == name, 1), else_=0)).label(name) for name in VERDICTS]
        query = (
            select(
                experiment.name.label("experiment"),
                func.min(round_.base_model).label("base_model"),
                func.count(round_.id).label("rounds"),
                *counts,
                func.sum(case((round_.status == "open", 1), else_=0)).label("open"),
                func.coalesce(func.max(of_experiment.c.usd), 0.0).label("cost_usd"),
                experiment.created_at,
                experiment.archived_at,
            )
            .select_from(experiment)
            .outerjoin(round_, round_.experiment_id == experiment.id)
            .outerjoin(of_experiment, of_experiment.c.experiment_id == experiment.id)
            .group_by(experiment.id, experiment.name, experiment.created_at, experiment.archived_at)
            .order_by(experiment.id)
        )
        with self._database.reading() as session:
            return [plain(row._asdict()) for row in session.execute(query)]

    def rename(self, name: str, new_name: str) -> None:
        """Rename an experiment; ids and seeds still follow from its first name, so its rounds go on unchanged.

        Raises:
            NoSuchExperiment: there is no such experiment.
            StoreError: the new name is taken.
        """
        experiment, lease = tables.Experiment, tables.ExperimentLease
        with self._database.writing() as session:
            require_experiment(session, name)
            if session.scalar(select(experiment.id).where(experiment.name == new_name)) is not None:
                raise StoreError(f"There is an experiment '{new_name}' already. Choose another name.")
            origin = func.coalesce(experiment.origin, experiment.name)
            session.execute(
                update(experiment).where(experiment.name == name).values(name=new_name, origin=origin),
                execution_options={"synchronize_session": False},
            )
            session.execute(delete(lease).where(lease.experiment.in_([name, new_name])))

    def archive(self, name: str, archived: bool) -> None:
        """Hide an experiment from lists and refuse new rounds, or undo that.

        Raises:
            NoSuchExperiment: there is no such experiment.
        """
        with self._database.writing() as session:
            require_experiment(session, name)
            at = now() if archived else None
            session.execute(update(tables.Experiment).where(tables.Experiment.name == name).values(archived_at=at))

    def delete(self, name: str) -> None:
        """Delete all rows of an experiment. Prompts, templates and demonstrations belong to no experiment and stay.

        Raises:
            NoSuchExperiment: there is no such experiment.
        """
        with self._database.writing() as session:
            require_experiment(session, name)
            found = select(tables.Experiment.id).where(tables.Experiment.name == name)
            experiment_id = session.scalars(found).one()
            mine = tables.Round.experiment_id == experiment_id
            session.execute(update(tables.Round).where(mine).values(parent_adapter_id=None))
            round_ids = select(tables.Round.id).where(mine)
            session.execute(update(tables.Adapter).where(tables.Adapter.round_id.in_(round_ids)).values(parent_id=None))
            for table in reversed(tables.Base.metadata.sorted_tables):
                condition = _of_experiment(table, experiment_id)
                if condition is not None:
                    session.execute(delete(table).where(condition))
            session.execute(delete(tables.ExperimentLease).where(tables.ExperimentLease.experiment == name))

    def adapters(self, experiment: str | None = None, needed: bool = True) -> list[records.Adapter]:
        """Return the adapters of kept and open rounds; or the others, whose files are not pruned yet.

        Adapters on which a round started count as needed.
        """
        adapter, round_ = tables.Adapter, tables.Round
        parents = select(round_.parent_adapter_id).where(round_.parent_adapter_id.is_not(None))
        kept = or_(round_.status == "open", round_.kept, adapter.id.in_(parents))
        query = select(adapter).join(round_, round_.id == adapter.round_id).order_by(round_.id)
        query = query.where(kept) if needed else query.where(~kept, adapter.pruned_at.is_(None))
        if experiment is not None:
            query = query.join(tables.Experiment, tables.Experiment.id == round_.experiment_id)
            query = query.where(tables.Experiment.name == experiment)
        with self._database.reading() as session:
            rows = session.scalars(query)
            return [adapter_record(row) for row in rows]

    def newest_settings(self) -> list[dict[str, Any]]:
        """Return the settings of the newest round of each experiment."""
        round_ = tables.Round
        newest = select(func.max(round_.id)).group_by(round_.experiment_id)
        with self._database.reading() as session:
            return list(session.scalars(select(round_.settings).where(round_.id.in_(newest)).order_by(round_.id)))

    def adapter_paths(self) -> set[Path]:
        """Return the folders of all adapters of all experiments."""
        with self._database.reading() as session:
            return {Path(adapter_record(row).path) for row in session.scalars(select(tables.Adapter))}

    def mark_pruned(self, adapter_ids: Sequence[str]) -> None:
        """Record that the files of these adapters were deleted."""
        with self._database.writing() as session:
            for part in in_parts(adapter_ids):
                session.execute(update(tables.Adapter).where(tables.Adapter.id.in_(part)).values(pruned_at=now()))


def require_active(session: Session, name: str) -> None:
    """Raise StoreError if the experiment is archived."""
    if session.scalar(select(tables.Experiment.archived_at).where(tables.Experiment.name == name)) is not None:
        raise StoreError(f"Experiment '{name}' is archived. To continue it: cyclealign experiments unarchive {name}")


def free_origin(session: Session, name: str) -> str | None:
    """Return the origin of a new experiment; None if no other one was ever called so.

    Ids follow from the origin, so two experiments must not share one.
    """
    experiment = tables.Experiment
    taken = set(session.scalars(select(experiment.origin).where(experiment.origin.is_not(None))))
    if name not in taken:
        return None
    number = 2
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"


def _of_experiment(table: Table, experiment_id: int) -> ColumnElement[bool] | None:
    """Return the condition that a row of the table belongs to the experiment; None for tables of other things."""
    if table.name == tables.Experiment.__tablename__:
        return table.c.id == experiment_id
    owners = ("experiment", "round", "ranking", "candidate", "judge_call")
    for owner in owners:  # an experiment's own key before those of its parts
        for key in table.foreign_keys:
            if key.column.table.name == owner and table.name != owner and not key.use_alter:
                condition = _of_experiment(key.column.table, experiment_id)
                assert condition is not None
                rows: Select[Any] = select(key.column).where(condition)
                return key.parent.in_(rows)
    return None
