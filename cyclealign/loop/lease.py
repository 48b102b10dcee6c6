"""Who is advancing an experiment: an owner's name that tells whether its process is still there, and its heartbeat."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cyclealign.errors import LeaseLost
from cyclealign.processes import is_running, start_time
from cyclealign.store import Store

LEASE_SECONDS = 90.0


def this_owner(run: str) -> str:
    """A name for the process that works on a run: host, process id, its start time and the run."""
    return f"{socket.gethostname()}/{os.getpid()}/{start_time():.2f}/{run}"


def alive(owner: str) -> bool:
    """Whether the process behind an owner's name may still be at work; True where that cannot be known from here."""
    host, pid, started, _ = owner.rsplit("/", 3)
    return host != socket.gethostname() or is_running(int(pid), float(started))


@contextmanager
def kept_alive(store: Store, round_id: int, owner: str) -> Iterator[None]:
    """Renew the lease in the background while the block runs; a lost lease is found by whoever writes next."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(LEASE_SECONDS / 3):
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
    """Let the lease run out now: a run that failed must not make the next one wait."""
    with suppress(LeaseLost):
        store.rounds.renew_lease(round_id, owner, 0.0)
