"""Triples and stored teacher scores -> a trained student, by the Trainer of transformers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
from cyclealign.distill.margin_mse.data import Collection, Triple
from cyclealign.distill.margin_mse.losses import LOSSES
from cyclealign.distill.margin_mse.students import Features, Student
from cyclealign.distill.models.encoders import checked

Tell = Callable[[int, int], None]
Validate = Callable[[Student], float]
SCORE = "ndcg"


@dataclass(frozen=True)
class TrainingSet:
    """What a student learns from: triples, and the teacher's (positive, negative) scores of each, shape (T, 2)."""

    triples: Sequence[Triple]
    scores_T2: NDArray[np.float64]  # noqa: N815


def with_offsets(lesson: TrainingSet, deviation: float, seed: int) -> TrainingSet:
    """The lesson of a teacher whose scores have a random offset a query, drawn from N(0, deviation^2).

    No ranking changes by it: it stands for a teacher whose range of scores differs from query to query.
    """
    draw = np.random.default_rng(seed)
    offset = {query: deviation * draw.normal() for query in dict.fromkeys(query for query, _, _ in lesson.triples)}
    offsets_T = np.array([offset[query] for query, _, _ in lesson.triples])
    return TrainingSet(lesson.triples, lesson.scores_T2 + offsets_T[:, None])


def fit(
    student: Student,
    lesson: TrainingSet,
    collection: Collection,
    loss: str,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    tell: Tell = lambda done, of: None,
    validate: Validate | None = None,
) -> float:
    """Train the student in place.

    Args:
        loss: a name in `loss.LOSSES`.
        folder: for checkpoints; a training that was stopped goes on from the newest one there.
        tell: hears of each step: (done, of).
        validate: nDCG on the validation split, if `settings.validate_every` asks for it; the best weights are kept.

    Returns:
        The mean training loss.

    Raises:
        DistillError: the loss became infinite or no number.
        ValueError: `settings.validate_every` without `validate`.
    """
    if settings.validate_every and validate is None:
        raise ValueError("settings.validate_every asks for a validation, and none is given.")
    trainer = _Trainer(
        model=student,
        args=_arguments(settings, seed, folder),
        train_dataset=_rows(lesson),
        eval_dataset=_rows(lesson)[:1] if settings.validate_every else None,  # the Trainer wants one; we do not use it
        data_collator=_Collator(student, collection),
        callbacks=[_Teller(tell), *([EarlyStoppingCallback(settings.patience)] if settings.validate_every else [])],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.loss_name, trainer.settings, trainer.validate = loss, settings, validate
    found = trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    student.eval()
    return float(found.training_loss)


def _rows(lesson: TrainingSet) -> list[dict[str, Any]]:
    rows = zip(lesson.triples, lesson.scores_T2.tolist(), strict=True)
    return [{"triple": triple, "scores": scores} for triple, scores in rows]


def _arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    every = settings.validate_every or settings.save_every
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        warmup_steps=settings.warmup,
        weight_decay=0.0,
        bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16",
        save_strategy="steps" if every else "no",
        save_steps=every or 500,
        save_total_limit=2,
        eval_strategy="steps" if settings.validate_every else "no",
        eval_steps=settings.validate_every or None,
        load_best_model_at_end=bool(settings.validate_every),
        metric_for_best_model=f"eval_{SCORE}" if settings.validate_every else None,
        greater_is_better=True if settings.validate_every else None,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
    )


class _Collator:
    """Triples to features: each query with its positive and its negative passage, and the teacher's scores."""

    def __init__(self, student: Student, collection: Collection) -> None:
        self.student, self.collection = student, collection

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        queries = [self.collection.queries[row["triple"][0]] for row in rows]
        passages = [self.collection.documents[each] for row in rows for each in row["triple"][1:]]
        features = self.student.prepare(queries, passages)
        return {"features": features, "scores": torch.tensor([row["scores"] for row in rows], dtype=torch.float32)}


class _Teller(TrainerCallback):
    """Says how many steps are done."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tell(state.global_step, state.max_steps)


class _Trainer(Trainer):
    """The Trainer with the loss of a triple, and the ranking of the validation queries as its evaluation."""

    optimizer: torch.optim.Optimizer | None
    control: TrainerControl
    loss_name: str
    settings: TrainingSettings
    validate: Validate | None

    def compute_loss(self, model: Any, inputs: Features, return_outputs: bool = False, **kwargs: Any) -> Tensor:
        scores_B2 = model(inputs["features"]).float()
        teacher_B2 = inputs["scores"]
        loss = LOSSES[self.loss_name](scores_B2[:, 0], scores_B2[:, 1], teacher_B2[:, 0], teacher_B2[:, 1])
        return checked(loss, self.state.global_step + 1)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            groups = self.model.rate_groups(self.settings.learning_rate, self.settings.kernel_learning_rate)
            self.optimizer = torch.optim.Adam(groups)
        return self.optimizer

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.validate is not None
        metrics = {f"eval_{SCORE}": self.validate(self.model)}
        self.model.train()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
