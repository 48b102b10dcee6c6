"""Train a student on triples and the teacher's scores, with transformers' Trainer."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainingArguments,
)

from cyclealign.distill.checkpoints import last_checkpoint
from cyclealign.distill.margin_mse.config import TrainingSettings
from cyclealign.distill.margin_mse.data import Collection
from cyclealign.distill.margin_mse.labels import TrainingSet
from cyclealign.distill.margin_mse.losses import LOSSES
from cyclealign.distill.margin_mse.student import Features, Student
from cyclealign.distill.models.encoders import require_finite
from cyclealign.progress import OnProgress

Validate = Callable[[Student], float]
METRIC = "ndcg"  # name of the validation metric within the Trainer


def fit(
    student: Student,
    training_set: TrainingSet,
    collection: Collection,
    loss: str,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    on_progress: OnProgress = lambda done, total: None,
    validate: Validate | None = None,
) -> float:
    """Train the student in place.

    Args:
        loss: a name in `losses.LOSSES`.
        folder: for checkpoints; an interrupted training resumes from the newest one.
        on_progress: called after each step.
        validate: returns nDCG on the validation split; required if `settings.validate_every` is set. The best weights
            are kept.

    Returns:
        The mean training loss.

    Raises:
        DistillError: the loss became NaN or infinite.
        ValueError: `settings.validate_every` without `validate`.
    """
    if settings.validate_every and validate is None:
        raise ValueError("settings.validate_every requires the argument validate.")
    trainer = _Trainer(
        model=student,
        args=_arguments(settings, seed, folder),
        train_dataset=_rows(training_set),
        eval_dataset=_rows(training_set)[:1]
        if settings.validate_every
        else None,  # required by the Trainer; `evaluate` below ignores it
        data_collator=_Collator(student, collection),
        callbacks=[
            _ReportSteps(on_progress),
            *([EarlyStoppingCallback(settings.patience)] if settings.validate_every else []),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.loss_name, trainer.settings, trainer.validate = loss, settings, validate
    result = trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    student.eval()
    return float(result.training_loss)


def _rows(training_set: TrainingSet) -> list[dict[str, Any]]:
    rows = zip(training_set.triples, training_set.scores_T2.tolist(), strict=True)
    return [{"triple": triple, "scores": scores} for triple, scores in rows]


def _arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    save_every = settings.validate_every or settings.save_every
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        warmup_steps=settings.warmup,
        weight_decay=0.0,
        bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16",
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or 500,  # ignored without saving, but must be positive
        save_total_limit=2,
        eval_strategy="steps" if settings.validate_every else "no",
        eval_steps=settings.validate_every or None,
        load_best_model_at_end=bool(settings.validate_every),
        metric_for_best_model=f"eval_{METRIC}" if settings.validate_every else None,
        greater_is_better=True if settings.validate_every else None,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
    )


class _Collator:
    """Converts triples to features of query, positive and negative passage, and the teacher's scores."""

    def __init__(self, student: Student, collection: Collection) -> None:
        self.student, self.collection = student, collection

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        queries = [self.collection.queries[row["triple"][0]] for row in rows]
        passages = [self.collection.documents[passage] for row in rows for passage in row["triple"][1:]]
        features = self.student.prepare(queries, passages)
        return {"features": features, "scores": torch.tensor([row["scores"] for row in rows], dtype=torch.float32)}


class _ReportSteps(TrainerCallback):
    """Reports each optimizer step."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.on_progress(state.global_step, state.max_steps)


class _Trainer(Trainer):
    """The Trainer with a loss over triples, and nDCG of the validation queries as its evaluation."""

    optimizer: torch.optim.Optimizer | None
    control: TrainerControl
    loss_name: str
    settings: TrainingSettings
    validate: Validate | None

    def compute_loss(self, model: Any, inputs: Features, return_outputs: bool = False, **kwargs: Any) -> Tensor:
        scores_B2 = model(inputs["features"]).float()
        teacher_B2 = inputs["scores"]
        loss = LOSSES[self.loss_name](scores_B2[:, 0], scores_B2[:, 1], teacher_B2[:, 0], teacher_B2[:, 1])
        return require_finite(loss, self.state.global_step + 1)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            groups = self.model.rate_groups(self.settings.learning_rate, self.settings.kernel_learning_rate)
            self.optimizer = torch.optim.Adam(groups)
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.validate is not None
        metrics = {f"eval_{METRIC}": self.validate(self.model)}
        self.model.train()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
