"""Training of the dual encoder with the contrastive loss and the term of an arm."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclealign.distill.cprd.config import DistillationSettings, StudentSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.losses import contrastive, divergence, hardest, ranking
from cyclealign.distill.cprd.student import DualEncoder
from cyclealign.distill.passes import Passes
from cyclealign.distill.training import PLAIN, Loop, Plan, train
from cyclealign.policy.device import device
from cyclealign.progress import OnProgress

WEIGHT_DECAY = 0.01


class Queue:
    """Features of earlier steps as additional negatives, without gradients (cross-batch memory, arXiv 1912.06798)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.numbers = torch.empty(0, dtype=torch.long)
        self.features: Tensor | None = None

    def joined(self, numbers_B: Tensor, features_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return pair indices (N,) and features (N, D) of this step, then those of earlier steps."""
        if self.features is None:
            return numbers_B, features_BD
        return torch.cat([numbers_B, self.numbers]), torch.cat([features_BD, self.features])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the features, for a checkpoint."""
        return {} if self.features is None else {"numbers": self.numbers, "features": self.features}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the features of a checkpoint."""
        if state:
            self.numbers, self.features = state["numbers"], state["features"].to(device())

    def push(self, numbers_B: Tensor, features_BD: Tensor) -> None:
        """Add the features of a step, and keep the newest ``size``."""
        numbers_N, features_ND = self.joined(numbers_B, features_BD.detach())
        if self.size:
            self.numbers, self.features = numbers_N[: self.size], features_ND[: self.size]


def arm_term(
    arm: str, similarity_BN: Tensor, teacher_BN: Tensor, negative_BN: Tensor, k: DistillationSettings
) -> Tensor:
    """Return the term that an arm adds to the contrastive loss, in one direction.

    Args:
        arm: its name.
        similarity_BN: cosines of the step's queries with the other side, of this step and of the queue.
        teacher_BN: the teacher's scores of the same pairs.
        negative_BN: true if the two belong to different images.
        k: temperature, threshold and number of hard negatives.
    """
    # A pair that is drawn again while it is in the queue occurs twice, with its features of now and of then, so queries
    # may differ in their number of negatives; `hardest` takes the smallest number from each.
    count = similarity_BN.shape[1] if arm in ("kl all", "rank all") else k.num_hard_negatives
    negatives = hardest(similarity_BN, teacher_BN, negative_BN, count)
    if arm.startswith("kl"):
        return divergence(*negatives, k.temperature)
    return ranking(*negatives, k.temperature, k.threshold if arm == "cprd" else None)


class Objective:
    """The loss of an arm, with the teacher's scores and the queues of both sides.

    Args:
        arm: its name.
        scores: the teacher's scores of all training pairs, shape (images, texts).
        image_of: index of each pair's image, shape (pairs,).
        k: settings of the loss.
    """

    def __init__(
        self, arm: str, scores: NDArray[np.float32], image_of: NDArray[np.int64], k: DistillationSettings
    ) -> None:
        self.arm, self.k = arm, k
        self.scores, self.image_of = torch.from_numpy(scores).to(device()), torch.from_numpy(image_of)
        self.images, self.texts = Queue(k.queue), Queue(k.queue)

    def loss(self, numbers_B: Tensor, images_BD: Tensor, texts_BD: Tensor) -> Tensor:
        """Return the loss of a step and add its features to the queues.

        Args:
            numbers_B: indices of the pairs.
            images_BD: unit features of their images.
            texts_BD: unit features of their captions.
        """
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
                arm_term(self.arm, images_BD @ texts_ND.T, to_texts_BN, negative_BN, self.k),
                arm_term(self.arm, texts_BD @ images_ND.T, to_images_BN, negative_BN, self.k),
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
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> DualEncoder:
    """Train in place with AdamW; the learning rate falls to zero along a cosine. Return the student.

    Args:
        student: the model to train.
        pairs: the training pairs.
        objective: the loss of the arm.
        settings: epochs, batch size and learning rate.
        seed: of the order of the pairs.
        on_progress: called with the number of steps done and their total.
        loop: settings of the loop, and where an interrupted training goes on from.

    Raises:
        DistillError: the loss is not finite.
    """
    steps_per_epoch = max(1, len(pairs) // settings.batch)
    steps = settings.epochs * steps_per_epoch

    def rate_share(step: int) -> float:
        return 0.5 + 0.5 * math.cos(math.pi * step / steps)

    def features(numbers_B: Tensor) -> tuple[Tensor, Tensor]:
        images_BD = student.of_images(pairs.images[pairs.image[numbers_B.numpy()]])
        return images_BD, student.of_texts([pairs.texts[number] for number in numbers_B.tolist()])

    def loss(numbers_B: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        return objective.loss(numbers_B, *features)

    groups = [{"params": list(student.model.parameters())}]
    plan = Plan(steps, groups, settings.learning_rate, WEIGHT_DECAY, rate_share, compiled=student.towers())
    parts = {"model": student.model, "images": objective.images, "texts": objective.texts}
    student.model.train()
    numbers = batches(len(pairs), settings, steps_per_epoch, seed)
    train(parts, numbers, Passes(features, loss, Tensor.split), plan, on_progress, loop)
    student.model.eval()
    return student


def batches(pairs: int, settings: StudentSettings, steps_per_epoch: int, seed: int) -> Iterator[Tensor]:
    """Yield the indices of each step's pairs, each epoch in another order; an incomplete last batch is left out."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        order = torch.randperm(pairs, generator=generator)
        for step in range(steps_per_epoch):
            yield order[step * settings.batch : (step + 1) * settings.batch]
