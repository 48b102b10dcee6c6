"""Training of a classifier with one of the losses."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cyclealign.distill.early_stopping import Validation
from cyclealign.distill.passes import Passes
from cyclealign.distill.pld import predict
from cyclealign.distill.pld.config import ModelSettings, TrainerSettings
from cyclealign.distill.pld.data import Items, Splits
from cyclealign.distill.pld.evaluate import accuracy
from cyclealign.distill.pld.losses import LOSSES
from cyclealign.distill.pld.model import Classifier
from cyclealign.distill.training import PLAIN, Loop, Plan, train
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
    loop: Loop = PLAIN,
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
        loop: settings of the loop, and where an interrupted training goes on from.

    Raises:
        DistillError: the loss is not finite.
    """
    keywords = dict(tried)
    learning_rate = keywords.pop("learning_rate", settings.learning_rate)
    weight_decay = keywords.pop("weight_decay", settings.weight_decay)
    device = classifier.model.device
    labels, logits = torch.from_numpy(splits.train.labels).to(device), torch.from_numpy(teacher_logits).to(device)

    def student_logits(batch: Tensor) -> tuple[Tensor]:
        return (classifier(splits.train.inputs[batch.numpy()]),)

    def value_of(batch: Tensor, student: tuple[Tensor, ...]) -> Tensor:
        return LOSSES[loss](student[0], logits[batch], labels[batch], **keywords)

    items = len(splits.train.labels) // splits.views
    steps_per_epoch = -(-items // settings.batch)
    steps = settings.epochs * steps_per_epoch
    groups = [{"params": list(classifier.model.parameters())}]
    torch.manual_seed(seed)
    classifier.model.train()
    try:
        model, validation = classifier.model, validation_of(classifier, splits.valid, loop)
        plan = Plan(steps, groups, learning_rate, weight_decay, cosine(steps), None, [model], validation)
        passes = Passes(student_logits, value_of, Tensor.split)
        indices = batches(items, splits.views, settings.epochs, steps_per_epoch, seed)
        train({"model": model}, indices, passes, plan, on_progress, loop)
    except DistillError as error:
        raise DistillError(f"'{loss}' with {dict(tried)}: {error}") from None
    classifier.model.eval()


def validation_of(classifier: Classifier, valid: Items, loop: Loop) -> tuple[nn.Module, Validation] | None:
    """Return the model and the measure of early stopping; None without it.

    Raises:
        DistillError: batches in parts are asked for, and the model normalises over its batch.
    """
    settings = loop.settings
    if loop.items_at_once and any(isinstance(module, _BatchNorm) for module in classifier.model.modules()):
        raise DistillError(
            "trainer.items_at_once cannot be set: the model has batch normalisation, whose statistics would be those "
            "of a part of the batch. Leave it empty, or take a model without, such as a vit."
        )
    if not isinstance(settings, TrainerSettings) or not settings.validate_every:
        return None

    def measure() -> float:
        return accuracy(predict.logits(classifier, valid), valid.labels)

    return classifier.model, Validation(settings.validate_every, settings.patience, measure)


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
