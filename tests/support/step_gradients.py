"""Train jobs in float64 on one or more processes, over gloo, and record each step's gradient.

``python -m tests.support.step_gradients FOLDER PROCESSES...`` reads ``job.json`` in each FOLDER, trains it on that many
processes and writes ``gradients.pt``. It forks, to import everything only once.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, set_seed

from cyclealign.training.job import TrainingJob
from cyclealign.training.model import lora_model
from cyclealign.training.trainers import make_trainer
from tests.support.float64_head import use_float64
from tests.support.launched import free_port


class RecordGradients(TrainerCallback):
    """Keep the gradients that the optimizer gets."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.steps.append(
            {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
        )


def record(folder: Path) -> None:
    """Train the job in this process, and write the gradients if it is the first of several."""
    job = TrainingJob.load(folder / "job.json")
    set_seed(3)
    trainer = make_trainer(job, folder, lora_model(job))
    use_float64(trainer.model)
    recorder = RecordGradients()
    trainer.add_callback(recorder)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    if os.environ.get("RANK", "0") == "0":
        torch.save(recorder.steps, folder / "gradients.pt")


def fork(folder: Path, rank: int, processes: int, port: int) -> int:
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
        record(folder)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Record the gradients of each folder's job."""
    for name, number in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        folder, processes, port = Path(name), int(number), free_port()
        pids = [fork(folder, rank, processes, port) for rank in range(processes)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        if any(codes):
            sys.exit(f"{folder}: the processes exited with {codes}")


if __name__ == "__main__":
    main()
