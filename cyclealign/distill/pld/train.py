"""Training of a classifier with one of the losses."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.pld.config import ModelSettings
from cyclealign.distill.pld.data import Splits
from cyclealign.distill.pld.losses import LOSSES
from cyclealign.distill.pld.model import Classifier
from cyclealign.distill.training import Plan, train
from cyclealign.distill.training_state import NO_CHECKPOINTS, Checkpoints
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
    checkpoints: Checkpoints = NO_CHECKPOINTS,
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
        on_progress: called with the number of steps done and their total.
        checkpoints: where an interrupted training goes on from.

    Raises:
        DistillError: the loss is not finite.
    """
    keywords = dict(tried)
    learning_rate = keywords.pop("learning_rate", settings.learning_rate)
    weight_decay = keywords.pop("weight_decay", settings.weight_decay)
    device = classifier.model.device
    labels, logits = torch.from_numpy(splits.train.labels).to(device), torch.from_numpy(teacher_logits).to(device)

    def value_of(batch: Tensor) -> Tensor:
        student = classifier(splits.train.inputs[batch.numpy()])
        return LOSSES[loss](student, logits[batch], labels[batch], **keywords)

    items = len(splits.train.labels) // splits.views
    steps_per_epoch = -(-items // settings.batch)
    steps = settings.epochs * steps_per_epoch
    groups = [{"params": list(classifier.model.parameters())}]
    torch.manual_seed(seed)
    classifier.model.train()
    try:
        plan = Plan(steps, groups, learning_rate, weight_decay, cosine(steps))
        indices = batches(items, splits.views, settings.epochs, steps_per_epoch, seed)
        train({"model": classifier.model}, indices, value_of, plan, on_progress, checkpoints)
    except DistillError as error:
        raise DistillError(f"'{loss}' with {dict(tried)}: {error}") from None
    classifier.model.eval()


def batches(items: int, views: int, epochs: int, steps_per_epoch: int, seed: int) -> Iterator[Tensor]:
    """Yield the indices of each step: every epoch one view of all items, in another order.

    Batches have equal sizes, as far as possible: a last batch of one item would break batch norm.
    """
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        order = torch.randperm(items, generator=generator) + items * (epoch % views)
        yield from order.tensor_split(steps_per_epoch)


def cosine(steps: int) -> Callable[[int], float]:
    """Return the share of the learning rate at each step: it falls to zero along half a cosine."""
    return lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps)
