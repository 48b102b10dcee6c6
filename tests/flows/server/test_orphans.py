"""Runs whose worker was killed are found by their environment, and others are left alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.server.orphans import end_orphans, orphans

SLEEP = "import time; time.sleep(600)"
# Starts a sleeping process and prints its id; it stays, as a worker that lives, or ends.
PARENT = "import subprocess, sys; print(subprocess.Popen(sys.argv[2:]).pid, flush=True); sys.argv[1] == 'stay' and {}"


@contextmanager
def parent(home: Path, stay: bool, *arguments: str) -> Iterator[int]:
    """Yield the id of a run's process; its parent has the arguments and stays, or has ended."""
    run = {**os.environ, "CYCLEALIGN_HOME": str(home), "PREFECT__FLOW_RUN_ID": "a-run"}
    child = ["env", *(f"{name}={run[name]}" for name in ("CYCLEALIGN_HOME", "PREFECT__FLOW_RUN_ID"))]
    code = PARENT.format("__import__('time').sleep(600)")
    command = [sys.executable, "-c", code, "stay" if stay else "end", *child, sys.executable, "-c", SLEEP, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        if not stay:
            process.wait()
        try:
            yield pid
        finally:
            process.kill()
            for one in orphans(home):
                one.kill()


@pytest.mark.slow
def test_a_run_without_its_worker_is_ended_and_one_of_another_home_is_not(tmp_path: Path) -> None:
    """Prevents a run that works on unobserved beside its successor, and the end of a run of somebody else."""
    with parent(tmp_path / "mine", stay=False) as mine, parent(tmp_path / "theirs", stay=False) as theirs:
        assert [process.pid for process in orphans(tmp_path / "mine")] == [mine]
        assert end_orphans(tmp_path / "mine") == 1
        assert [process.pid for process in orphans(tmp_path / "theirs")] == [theirs]


def test_a_run_with_a_worker_is_left_alone(tmp_path: Path) -> None:
    """Prevents a start from ending the runs of a worker that somebody started by hand for the same home."""
    with parent(tmp_path, True, "worker"):
        assert list(orphans(tmp_path)) == []
