"""The two stages. The teacher is the metric itself as the first stage left it, frozen."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from cyclealign.distill.models.encoders import checked
from cyclealign.distill.quantidce.config import Pretraining, PretrainingSettings, TuningSettings
from cyclealign.distill.quantidce.data import Graded, Scored
from cyclealign.distill.quantidce.losses import distillation, human_scores, multi_level_ranking, pairwise_logistic
from cyclealign.distill.quantidce.model import Metric

T = TypeVar("T")
Tell = Callable[[int, int], None]


def pretrain(
    metric: Metric, graded: Sequence[Graded], kind: Pretraining, settings: PretrainingSettings, seed: int, tell: Tell
) -> Metric:
    """The first stage, in place: the levels of each context are set apart (``mlr``) or ordered (``pairs``)."""

    def loss(rows: Sequence[Graded]) -> Tensor:
        scores = metric(metric.encode([each for row in rows for each in flat(row)]))
        shape = (len(rows), len(rows[0].levels), len(rows[0].levels[0]))
        if kind == "pairs":
            return pairwise_logistic(scores.logits.view(shape).transpose(0, 1))
        coherence_LBK = scores.coherence.view(shape).transpose(0, 1)
        return multi_level_ranking(coherence_LBK, settings.separation, settings.compactness).total

    batches = [*drawn(graded, settings.contexts_per_step, settings.epochs, seed)]
    return fitted(metric, batches, loss, settings.learning_rate, settings.warm_up, tell)


def tune(metric: Metric, scored: Sequence[Scored], settings: TuningSettings, kd: bool, seed: int, tell: Tell) -> Metric:
    """The second stage, in place: human scores, with ``kd`` held near the metric as it is now."""
    teacher = copy.deepcopy(metric).eval()

    def loss(rows: Sequence[Scored]) -> Tensor:
        tokens = metric.encode(rows)
        given_B = torch.tensor([each.score for each in rows], dtype=torch.float32, device=metric.device)
        ours = metric(tokens, with_states=kd)
        value = human_scores(ours.coherence, given_B)
        if not kd:
            return value
        with torch.no_grad():
            theirs = teacher(tokens, with_states=True)
        kept = distillation(
            (ours.hidden, ours.attention, ours.coherence), (theirs.hidden, theirs.attention, theirs.coherence)
        )
        return value + settings.kd_weight * kept

    batches = [*drawn(scored, settings.batch, settings.epochs, seed)]
    return fitted(metric, batches, loss, settings.learning_rate, settings.warm_up, tell)


def flat(row: Graded) -> list[Scored]:
    """The pairs of a context, level by level, best first."""
    return [Scored(row.context, response) for level in row.levels for response in level]


def drawn(items: Sequence[T], size: int, epochs: int, seed: int) -> Iterator[list[T]]:
    """Batches of all epochs, each epoch in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(items), generator=generator).tolist()
        for start in range(0, len(order), size):
            yield [items[number] for number in order[start : start + size]]


def fitted(
    metric: Metric,
    batches: Sequence[Sequence[T]],
    loss: Callable[[Sequence[T]], Tensor],
    learning_rate: float,
    warm_up: float,
    tell: Tell,
) -> Metric:
    """AdamW (weight decay .01), linear warm-up and decay.

    Raises:
        DistillError: the loss became infinite.
    """
    optimizer = torch.optim.AdamW(metric.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, int(warm_up * len(batches)), len(batches))
    metric.train()
    for number, batch in enumerate(batches):
        tell(number, len(batches))
        optimizer.zero_grad()
        checked(loss(batch), number).backward()
        torch.nn.utils.clip_grad_norm_(metric.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    tell(len(batches), len(batches))
    return metric.eval()
