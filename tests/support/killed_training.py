"""Train a job and kill the process as soon as a step is done. Started by tests/training/test_checkpoints.py.

``python -m tests.support.killed_training FOLDER CHECKPOINTS STEP`` reads FOLDER/job.json.
"""

import os
import signal
import sys
from pathlib import Path

from cyclealign.training.job import TrainingJob
from cyclealign.training.worker import fit


def main() -> None:
    """Train until the step, and end as under a kill by the system."""
    folder, checkpoints, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

    def on_progress(step: int, of: int) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(TrainingJob.load(folder / "job.json"), folder, on_progress, checkpoints)


if __name__ == "__main__":
    main()
