"""Fitting a classifier by one of the losses."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.models.encoders import checked
from cyclealign.distill.pld.config import ModelSettings
from cyclealign.distill.pld.data import Splits
from cyclealign.distill.pld.losses import LOSSES
from cyclealign.distill.pld.model import Classifier
from cyclealign.errors import DistillError


def fit(
    classifier: Classifier,
    splits: Splits,
    teacher_logits: NDArray[np.float32],
    loss: str,
    settings: ModelSettings,
    given: Mapping[str, float],
    seed: int,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Train in place with AdamW and a cosine to zero. Each epoch shows one view of every item, in turn.

    Args:
        teacher_logits: of the training items and all their views, shape (views * items, classes).
        given: keywords of the loss; also ``learning_rate`` and ``weight_decay``, in place of the settings'.
        seed: of the order of the items, and of dropout.

    Raises:
        DistillError: the loss became infinite.
    """
    words = dict(given)
    rate = words.pop("learning_rate", settings.learning_rate)
    decay = words.pop("weight_decay", settings.weight_decay)
    optimizer = torch.optim.AdamW(classifier.model.parameters(), lr=rate, weight_decay=decay)
    items = len(splits.train.labels) // splits.views
    steps_an_epoch = -(-items // settings.batch)
    schedule = cosine(optimizer, settings.epochs * steps_an_epoch)
    where = classifier.model.device
    labels, logits = torch.from_numpy(splits.train.labels).to(where), torch.from_numpy(teacher_logits).to(where)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    classifier.model.train()
    step = 0
    for epoch in range(settings.epochs):
        tell(epoch, settings.epochs)
        order = torch.randperm(items, generator=generator) + items * (epoch % splits.views)
        # Parts of equal size: a last part of one item would break batch norm.
        for chosen in order.tensor_split(steps_an_epoch):
            value = LOSSES[loss](
                classifier(splits.train.inputs[chosen.numpy()]), logits[chosen], labels[chosen], **words
            )
            step += 1
            optimizer.zero_grad()
            finite(value, step, loss, given).backward()
            optimizer.step()
            schedule.step()
    tell(settings.epochs, settings.epochs)
    classifier.model.eval()


def finite(value: Tensor, step: int, loss: str, given: Mapping[str, float]) -> Tensor:
    """The loss, if it is a number; if not, the error says with which loss and keywords."""
    try:
        return checked(value, step)
    except DistillError as error:
        raise DistillError(f"'{loss}' with {dict(given)}: {error}") from None


def cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate falls to zero along half a cosine."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
