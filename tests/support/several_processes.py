"""Trains each job alone and shared by two processes, over gloo on the CPU. Started by test_several_processes.

It imports everything once and forks for each process. ``python -m tests.support.several_processes FOLDER...``: a
FOLDER holds job.json, and gets ``alone`` and ``shared``, each with an adapter and loss.json.
"""

import json
import os
import socket
import sys
from pathlib import Path

from cyclealign.training.job import TrainingJob
from cyclealign.training.worker import fit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(job: TrainingJob, folder: Path, rank: int, processes: int, port: int) -> int:
    """Fork one of the processes; its id."""
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
    folder.mkdir()
    port = free_port()
    pids = [start(job, folder, rank, processes, port) for rank in range(processes)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(codes):
        sys.exit(f"{folder}: the processes ended with {codes}")


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        job = TrainingJob.load(folder / "job.json")
        run(job, folder / "alone", 1)
        run(job, folder / "shared", 2)


if __name__ == "__main__":
    main()
