"""Training of a classifier with one of the losses."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.models.encoders import require_finite
from cyclealign.distill.pld.config import ModelSettings
from cyclealign.distill.pld.data import Splits
from cyclealign.distill.pld.losses import LOSSES
from cyclealign.distill.pld.model import Classifier
from cyclealign.errors import DistillError
from cyclealign.progress import OnProgress


def fit(
    classifier: Classifier,
    splits: Splits,
    teacher_logits: NDArray[np.float32],
    loss: str,
    settings: ModelSettings,
    tried: Mapping[str, float],
    seed: int,
    on_progress: OnProgress = lambda done, of: None,
) -> None:
    """Train in place with AdamW; the learning rate falls to zero along a cosine.

    Each epoch shows one view of every item, and the views take turns.

    Args:
        classifier: the model to train.
        splits: its training items are used.
        teacher_logits: of the training items and all their views, shape (views * items, classes).
        loss: name in `LOSSES`.
        settings: epochs, batch size and optimizer.
        tried: keywords of the loss; also ``learning_rate`` and ``weight_decay``, which override the settings.
        seed: of the order of the items, and of dropout.
        on_progress: called with the number of epochs done and their total.

    Raises:
        DistillError: the loss is not finite.
    """
    keywords, optimizer = split_tried(classifier, settings, tried)
    items = len(splits.train.labels) // splits.views
    steps_per_epoch = -(-items // settings.batch)
    schedule = cosine_schedule(optimizer, settings.epochs * steps_per_epoch)
    device = classifier.model.device
    labels, logits = torch.from_numpy(splits.train.labels).to(device), torch.from_numpy(teacher_logits).to(device)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    classifier.model.train()
    step = 0
    for epoch in range(settings.epochs):
        on_progress(epoch, settings.epochs)
        order = torch.randperm(items, generator=generator) + items * (epoch % splits.views)
        # Batches of equal size: a last batch of one item would break batch norm.
        for batch in order.tensor_split(steps_per_epoch):
            student = classifier(splits.train.inputs[batch.numpy()])
            value = LOSSES[loss](student, logits[batch], labels[batch], **keywords)
            step += 1
            optimizer.zero_grad()
            finite(value, step, loss, tried).backward()
            optimizer.step()
            schedule.step()
    on_progress(settings.epochs, settings.epochs)
    classifier.model.eval()


def split_tried(
    classifier: Classifier, settings: ModelSettings, tried: Mapping[str, float]
) -> tuple[dict[str, float], torch.optim.AdamW]:
    """Return the keywords of the loss, and the optimizer with the values that override the settings."""
    keywords = dict(tried)
    learning_rate = keywords.pop("learning_rate", settings.learning_rate)
    weight_decay = keywords.pop("weight_decay", settings.weight_decay)
    optimizer = torch.optim.AdamW(classifier.model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    return keywords, optimizer


def finite(value: Tensor, step: int, loss: str, tried: Mapping[str, float]) -> Tensor:
    """Return the loss, or raise DistillError with its name and keywords if it is not finite."""
    try:
        return require_finite(value, step)
    except DistillError as error:
        raise DistillError(f"'{loss}' with {dict(tried)}: {error}") from None


def cosine_schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a schedule in which the learning rate falls to zero along half a cosine."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
