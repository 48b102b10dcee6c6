"""The three stages: ETM on passages, ETM and its top-window weights on documents, ESM on ETM's window scores."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cyclealign.distill.idcm.config import ESMSettings, ETMSettings, StageSettings
from cyclealign.distill.idcm.data import JudgedQuery, Triple
from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.losses import SELECTION_LOSSES, ranknet
from cyclealign.distill.idcm.predict import choose_windows, esm_scores, etm_scores
from cyclealign.distill.idcm.tokenized import Pair, TokenizedTexts
from cyclealign.distill.training import PLAIN, Loop, Plan, train
from cyclealign.errors import DistillError
from cyclealign.progress import OnProgress

Item = TypeVar("Item")
WARM_UP_SHARE, WEIGHT_DECAY, MAX_NORM = 0.07, 0.01, 1.0


def fit_passages(
    etm: ETM,
    texts: TokenizedTexts,
    triples: Sequence[Triple],
    stage: StageSettings,
    seed: int,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> list[float]:
    """Run stage 1, RankNet on passage triples; return the loss of every step."""

    def loss(batch: list[Triple]) -> Tensor:
        queries = [texts.query(triple.query) for triple in batch]
        positives = [texts.passage(triple.positive) for triple in batch]
        negatives = [texts.passage(triple.negative) for triple in batch]
        scores = etm.window_scores(queries * 2, positives + negatives, rows_at_once=2 * len(batch))
        return ranknet(*scores.chunk(2))

    groups = [{"params": list(_without_window_weights(etm))}]
    return _train(etm, groups, loss, _batches(triples, stage, seed), stage, on_progress, loop)


def fit_documents(
    etm: ETM,
    texts: TokenizedTexts,
    judged: Sequence[JudgedQuery],
    settings: ETMSettings,
    seed: int,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> list[float]:
    """Run stage 2, RankNet on whole documents with all windows scored; return the loss of every step.

    Only a document's best windows enter its score and get a gradient: all windows are first scored without gradient,
    then the best ones again. This is exact because dropout is off.
    """

    def loss(pairs: list[Pair]) -> Tensor:
        return ranknet(*document_scores(etm, texts, pairs).chunk(2))

    groups: list[dict[str, Any]] = [
        {"params": _without_window_weights(etm)},
        {"params": list(etm.aggregate.parameters()), "lr": settings.top_learning_rate},
    ]
    batches = _document_pairs(_batches(judged, settings.documents, seed), seed)
    return _train(etm, groups, loss, batches, settings.documents, on_progress, loop)


def _document_pairs(batches: Iterator[list[JudgedQuery]], seed: int) -> Iterator[list[Pair]]:
    """Yield for each batch a relevant document of every query, drawn at random, then an irrelevant one of each."""
    draw = random.Random(seed)
    for batch in batches:
        positives = [Pair(query.query, draw.choice(sorted(query.relevant))) for query in batch]
        yield positives + [Pair(query.query, draw.choice(query.irrelevant)) for query in batch]


def document_scores(etm: ETM, texts: TokenizedTexts, pairs: Sequence[Pair]) -> Tensor:
    """Return document scores (N,) over all windows, with the gradient of the full computation."""
    queries, documents = texts.pairs(pairs)
    with torch.no_grad():
        scores_NP, mask_NP = etm_scores(etm, queries, documents)
        torch.clear_autocast_cache()  # casts of the weights without a gradient would be used again below
    top = len(etm.aggregate.weights_L)
    best = [
        choose_windows(scores_P[mask_P], document, top)
        for scores_P, mask_P, document in zip(scores_NP.cpu(), mask_NP.cpu(), documents, strict=True)
    ]
    scores_N: Tensor = etm.aggregate(*etm_scores(etm, queries, best))
    return scores_N


def fit_selection(
    esm: ESM,
    texts: TokenizedTexts,
    labels: Sequence[tuple[Pair, Tensor]],
    settings: ESMSettings,
    loss_name: str,
    seed: int,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
) -> list[float]:
    """Run stage 3, ESM on ETM's window scores; return the loss of every step.

    Args:
        labels: pairs with ETM's scores of their windows, shape (P,) each; relevance judgements are not used.
        loss_name: a key of `SELECTION_LOSSES`.
    """
    selection_loss, stage = SELECTION_LOSSES[loss_name], settings.training

    def loss(batch: list[tuple[Pair, Tensor]]) -> Tensor:
        scores_NP, mask_NP = esm_scores(esm, *texts.pairs([pair for pair, _ in batch]))
        labels_NP = torch.nn.utils.rnn.pad_sequence([scores for _, scores in batch], batch_first=True)
        return selection_loss(scores_NP, labels_NP.to(scores_NP.device), mask_NP, settings.k)

    groups = [{"params": list(esm.parameters())}]
    return _train(esm, groups, loss, _batches(labels, stage, seed), stage, on_progress, loop)


def _without_window_weights(etm: ETM) -> list[nn.Parameter]:
    return [*etm.encoder.parameters(), *etm.head.parameters()]


def _batches(items: Sequence[Item], stage: StageSettings, seed: int) -> Iterator[list[Item]]:
    """Yield batches endlessly, in shuffled passes over all items."""
    if not items and stage.steps:
        raise DistillError(
            "A stage has no training items: the data hold no triples or judged queries. Set the stage's steps to 0."
        )
    draw = random.Random(seed)
    queue: list[Item] = []
    while True:
        while len(queue) < stage.batch:
            queue += draw.sample(items, len(items))
        yield queue[: stage.batch]
        queue = queue[stage.batch :]


def _train(
    module: nn.Module,
    groups: list[dict[str, Any]],
    loss: Callable[[Item], Tensor],
    batches: Iterator[Item],
    stage: StageSettings,
    on_progress: OnProgress,
    loop: Loop,
) -> list[float]:
    """Train with AdamW and clipped gradients; return the loss of every step.

    Modules stay in evaluation mode: without dropout, runs are reproducible and stage 2 is exact.

    Raises:
        DistillError: the loss became NaN or infinite.
    """
    compiled = [module.encoder] if isinstance(module, ETM) else [module]
    plan = Plan(
        stage.steps,
        groups,
        stage.learning_rate,
        WEIGHT_DECAY,
        lambda step: _rate_share(step, stage.steps),
        MAX_NORM,
        compiled,
    )
    return train({"module": module}, batches, loss, plan, on_progress, loop)


def _rate_share(step: int, steps: int) -> float:
    """Return the share of the full learning rate: linear warm-up, then linear decay to a twentieth."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    return (step + 1) / warm_up if step < warm_up else max(0.05, 1 - (step - warm_up) / max(1, steps - warm_up))
