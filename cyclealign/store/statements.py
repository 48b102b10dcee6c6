"""SQL for both databases, and checks shared by several parts of the store."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Dialect, and_, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from cyclealign import tables
from cyclealign.errors import LeaseLost, NoSuchExperiment

Row = Mapping[str, object]


def now() -> datetime:
    """Return the time of this machine; leases last minutes, so clocks may differ by seconds between machines."""
    return datetime.now(UTC)


def insert(session: Session, table: type[tables.Base]) -> postgresql.Insert:
    """Return an INSERT with ON CONFLICT in the dialect of the session."""
    return insert_for(session.get_bind().dialect, table)


def insert_for(dialect: Dialect, table: type[tables.Base]) -> postgresql.Insert:
    """Return an INSERT with ON CONFLICT in this dialect."""
    if dialect.name == "sqlite":
        return cast(postgresql.Insert, sqlite.insert(table))
    return postgresql.insert(table)


def insert_new(
    session: Session, table: type[tables.Base], rows: Sequence[Row], returning: InstrumentedAttribute[Any]
) -> set[Any]:
    """Insert the rows whose keys are new; return their column ``returning``."""
    if not rows:
        return set()
    statement = insert(session, table).on_conflict_do_nothing().returning(returning)
    return set(session.scalars(statement, [dict(row) for row in rows]))


def insert_quietly(session: Session, table: type[tables.Base], rows: Sequence[Row]) -> int:
    """Insert the rows whose keys are new; return their number, not which: several times faster for many rows."""
    if not rows:
        return 0
    statement = insert(session, table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return session.connection().execute(statement, [dict(row) for row in rows]).rowcount


def insert_all(session: Session, table: type[tables.Base], rows: Sequence[Row]) -> None:
    """Insert rows that are known to be new."""
    if rows:
        session.execute(insert(session, table), [dict(row) for row in rows])


def in_parts(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Split ids into parts that fit into the parameters of one statement."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def require_open(session: Session, round_id: int) -> None:
    """Lock the round as open until this transaction ends: the rows of a closed round never change.

    Raises:
        LeaseLost: the round is closed: another run took it over and finished it.
        NoSuchExperiment: there is no such round.
    """
    status = session.scalar(select(tables.Round.status).where(tables.Round.id == round_id).with_for_update(read=True))
    if status is None:
        raise NoSuchExperiment(f"There is no round with the id {round_id}.")
    if status != "open":
        raise LeaseLost(
            "Another run took over this round and finished it; nothing of this run was added. Rerun the same command "
            "to continue with the next round."
        )


def require_owner(session: Session, round_id: int, owner: str) -> None:
    """Lock the round as open and held by ``owner`` until this transaction ends.

    Raises:
        LeaseLost: the round is closed, or another run took it over.
        NoSuchExperiment: there is no such round.
    """
    require_open(session, round_id)
    if session.scalar(select(tables.Round.owner).where(tables.Round.id == round_id)) != owner:
        raise LeaseLost(
            "Another run took over this round; nothing of this run was added. Rerun the same command to continue."
        )


def experiment_named(name: str) -> ColumnElement[int]:
    """Return the id of an experiment, as a subquery: in an index condition it is better than a join."""
    return select(tables.Experiment.id).where(tables.Experiment.name == name).scalar_subquery()


def experiment_of(round_id: int) -> ColumnElement[int]:
    """Return the experiment of a round, as a subquery."""
    return select(tables.Round.experiment_id).where(tables.Round.id == round_id).scalar_subquery()


def without_result() -> ColumnElement[bool]:
    """Return the condition that a round counts as never run: it was abandoned, or refused."""
    return or_(func.coalesce(tables.Round.verdict, "") == "abandoned", refused())


def refused() -> ColumnElement[bool]:
    """Return the condition that a round was rolled back before the policy answered any prompt."""
    answered = exists().where(tables.Candidate.round_id == tables.Round.id)
    return and_(func.coalesce(tables.Round.verdict, "") == "rolled_back", ~answered)
