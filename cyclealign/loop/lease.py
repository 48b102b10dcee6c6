"""Leases of experiments and rounds: owner, liveness, heartbeat.

A run holds its experiment from its start to its end, and each round while it is at work on it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cyclealign.errors import ExperimentBusy, LeaseLost, StoreError
from cyclealign.processes import is_running, machine_name, start_time
from cyclealign.records import Holder, owner_in_words
from cyclealign.store import Store

logger = logging.getLogger(__name__)

LEASE_SECONDS = 90.0
Renew = Callable[[float], None]  # extends a lease to so many seconds from now; raises LeaseLost


def owner_name(run: str) -> str:
    """Return the owner's name for this process and run: ``machine/process id/start time/run``."""
    return f"{machine_name()}/{os.getpid()}/{start_time():.2f}/{run}"


def may_be_alive(owner: str) -> bool:
    """Return whether the owner's process may still be running; True if that cannot be known from here."""
    machine, pid, started, _ = owner.rsplit("/", 3)
    return machine != machine_name() or is_running(int(pid), float(started))


@contextmanager
def hold_experiment(store: Store, experiment: str, owner: str, run_name: str) -> Iterator[None]:
    """Hold the experiment during the block, so that no other run advances it, not even between two rounds.

    Raises:
        ExperimentBusy: another run holds it; the message names that run.
    """
    holder = store.leases.take(experiment, owner, run_name, LEASE_SECONDS, may_be_alive)
    if holder is not None:
        raise ExperimentBusy(busy_message(experiment, holder))

    def renew(seconds: float) -> None:
        store.leases.renew(experiment, owner, seconds)

    try:
        with renewed(renew):
            yield
    finally:
        release(renew)


def require_free(store: Store, experiment: str) -> None:
    """Check that no other run is advancing the experiment; nothing is taken, so `hold_experiment` still decides.

    Raises:
        ExperimentBusy: another run holds it; the message names that run.
    """
    holder = store.leases.holder(experiment)
    if holder is not None and may_be_alive(holder.owner):
        raise ExperimentBusy(busy_message(experiment, holder))


def busy_message(experiment: str, holder: Holder) -> str:
    """Return the error message for an experiment that another run holds."""
    process = owner_in_words(holder.owner)
    return (
        f"Run '{holder.run_name}' ({process}, since {holder.since:%Y-%m-%d %H:%M} UTC) is advancing "
        f"experiment '{experiment}'. Wait for its end, or cancel it; another experiment can run beside it. If it was "
        f"killed on another machine, its lease expires after {LEASE_SECONDS:.0f} seconds."
    )


class KeptLease:
    """A lease that is required before something costs: the database is asked once a third of it has passed.

    The heartbeat alone does not tell: a run that stood still for longer than its lease goes on in all its threads.
    """

    def __init__(self, renew: Renew) -> None:
        self._renew, self._renewed_at = renew, clock()
        self._lock = threading.Lock()

    @property
    def is_due(self) -> bool:
        """Return whether `require` would ask the database."""
        return clock() - self._renewed_at > LEASE_SECONDS / 3

    def require(self) -> None:
        """Check that this run still holds the lease.

        Raises:
            LeaseLost: another run has taken it.
        """
        with self._lock:
            if self.is_due:
                asked_at = clock()
                self._renew(LEASE_SECONDS)
                self._renewed_at = asked_at


@contextmanager
def heartbeat(store: Store, round_id: int, owner: str) -> Iterator[KeptLease]:
    """Renew the round's lease from a thread while the block runs, and release it if the block fails.

    A lost lease raises nothing here: the owner's next write raises LeaseLost, as does the lease that is yielded.
    """

    def renew(seconds: float) -> None:
        store.rounds.renew_lease(round_id, owner, seconds)

    try:
        with renewed(renew):
            yield KeptLease(renew)
    except BaseException:
        release(renew)
        raise


@contextmanager
def renewed(renew: Renew) -> Iterator[None]:
    """Renew a lease from a thread while the block runs, until another run takes it."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(LEASE_SECONDS / 3):  # two renewals may fail or come late
            try:
                renew(LEASE_SECONDS)
            except LeaseLost:
                return
            except StoreError as error:  # the database may answer again before the lease expires
                logger.warning("The lease could not be renewed and is tried again: %s", error)

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def clock() -> float:
    """Return seconds that pass while the machine sleeps as well; those of `time.monotonic` do not on Linux."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def release(renew: Renew) -> None:
    """Let the lease expire now, so that a rerun does not wait for it. A failure must not hide the block's own error."""
    with suppress(StoreError):
        renew(0.0)
