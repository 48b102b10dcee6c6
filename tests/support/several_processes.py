"""Train each job on one process and on two, over gloo on the CPU. Started by tests/training/test_several_processes.py.

``python -m tests.support.several_processes FOLDER...`` reads ``job.json`` in each FOLDER and writes the folders
``alone`` and ``shared``, each with an adapter and the loss of each process.
"""

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cyclealign.training.job import TrainingJob
from cyclealign.training.worker import fit
from tests.support.processes import run_processes


def train(job: TrainingJob, folder: Path, rank: int) -> None:
    """Train the job in this process, and write its loss, its steps and their figures."""
    steps: list[int] = []
    figures: list[dict[str, Any]] = []
    loss = fit(job, folder, lambda step, of: steps.append(step), on_step=lambda step: figures.append(asdict(step)))
    (folder / f"loss-{rank}.json").write_text(json.dumps({"loss": loss, "steps": steps, "figures": figures}))


def main() -> None:
    """Train the job of each folder alone and shared."""
    for folder in map(Path, sys.argv[1:]):
        job = TrainingJob.load(folder / "job.json")
        for name, processes in (("alone", 1), ("shared", 2)):
            (folder / name).mkdir()
            run_processes(partial(train, job, folder / name), processes, folder / name)


if __name__ == "__main__":
    main()
