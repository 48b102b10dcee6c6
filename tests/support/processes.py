"""Forked processes of one training, over gloo on the CPU: everything is imported only once."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.support.launched import free_port


def run_processes(work: Callable[[int], None], processes: int, folder: Path) -> None:
    """Call ``work(rank)`` in each of the forked processes, and exit with a message if one of them fails.

    Args:
        processes: 1: the process is not part of a group.
        folder: named in the message.
    """
    port = free_port()
    pids = [_fork(work, rank, processes, port) for rank in range(processes)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(codes):
        sys.exit(f"{folder}: the processes exited with {codes}")


def _fork(work: Callable[[int], None], rank: int, processes: int, port: int) -> int:
    """Fork one of the processes and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if processes > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            os.environ.update({name: str(value) for name, value in place.items()})
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        work(rank)
        code = 0
    except Exception:
        traceback.print_exc()  # the process ends before Python would print it
    finally:
        sys.stderr.flush()
        os._exit(code)
