"""Train jobs in float64 on one or more processes, over gloo, and record each step's gradient.

``python -m tests.support.step_gradients FOLDER PROCESSES...`` reads ``job.json`` in each FOLDER, trains it on that many
processes and writes ``gradients.pt``.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, set_seed

from cyclealign.training.job import TrainingJob
from cyclealign.training.model import lora_model
from cyclealign.training.trainers import make_trainer
from tests.support.float64_head import KeepFloat64, use_float64
from tests.support.processes import run_processes


class RecordGradients(TrainerCallback):
    """Keep the gradients that the optimizer gets."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.steps.append(
            {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
        )


def record(folder: Path, rank: int) -> None:
    """Train the job in this process, and write the gradients if it is the first of several."""
    job = TrainingJob.load(folder / "job.json")
    set_seed(3)
    trainer = make_trainer(job, folder, lora_model(job))
    use_float64(trainer.model)
    recorder = RecordGradients()
    trainer.add_callback(recorder)
    trainer.remove_callback(PrinterCallback)
    with KeepFloat64():
        trainer.train()
    if rank == 0:
        torch.save(recorder.steps, folder / "gradients.pt")


def main() -> None:
    """Record the gradients of each folder's job."""
    for name, number in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        folder = Path(name)
        run_processes(partial(record, folder), int(number), folder)


if __name__ == "__main__":
    main()
