"""Train a student on its own answers, scored by the teacher, or on given ones, with transformers' Trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from cyclealign.distill.checkpoints import last_checkpoint
from cyclealign.distill.models.encoders import require_finite
from cyclealign.distill.opd.config import ArmName, TrainingSettings
from cyclealign.distill.opd.losses import answer_loss_sum, divergence_sum
from cyclealign.distill.opd.predict import Batch, Generation, Row, answer_logits, same_vocabulary, sample
from cyclealign.policy.token_logprobs import batches_by_length
from cyclealign.progress import OnProgress
from cyclealign.records import seed_from


@dataclass(frozen=True)
class Task:
    """Prompts, and an answer to each of them if an arm needs them; the teacher is not needed for `sft`."""

    arm: ArmName
    prompts: Sequence[tuple[int, ...]]
    given: Sequence[Row] | None
    teacher: Any
    generation: Generation


def fit(
    student: Any, task: Task, settings: TrainingSettings, seed: int, folder: Path, on_progress: OnProgress
) -> list[float]:
    """Train the student in place; return the loss of each step, in nats per answer token.

    Args:
        folder: for checkpoints; an interrupted training resumes from the newest one.

    Raises:
        DistillError: the loss became NaN or infinite.
    """
    trainer = make_trainer(student, task, settings, seed, folder)
    trainer.add_callback(_ReportSteps(on_progress))
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    student.eval()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


def make_trainer(student: Any, task: Task, settings: TrainingSettings, seed: int, folder: Path) -> "OnPolicyTrainer":
    """Return the trainer of an arm; arguments as of `fit`."""
    trainer = OnPolicyTrainer(
        model=student,
        args=arguments(settings, seed, folder),
        train_dataset=list(range(len(task.prompts))),
        data_collator=lambda numbers: {"numbers": torch.tensor(numbers)},
    )
    trainer.remove_callback(PrinterCallback)
    trainer.task, trainer.settings, trainer.seed = task, settings, seed
    return trainer


def arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    """Return the arguments of the Trainer."""
    on_gpu = torch.cuda.is_available()
    given = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.prompts_per_step,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        **({"gradient_checkpointing": True} if settings.gradient_checkpointing else {}),
        bf16=on_gpu and torch.cuda.is_bf16_supported() if settings.bf16 is None else settings.bf16,
        use_cpu=not on_gpu,
        save_strategy="steps" if settings.save_every else "no",
        save_steps=settings.save_every or 500,  # ignored without saving, but must be positive
        save_total_limit=1,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=seed,
    )
    given._n_gpu = min(given.n_gpu, 1)  # otherwise each batch would be split over all visible GPUs
    return given


class OnPolicyTrainer(Trainer):
    """The Trainer with answers sampled within each step, and a loss over their tokens."""

    task: Task
    settings: TrainingSettings
    seed: int

    def training_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Any = None) -> Tensor:
        """Return the mean loss per answer token of the step's rows, and add its gradient, pass by pass."""
        rows = self.rows(inputs["numbers"].tolist())
        model.train()
        tokens = sum(len(row.answer) for row in rows)
        losses = []
        for numbers in batches_by_length([len(row.ids) for row in rows], self.settings.tokens_at_once):
            with self.compute_loss_context_manager():
                part = self.loss_sum(model, [rows[number] for number in numbers]) / tokens
            require_finite(part, self.state.global_step + 1)
            self.accelerator.backward(part)
            losses.append(part.detach())
        return torch.stack(losses).sum()

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """Return the rows of a step: the student's own answers, or the given ones.

        As in algorithm 1 of arXiv 2306.13649, one draw decides for the step. It depends on the step alone, so that a
        resumed training draws the same.
        """
        step_seed = seed_from("opd step", self.seed, self.state.global_step)
        draw = float(torch.rand(1, generator=torch.Generator().manual_seed(step_seed)))
        if self.task.arm == "sft" or draw >= self.settings.on_policy:
            assert self.task.given is not None
            return [self.task.given[number] for number in numbers]
        student: Any = self.accelerator.unwrap_model(self.model)
        student.eval()
        prompts = [self.task.prompts[number] for number in numbers]
        return sample(student, prompts, self.task.generation, step_seed)

    def loss_sum(self, model: Any, rows: Sequence[Row]) -> Tensor:
        """Return the sum of the loss over the answer tokens of the rows."""
        batch = Batch.of(rows, self.args.device)
        student_NV = answer_logits(model, batch)
        if self.task.arm == "sft":
            return answer_loss_sum(student_NV, batch.targets_N)
        with torch.no_grad():
            teacher_NV = answer_logits(self.task.teacher, batch)
        return divergence_sum(
            *same_vocabulary(student_NV, teacher_NV), self.settings.beta, self.settings.loss_temperature
        )


class _ReportSteps(TrainerCallback):
    """Reports each step."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_progress(state.global_step, state.max_steps)
