"""Checkpoints of a training: each appears whole, the last one is kept, and the next attempt at the job goes on from it.

They are the trainer's own: weights, optimizer, schedule, random generators and the losses so far.
"""

import shutil
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from cyclealign.training.model import is_main_process


class KeepCheckpoints(TrainerCallback):
    """Save a checkpoint every ``every`` steps, except after the last, and move it into ``folder`` once it is whole.

    The trainer writes it into a folder of this attempt alone, and one rename publishes it: neither a kill while it is
    written nor a second attempt leaves half a checkpoint.
    """

    def __init__(self, trainer: Trainer, folder: Path, every: int) -> None:
        self._trainer, self._folder, self._every = trainer, folder, every

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._every and state.global_step % self._every == 0 and state.global_step < state.max_steps:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.accelerator.wait_for_everyone()  # each process has written its part
        if is_main_process():
            publish(Path(args.output_dir) / f"checkpoint-{state.global_step}", self._folder, state.global_step)


def publish(checkpoint: Path, folder: Path, step: int) -> None:
    """Move a checkpoint into the folder of published ones and delete those of earlier steps."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / f"step-{step}").exists():
        shutil.rmtree(checkpoint)  # of an earlier attempt, with the same content
    else:
        checkpoint.rename(folder / f"step-{step}")
    for path in folder.glob("step-*"):
        if step_of(path) < step:
            shutil.rmtree(path, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """Return the number of steps behind a published checkpoint."""
    return int(checkpoint.name.removeprefix("step-"))


def last_published(folder: Path | None) -> Path | None:
    """Return the last checkpoint of the folder; None if there is none, or no folder."""
    published = [] if folder is None else list(folder.glob("step-*"))
    return max(published, key=step_of, default=None)


def mean_loss(trainer: Trainer) -> float:
    """Return the mean loss over all steps; the trainer's own mean leaves out those before the checkpoint."""
    losses: list[float] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return sum(losses) / len(losses)
