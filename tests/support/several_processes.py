"""Train each job on one process and on two, over gloo on the CPU. Started by tests/training/test_several_processes.py.

``python -m tests.support.several_processes FOLDER...`` reads ``job.json`` in each FOLDER and writes the folders
``alone`` and ``shared``, each with an adapter and the loss of each process. It forks, to import everything only once.
"""

import json
import os
import sys
from pathlib import Path

from cyclealign.training.job import TrainingJob
from cyclealign.training.worker import fit
from tests.support.launched import free_port


def start(job: TrainingJob, folder: Path, rank: int, processes: int, port: int) -> int:
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
        steps: list[int] = []
        loss = fit(job, folder, lambda step, of: steps.append(step))
        (folder / f"loss-{rank}.json").write_text(json.dumps({"loss": loss, "steps": steps}))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(job: TrainingJob, folder: Path, processes: int) -> None:
    """Train the job in ``folder`` on this many processes."""
    folder.mkdir()
    port = free_port()
    pids = [start(job, folder, rank, processes, port) for rank in range(processes)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(codes):
        sys.exit(f"{folder}: the processes exited with {codes}")


def main() -> None:
    """Train the job of each folder alone and shared."""
    for folder in map(Path, sys.argv[1:]):
        job = TrainingJob.load(folder / "job.json")
        run(job, folder / "alone", 1)
        run(job, folder / "shared", 2)


if __name__ == "__main__":
    main()
