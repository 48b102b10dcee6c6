"""How the dual encoder is trained: the contrastive loss, and what an arm adds to it."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.cprd.config import DistillationSettings, StudentSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.losses import contrastive, divergence, hardest, ranking
from cyclealign.distill.cprd.student import DualEncoder
from cyclealign.distill.models.encoders import checked
from cyclealign.policy.device import device


class Queue:
    """Features of earlier steps, as further negatives; they carry no gradient (cross-batch memory)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.numbers = torch.empty(0, dtype=torch.long)
        self.features: Tensor | None = None

    def joined(self, numbers_B: Tensor, features_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Those of this step, then those of earlier ones: pairs' numbers (N,) and features (N, d)."""
        if self.features is None:
            return numbers_B, features_BD
        return torch.cat([numbers_B, self.numbers]), torch.cat([features_BD, self.features])

    def push(self, numbers_B: Tensor, features_BD: Tensor) -> None:
        """Keep the newest, ``size`` at most."""
        numbers_N, features_ND = self.joined(numbers_B, features_BD.detach())
        if self.size:
            self.numbers, self.features = numbers_N[: self.size], features_ND[: self.size]


def distilled(
    arm: str, similarity_BN: Tensor, teacher_BN: Tensor, negative_BN: Tensor, k: DistillationSettings
) -> Tensor:
    """What an arm adds to the contrastive loss, in one direction.

    Args:
        similarity_BN: cosines of the step's queries with the other side: this step's and the queue's.
        teacher_BN: the teacher's scores of the same.
        negative_BN: where they belong to different images.
    """
    # A pair that comes again before the queue has forgotten it stands among the others twice, as it is and as it was.
    # So queries may have different numbers of negatives; of each, as many are taken as the one with the fewest has.
    kept = similarity_BN.shape[1] if arm in ("kl all", "rank all") else k.num_hard_negatives
    chosen = hardest(similarity_BN, teacher_BN, negative_BN, kept)
    if arm.startswith("kl"):
        return divergence(*chosen, k.temperature)
    return ranking(*chosen, k.temperature, k.threshold if arm == "cprd" else None)


class Objective:
    """The loss of a step; it holds the teacher's scores and both queues.

    Args:
        scores: the teacher's, shape (images, texts), over all training items.
        image_of: the number of each pair's image.
    """

    def __init__(
        self, arm: str, scores: NDArray[np.float32], image_of: NDArray[np.int64], k: DistillationSettings
    ) -> None:
        self.arm, self.k = arm, k
        self.scores, self.image_of = torch.from_numpy(scores).to(device()), torch.from_numpy(image_of)
        self.images, self.texts = Queue(k.queue), Queue(k.queue)

    def loss(self, numbers_B: Tensor, images_BD: Tensor, texts_BD: Tensor) -> Tensor:
        """The loss of the pairs of those numbers; their features go into the queues."""
        owner_B = self.image_of[numbers_B]
        value = contrastive(images_BD @ texts_BD.T, self.k.temperature, owner_B.to(images_BD.device))
        if self.arm != "none":
            numbers_N, texts_ND = self.texts.joined(numbers_B, texts_BD)  # both queues hold the same pairs
            _, images_ND = self.images.joined(numbers_B, images_BD)
            owner_N = self.image_of[numbers_N]
            negative_BN = (owner_B.unsqueeze(1) != owner_N.unsqueeze(0)).to(images_BD.device)
            to_texts_BN = self.scores[owner_B][:, numbers_N]
            to_images_BN = self.scores.T[numbers_B][:, owner_N]
            sides = (
                distilled(self.arm, images_BD @ texts_ND.T, to_texts_BN, negative_BN, self.k),
                distilled(self.arm, texts_BD @ images_ND.T, to_images_BN, negative_BN, self.k),
            )
            value = value + self.k.weight * (sides[0] + sides[1])
        self.images.push(numbers_B, images_BD)
        self.texts.push(numbers_B, texts_BD)
        return value


def fit(
    student: DualEncoder,
    pairs: Pairs,
    objective: Objective,
    settings: StudentSettings,
    seed: int,
    tell: Callable[[int, int], None],
) -> DualEncoder:
    """Train in place; AdamW, a cosine to zero.

    Raises:
        DistillError: the loss is no number any more.
    """
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    steps_an_epoch = max(1, len(pairs) // settings.batch)
    steps = settings.epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    generator = torch.Generator().manual_seed(seed)
    student.model.train()
    for epoch in range(settings.epochs):
        tell(epoch, settings.epochs)
        order = torch.randperm(len(pairs), generator=generator)
        for step in range(steps_an_epoch):
            numbers_B = order[step * settings.batch : (step + 1) * settings.batch]
            images_BD = student.of_images(pairs.images[pairs.image[numbers_B.numpy()]])
            texts_BD = student.of_texts([pairs.texts[number] for number in numbers_B.tolist()])
            value = checked(objective.loss(numbers_B, images_BD, texts_BD), epoch * steps_an_epoch + step)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
    tell(settings.epochs, settings.epochs)
    student.model.eval()
    return student
