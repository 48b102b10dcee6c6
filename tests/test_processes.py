"""Liveness of processes."""

import os
import subprocess
import sys

from cyclealign.processes import is_running, start_time


def test_a_process_is_named_by_its_id_and_its_start():
    """Prevents a dead run from holding its lease for ever because another process was given its id."""
    assert is_running(os.getpid())
    assert is_running(os.getpid(), start_time())
    assert is_running(os.getpid(), round(start_time(), 2))
    assert not is_running(os.getpid(), start_time() - 60)


def test_a_process_that_has_ended_is_not_running():
    """Prevents a run from waiting for a process that is gone."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_running(ended.pid)
    assert not is_running(ended.pid, start_time())
