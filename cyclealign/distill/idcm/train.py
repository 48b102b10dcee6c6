"""The three stages: ETM on passages, ETM and the weights of its best windows on documents, ESM on ETM's scores."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from cyclealign.distill.idcm.config import ESMSettings, ETMSettings, StageSettings
from cyclealign.distill.idcm.data import Judged, Triple
from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.losses import SELECTION_LOSSES, ranknet
from cyclealign.distill.idcm.predict import chosen_windows, esm_scores, etm_scores
from cyclealign.distill.idcm.tokenized import Pair, Texts
from cyclealign.distill.models.encoders import checked
from cyclealign.errors import DistillError

Tell = Callable[[int, int], None]
Item = TypeVar("Item")
WARM_UP_SHARE = 0.07


def fit_passages(
    etm: ETM, texts: Texts, triples: Sequence[Triple], stage: StageSettings, seed: int, tell: Tell
) -> list[float]:
    """Stage 1: RankNet on passage triples. The loss of every step."""

    def loss(batch: list[Triple]) -> Tensor:
        queries = [texts.query(each.query) for each in batch]
        passages = [texts.passage(each.positive) for each in batch] + [texts.passage(each.negative) for each in batch]
        scores = etm.window_scores(queries * 2, passages, rows_at_once=2 * len(batch))
        return ranknet(*scores.chunk(2))

    groups = [{"params": list(_but_weights_of_best(etm))}]
    return _train(groups, loss, _batches(triples, stage, seed), stage, tell)


def fit_documents(
    etm: ETM, texts: Texts, judged: Sequence[Judged], settings: ETMSettings, seed: int, tell: Tell
) -> list[float]:
    """Stage 2: RankNet on whole documents, all windows scored. The loss of every step.

    A document's score reads its best windows only, so only they have a gradient: all windows are scored without one
    first, then the best ones again. Exact as long as there is no dropout, which is off.
    """
    draw = random.Random(seed)

    def loss(batch: list[Judged]) -> Tensor:
        positive = [Pair(each.query, draw.choice(sorted(each.relevant))) for each in batch]
        negative = [Pair(each.query, draw.choice(each.others)) for each in batch]
        return ranknet(*document_scores(etm, texts, positive + negative).chunk(2))

    groups: list[dict[str, Any]] = [
        {"params": _but_weights_of_best(etm)},
        {"params": list(etm.aggregate.parameters()), "lr": settings.top_learning_rate},
    ]
    return _train(groups, loss, _batches(judged, settings.documents, seed), settings.documents, tell)


def document_scores(etm: ETM, texts: Texts, pairs: Sequence[Pair]) -> Tensor:
    """Document scores (N,) of all windows, with the gradient of the whole computation."""
    queries, documents = texts.pairs(pairs)
    with torch.no_grad():
        scores_NP, mask_NP = etm_scores(etm, queries, documents)
    top = len(etm.aggregate.weights_L)
    best = [
        chosen_windows(scores_P[mask_P], each, top)
        for scores_P, mask_P, each in zip(scores_NP.cpu(), mask_NP.cpu(), documents, strict=True)
    ]
    scores_N: Tensor = etm.aggregate(*etm_scores(etm, queries, best))
    return scores_N


def fit_selection(
    esm: ESM,
    texts: Texts,
    labels: Sequence[tuple[Pair, Tensor]],
    settings: ESMSettings,
    loss_name: str,
    seed: int,
    tell: Tell,
) -> list[float]:
    """Stage 3: ESM learns from ETM's window scores which windows matter. The loss of every step.

    Args:
        labels: pairs with the ETM's scores of their windows, shape (P,) each; no relevance label is used.
        loss_name: a key of `SELECTION_LOSSES`.
    """
    selection_loss, stage = SELECTION_LOSSES[loss_name], settings.training

    def loss(batch: list[tuple[Pair, Tensor]]) -> Tensor:
        scores_NP, mask_NP = esm_scores(esm, *texts.pairs([pair for pair, _ in batch]))
        wanted_NP = torch.nn.utils.rnn.pad_sequence([scores for _, scores in batch], batch_first=True)
        return selection_loss(scores_NP, wanted_NP.to(scores_NP.device), mask_NP, settings.k)

    return _train([{"params": list(esm.parameters())}], loss, _batches(labels, stage, seed), stage, tell)


def _but_weights_of_best(etm: ETM) -> list[nn.Parameter]:
    return [*etm.encoder.parameters(), *etm.head.parameters()]


def _batches(items: Sequence[Item], stage: StageSettings, seed: int) -> Iterator[list[Item]]:
    """Batches without end, each item once before any comes again."""
    if not items and stage.steps:
        raise DistillError("There is nothing to train on: the data have no such items. Set the stage's steps to 0.")
    draw = random.Random(seed)
    waiting: list[Item] = []
    while True:
        while len(waiting) < stage.batch:
            waiting += draw.sample(items, len(items))
        yield waiting[: stage.batch]
        waiting = waiting[stage.batch :]


def _train(
    groups: list[dict[str, Any]],
    loss_of: Callable[[list[Item]], Tensor],
    batches: Iterator[list[Item]],
    stage: StageSettings,
    tell: Tell,
) -> list[float]:
    """AdamW with clipped gradients. Modules stay in evaluation mode: no dropout, so that runs repeat exactly.

    Raises:
        DistillError: the loss became infinite or no number.
    """
    optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, stage.steps))
    weights = [each for group in groups for each in group["params"]]
    losses = []
    for step in range(stage.steps):
        loss = checked(loss_of(next(batches)), step + 1)
        loss.backward()
        clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        tell(step + 1, stage.steps)
    return losses


def _rate(step: int, steps: int) -> float:
    """Share of the full learning rate: a linear warm-up, then a straight line down to a twentieth."""
    warm = max(1, round(WARM_UP_SHARE * steps))
    return (step + 1) / warm if step < warm else max(0.05, 1 - (step - warm) / max(1, steps - warm))
