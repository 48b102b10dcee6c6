"""Fitting a classifier by one of the losses."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from cyclealign.distill.pld.config import ModelSettings
from cyclealign.distill.pld.data import Items
from cyclealign.distill.pld.loss import LOSSES
from cyclealign.distill.pld.teacher import pixels


def fit(
    model: Any,
    items: Items,
    teacher_logits: Tensor,
    loss: str,
    settings: ModelSettings,
    given: Mapping[str, float],
    seed: int,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Any:
    """Train in place with AdamW and a cosine to zero; ``given`` holds keywords of the loss, and `learning_rate`.

    Args:
        teacher_logits: shape (items, classes), in the items' order.
        seed: of the order of the items.
    """
    words = dict(given)
    rate = words.pop("learning_rate", settings.learning_rate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=settings.weight_decay)
    images, labels = torch.from_numpy(items.images), torch.from_numpy(items.labels)
    steps_an_epoch = max(1, len(labels) // settings.batch)
    steps = settings.epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for epoch in range(settings.epochs):
        tell(epoch, settings.epochs)
        order = torch.randperm(len(labels), generator=generator)
        for step in range(steps_an_epoch):
            chosen = order[step * settings.batch : (step + 1) * settings.batch]
            logits_BC = model(pixel_values=pixels(images[chosen])).logits
            value = LOSSES[loss](logits_BC, teacher_logits[chosen], labels[chosen], **words)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
    tell(settings.epochs, settings.epochs)
    return model.eval()
