"""Runs that outlived their worker: the processes of a home's runs whose worker was killed.

Each run has a session of its own, so that it goes on when its worker is killed. It would report its own crash to the
next server, and the run would not be resumed; or it would work on beside its successor.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from cyclealign.files import HOME_VARIABLE

RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # in the environment of a run that a worker has started, and of its children
GRACE_SECONDS = 5.0


def end_orphans(home: Path) -> int:
    """Kill the home's runs without a worker, with their children; return the number of processes.

    By SIGKILL: at SIGTERM a run would report a crash that looks like its own. The database survives that.
    """
    found = list(orphans(home))
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=GRACE_SECONDS)
    return len(found)


def orphans(home: Path) -> Iterator[psutil.Process]:
    """Yield the processes of the home's runs that no living worker has started."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if RUN_VARIABLE not in environment or environment.get(HOME_VARIABLE) != str(home):
                continue
            if not _has_worker(process):
                yield process


def _has_worker(process: psutil.Process) -> bool:
    """Return whether the first ancestor that is not part of the run is a worker."""
    for ancestor in process.parents():
        if RUN_VARIABLE not in _environment(ancestor):
            return "worker" in ancestor.cmdline()
    return False


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment of a process, empty if it belongs to another user."""
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}
