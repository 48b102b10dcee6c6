"""Sentence Transformers' trainer with the schedule of LEAF: the rate falls in a straight line, cycle after cycle."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from torch import nn
from transformers import PrinterCallback, TrainerCallback
from transformers import logging as transformers_logging

from cyclealign.distill.checkpoints import last_checkpoint
from cyclealign.distill.leaf.config import TrainingSettings
from cyclealign.distill.models.encoders import checked

# Progress is told by lines of ours; bars of its own would tear the terminal's.
transformers_logging.disable_progress_bar()

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Schedule:
    """How long to train and how fast."""

    batch: int
    epochs_per_cycle: int
    cycles: int
    first_rate: float
    last_rate: float
    weight_decay: float

    @classmethod
    def of(cls, settings: TrainingSettings) -> "Schedule":
        return cls(
            settings.batch,
            settings.epochs,
            settings.cycles,
            settings.learning_rate,
            settings.last_learning_rate,
            settings.weight_decay,
        )

    def share(self, step: int, rows: int) -> float:
        """Share of the first rate at ``step`` (from 0): linear from 1 to last / first over each cycle."""
        steps = -(-rows // self.batch) * self.epochs_per_cycle
        done = (step % steps) / max(1, steps - 1)
        return 1 - done * (1 - self.last_rate / self.first_rate)


class Trainer(SentenceTransformerTrainer):
    """The library's trainer, which ends at a loss that is no number, and without the model card, for which it would ask
    the hub about the base model.
    """

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        found = super().compute_loss(*args, **kwargs)
        checked(found[0] if isinstance(found, tuple) else found, self.state.global_step + 1)
        return found

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        pass


class ReportSteps(TrainerCallback):
    """Tells the caller how far training is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress(state.global_step, state.max_steps)


def train(
    model: SentenceTransformer,
    rows: Dataset,
    loss: nn.Module,
    schedule: Schedule,
    seed: int,
    folder: Path,
    progress: Progress,
) -> float:
    """Train in place; return the mean loss. Goes on from the last checkpoint in ``folder``, one an epoch.

    Raises:
        DistillError: the loss became infinite or no number.
    """
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=schedule.batch,
        num_train_epochs=schedule.epochs_per_cycle * schedule.cycles,
        seed=seed % 2**32,
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
    )
    learnt = [weights for weights in loss.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=schedule.first_rate, weight_decay=schedule.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.share(step, len(rows)))
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, loss=loss, optimizers=(optimizer, scheduler))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ReportSteps(progress))
    return float(trainer.train(resume_from_checkpoint=last_checkpoint(folder)).training_loss)
