"""Training of the metric in two stages; the second distils from the frozen metric of the first."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from cyclealign.distill.quantidce.config import Pretraining, PretrainingSettings, TuningSettings
from cyclealign.distill.quantidce.data import Graded, Scored
from cyclealign.distill.quantidce.losses import distillation, human_scores, multi_level_ranking, pairwise_logistic
from cyclealign.distill.quantidce.model import Metric
from cyclealign.distill.training import PLAIN, Loop, Plan, train
from cyclealign.progress import OnProgress

T = TypeVar("T")

WEIGHT_DECAY, MAX_GRADIENT_NORM = 0.01, 1.0


def pretrain(
    metric: Metric,
    graded: Sequence[Graded],
    kind: Pretraining,
    settings: PretrainingSettings,
    seed: int,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> Metric:
    """Train the first stage in place: separate the levels of each context (``mlr``), or order them (``pairs``).

    Raises:
        DistillError: the loss is not finite.
    """

    def loss(rows: Sequence[Graded]) -> Tensor:
        scores = metric(metric.encode([pair for row in rows for pair in pairs_of(row)]))
        shape = (len(rows), len(rows[0].levels), len(rows[0].levels[0]))
        if kind == "pairs":
            return pairwise_logistic(scores.logits.view(shape).transpose(0, 1))
        coherence_LBK = scores.coherence.view(shape).transpose(0, 1)
        return multi_level_ranking(coherence_LBK, settings.separation, settings.compactness).total

    batches = [*shuffled_batches(graded, settings.contexts_per_step, settings.epochs, seed)]
    return fit(metric, batches, loss, settings.learning_rate, settings.warm_up, on_progress, loop)


def tune(
    metric: Metric,
    scored: Sequence[Scored],
    settings: TuningSettings,
    kd: bool,
    seed: int,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> Metric:
    """Train the second stage in place on human scores; with ``kd``, also distil from the metric as it is now.

    Raises:
        DistillError: the loss is not finite.
    """
    teacher = copy.deepcopy(metric).eval()

    def loss(rows: Sequence[Scored]) -> Tensor:
        tokens = metric.encode(rows)
        human_B = torch.tensor([row.score for row in rows], dtype=torch.float32, device=metric.device)
        ours = metric(tokens, with_states=kd)
        value = human_scores(ours.coherence, human_B)
        if not kd:
            return value
        with torch.no_grad():
            theirs = teacher(tokens, with_states=True)
        distance = distillation(
            (ours.hidden, ours.attention, ours.coherence), (theirs.hidden, theirs.attention, theirs.coherence)
        )
        return value + settings.kd_weight * distance

    batches = [*shuffled_batches(scored, settings.batch, settings.epochs, seed)]
    return fit(metric, batches, loss, settings.learning_rate, settings.warm_up, on_progress, loop)


def pairs_of(row: Graded) -> list[Scored]:
    """Return the pairs of a context, level by level, best first."""
    return [Scored(row.context, response) for level in row.levels for response in level]


def shuffled_batches(items: Sequence[T], size: int, epochs: int, seed: int) -> Iterator[list[T]]:
    """Yield the batches of all epochs, each epoch in another order."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(items), generator=generator).tolist()
        for start in range(0, len(order), size):
            yield [items[number] for number in order[start : start + size]]


def fit(
    metric: Metric,
    batches: Sequence[Sequence[T]],
    loss: Callable[[Sequence[T]], Tensor],
    learning_rate: float,
    warm_up: float,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> Metric:
    """Train in place with AdamW, linear warm-up and linear decay; return the metric in evaluation mode.

    Args:
        metric: the model to train.
        batches: one per step.
        loss: of a batch.
        learning_rate: its maximum.
        warm_up: share of the steps.
        on_progress: called with the number of steps done and their total.
        loop: settings of the loop, and where an interrupted training goes on from.

    Raises:
        DistillError: the loss is not finite.
    """
    steps = len(batches)
    rising = int(warm_up * steps)

    def rate_share(step: int) -> float:
        return step / max(1, rising) if step < rising else max(0.0, (steps - step) / max(1, steps - rising))

    groups = [{"params": list(metric.parameters())}]
    metric.train()
    plan = Plan(steps, groups, learning_rate, WEIGHT_DECAY, rate_share, MAX_GRADIENT_NORM, [metric])
    train({"metric": metric}, batches, loss, plan, on_progress, loop)
    return metric.eval()
