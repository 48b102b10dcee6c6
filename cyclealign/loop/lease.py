"""Round leases: owner, liveness, heartbeat."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cyclealign.errors import LeaseLost
from cyclealign.processes import is_running, start_time
from cyclealign.store import Store

LEASE_SECONDS = 90.0


def owner_name(run: str) -> str:
    """Return the owner's name for this process and run: ``host/process id/start time/run``."""
    return f"{socket.gethostname()}/{os.getpid()}/{start_time():.2f}/{run}"


def may_be_alive(owner: str) -> bool:
    """Return whether the owner's process may still be running; True if that cannot be known from this host."""
    host, pid, started, _ = owner.rsplit("/", 3)
    return host != socket.gethostname() or is_running(int(pid), float(started))


@contextmanager
def heartbeat(store: Store, round_id: int, owner: str) -> Iterator[None]:
    """Renew the lease from a thread while the block runs, and release it if the block fails.

    A lost lease raises nothing here: the owner's next write raises LeaseLost.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(LEASE_SECONDS / 3):  # two renewals may fail or come late
            try:
                store.rounds.renew_lease(round_id, owner, LEASE_SECONDS)
            except LeaseLost:
                return

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        release(store, round_id, owner)
        raise
    finally:
        done.set()
        thread.join()


def release(store: Store, round_id: int, owner: str) -> None:
    """Let the lease expire now, so that a rerun does not wait for it."""
    with suppress(LeaseLost):
        store.rounds.renew_lease(round_id, owner, 0.0)
