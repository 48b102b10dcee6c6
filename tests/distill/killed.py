"""Runs a job and dies like a process that is killed: ``python -m tests.distill.killed JOB SETTINGS.toml SAVES``."""

import os
import signal
import sys
from pathlib import Path

from cyclealign.distill.registry import JOBS
from cyclealign.distill.run import run_job
from cyclealign.distill.training_state import Checkpoints


def die_at(saves: int) -> None:
    """Kill this process right after its checkpoint of that number is on disk."""
    save, left = Checkpoints.save, [saves]

    def dying(self: Checkpoints, step: int, state: object) -> None:
        save(self, step, state)  # type: ignore[arg-type]
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.save = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    job, settings, saves = sys.argv[1:]
    die_at(int(saves))
    run_job(JOBS[job], JOBS[job].config(Path(settings)))
