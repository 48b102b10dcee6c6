"""Train a student on the teacher's vectors, with Sentence Transformers' trainer and LEAF's learning rate cycles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback
from transformers import logging as transformers_logging

from cyclealign.distill.checkpoints import last_checkpoint
from cyclealign.distill.leaf.config import TrainingSettings
from cyclealign.distill.leaf.losses import embedding_distance
from cyclealign.distill.leaf.rotations import Vectors
from cyclealign.distill.models.encoders import require_finite
from cyclealign.progress import OnProgress

# Its bars would overwrite the terminal's own progress bars.
transformers_logging.disable_progress_bar()


class EmbeddingDistance(nn.Module):
    """`embedding_distance` in the trainer's form: features of one text column in, a scalar out."""

    def __init__(self, student: SentenceTransformer, squared: bool) -> None:
        super().__init__()
        self.model = student
        self.squared = squared

    def forward(self, features: Sequence[dict[str, Tensor]], labels: Tensor) -> Tensor:
        (texts,) = features
        student_BD = self.model(texts)["sentence_embedding"]
        return embedding_distance(student_BD.float(), labels.to(student_BD.device).float(), self.squared)


def fit(
    student: SentenceTransformer,
    texts: Sequence[str],
    vectors_ND: Vectors,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    on_progress: OnProgress,
) -> float:
    """Train the student in place on the teacher's vectors; return the mean loss.

    Args:
        vectors_ND: one row per text.
        folder: for checkpoints, one per epoch; an interrupted training resumes from the last one.

    Raises:
        DistillError: the loss became NaN or infinite.
    """
    rows = Dataset.from_dict({"text": list(texts), "label": vectors_ND})
    loss = EmbeddingDistance(student, settings.loss == "squared_l2")
    return train(student, rows, loss, settings, seed, folder, on_progress)


def train(
    model: SentenceTransformer,
    rows: Dataset,
    loss: nn.Module,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    on_progress: OnProgress,
) -> float:
    """Train a model in place with any loss module; arguments, result and errors as of `fit`.

    Args:
        rows: the columns that the loss takes.
    """
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch,
        num_train_epochs=settings.epochs * settings.cycles,
        seed=seed % 2**32,
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
    )
    trainable = [weights for weights in loss.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(settings, step, len(rows)))
    trainer = _Trainer(model=model, args=arguments, train_dataset=rows, loss=loss, optimizers=(optimizer, scheduler))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_ReportSteps(on_progress))
    return float(trainer.train(resume_from_checkpoint=last_checkpoint(folder)).training_loss)


def rate_share(settings: TrainingSettings, step: int, rows: int) -> float:
    """Return the share of the first learning rate at ``step`` (from 0): linear from 1 to last / first in each cycle."""
    steps_per_cycle = -(-rows // settings.batch) * settings.epochs
    position = (step % steps_per_cycle) / max(1, steps_per_cycle - 1)
    return 1 - position * (1 - settings.last_learning_rate / settings.learning_rate)


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer, stopped by a loss that is not finite, and without a model card.

    To write the card, the library would ask the hub about the base model.
    """

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        result = super().compute_loss(*args, **kwargs)
        require_finite(result[0] if isinstance(result, tuple) else result, self.state.global_step + 1)
        return result

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        pass


class _ReportSteps(TrainerCallback):
    """Reports each optimizer step."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_progress(state.global_step, state.max_steps)
