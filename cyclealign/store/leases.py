"""Leases of experiments: one run at a time advances an experiment, from its start to its end, pauses included.

A round has a lease of its own, which guards its rows. Between two rounds of a run only this one keeps others out.
"""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import ColumnElement, CursorResult, or_, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import LeaseLost
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert_new, now

LEASE = tables.ExperimentLease


class LeaseStore(Repository):
    """Which run advances which experiment, and how many runs of it have failed in a row.

    ``owner`` names one run, the same from its start to its end; no two runs share it.
    """

    def take(
        self, experiment: str, owner: str, run_name: str, seconds: float, alive: Callable[[str], bool]
    ) -> records.Holder | None:
        """Take the experiment's lease if it is free, has expired, or its owner has certainly ended.

        Args:
            run_name: the run's name for people.
            alive: returns False for an owner only if that run has certainly ended.

        Returns:
            None; or the run that holds the lease.
        """
        held = self.holder(experiment)
        dead = held.owner if held is not None and held.owner != owner and not alive(held.owner) else owner
        with self._database.writing() as session:
            if not _create(session, experiment, owner, run_name, seconds):
                free = or_(LEASE.owner.in_({owner, dead}), LEASE.lease_until < now())
                values = {"owner": owner, "run_name": run_name, "taken_at": now()}
                _update(session, experiment, free, lease_until=now() + timedelta(seconds=seconds), **values)
        held = self.holder(experiment)
        return None if held is None or held.owner == owner else held

    def renew(self, experiment: str, owner: str, seconds: float) -> None:
        """Extend the lease to ``seconds`` from now; 0 releases it.

        Raises:
            LeaseLost: another run has taken the experiment over.
        """
        with self._database.writing() as session:
            until = now() + timedelta(seconds=seconds)
            if not _update(session, experiment, LEASE.owner == owner, lease_until=until):
                raise LeaseLost(
                    f"Another run has taken experiment '{experiment}' over after this run's lease had expired. Rerun "
                    "the same command to continue."
                )

    def holder(self, experiment: str) -> records.Holder | None:
        """Return the run whose lease of the experiment has not expired, or None."""
        with self._database.reading() as session:
            row = session.get(LEASE, experiment)
            if row is None or row.lease_until <= now():
                return None
            return records.Holder(row.owner, row.run_name, row.taken_at)

    def add_failure(self, experiment: str, owner: str, failure: str) -> int:
        """Count a failed run; return how many have failed since a round was closed."""
        with self._database.writing() as session:
            counted = {"failures": LEASE.failures + 1, "last_failure": failure}
            _update(session, experiment, LEASE.owner == owner, **counted)
        return self.failures(experiment)[0]

    def forget_failures(self, experiment: str) -> None:
        """Count failures anew, since a round was closed."""
        with self._database.writing() as session:
            _update(session, experiment, LEASE.failures > 0, failures=0, last_failure=None)

    def failures(self, experiment: str) -> tuple[int, str]:
        """Return the number of runs that have failed since a round was closed, and the last one's error."""
        with self._database.reading() as session:
            row = session.get(LEASE, experiment)
            return (0, "") if row is None else (row.failures, row.last_failure or "")


def _create(session: Session, experiment: str, owner: str, run_name: str, seconds: float) -> bool:
    """Insert the lease; return whether the experiment had none."""
    row = {
        "experiment": experiment,
        "owner": owner,
        "run_name": run_name,
        "taken_at": now(),
        "lease_until": now() + timedelta(seconds=seconds),
        "failures": 0,
    }
    return bool(insert_new(session, LEASE, [row], LEASE.experiment))


def _update(session: Session, experiment: str, condition: ColumnElement[bool], **values: object) -> bool:
    """Update the lease if the condition holds; return whether it did."""
    statement = update(LEASE).where(LEASE.experiment == experiment, condition).values(**values)
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
