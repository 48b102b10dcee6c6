"""A lock on the folder of a job: runs share it, and housekeeping takes it alone."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cyclealign.files import home


def job_folder(job: str) -> Path:
    """Return the folder of a job's labels and stages."""
    return home() / "distill" / job


@contextmanager
def in_use(job: str) -> Iterator[None]:
    """Keep housekeeping away from the job's files during the block. The kernel frees the lock of a killed process."""
    with _lock_file(job) as file:
        with suppress(OSError):  # a file system without locks: housekeeping cannot take one either
            fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        yield


@contextmanager
def alone(job: str) -> Iterator[bool]:
    """Yield whether no run uses the job's files; if so, none starts during the block."""
    with _lock_file(job) as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _lock_file(job: str) -> IO[str]:
    # Not in the job's folder, which exists only where a run has made something.
    folder = home() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"distill-{job}").open("a")
