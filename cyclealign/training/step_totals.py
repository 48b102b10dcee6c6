"""The figures of a training step as sums: over its passes, then over processes, whatever the cut."""

import time
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import TypeAlias

import torch
from torch import Tensor

from cyclealign.training.losses import kl_from_parent
from cyclealign.training.objectives import ListScores, LossSettings, Objective, PairScores, Terms

Totals: TypeAlias = dict[str, float]
TERMS = Terms._fields  # ranking, sft, kl
# Terms and their squared gradients; decided pairs; answers with a known log-prob of the parent; rows without padding.
NAMES = (
    *TERMS,
    *(f"{term}_gradient" for term in TERMS),
    *("margin", "right", "pairs"),
    *("divergence", "answers"),
    *("rows", "tokens"),
)


class StepTotals:
    """Sums over one process's part of a step."""

    def __init__(self, tokens: int = 0) -> None:
        self._sums = {**dict.fromkeys(NAMES, 0.0), "tokens": float(tokens)}
        self._started = time.perf_counter()

    def add(self, totals: Mapping[str, float]) -> None:
        """Add the sums of some rows."""
        for name, value in totals.items():
            self._sums[name] += value

    def figures(self, over_processes: Callable[[list[float]], list[float]]) -> dict[str, float]:
        """Return the step's figures by their names in `records.TrainingStep`, without those that were not measured.

        Args:
            over_processes: adds up lists of numbers over all processes.
        """
        seconds = time.perf_counter() - self._started
        sums = dict(zip(self._sums, over_processes(list(self._sums.values())), strict=True))
        figures = {"tokens": int(sums["tokens"]), "seconds": seconds, "tokens_per_second": sums["tokens"] / seconds}
        if sums["rows"]:
            figures |= {f"{term}_loss": sums[term] / sums["rows"] for term in TERMS}
            figures |= {f"{term}_grad_norm": sqrt(sums[f"{term}_gradient"]) / sums["rows"] for term in TERMS}
        if sums["pairs"]:
            figures["ranking_margin"] = sums["margin"] / sums["pairs"]
            figures["ranking_accuracy"] = sums["right"] / sums["pairs"]
        if sums["answers"]:
            figures["kl_from_parent"] = sums["divergence"] / sums["answers"]
        return figures


def list_totals(
    objective: Objective, settings: LossSettings, scores: Sequence[ListScores], weights_B: Tensor
) -> Totals:
    """Return the sums over ranked lists. Lists of weight 0 count for nothing.

    On the CPU in float64: the numbers are few, and a GPU would start many small kernels.
    """
    weights = _on_cpu(weights_B)
    rows = [
        ListScores(
            _on_cpu(each.sums).requires_grad_(),
            _on_cpu(each.lengths),
            _on_cpu(each.weights),
            None if each.parent is None else _on_cpu(each.parent),
        )
        for each, weight in zip(scores, weights.tolist(), strict=True)
        if weight > 0
    ]
    if not rows:
        return {}
    with torch.enable_grad():
        terms = [objective.list_terms(each, settings) for each in rows]
        by_term = [(weights[weights > 0] * torch.stack(values)).sum() for values in zip(*terms, strict=True)]
    totals = _term_totals(by_term, [each.sums for each in rows])
    totals["rows"] = float(len(rows))
    for each in rows:
        p_N = each.mean.detach()
        decided_NN = each.weights > 0
        _add(totals, _pair_totals((p_N.unsqueeze(1) - p_N.unsqueeze(0))[decided_NN]))
        if each.parent is not None:
            _add(totals, _divergence(each.sums.detach(), each.parent, each.lengths))
    return totals


def pair_totals(objective: Objective, settings: LossSettings, scores: PairScores, weights_B: Tensor) -> Totals:
    """Return the sums over pairs; see `list_totals`. An answer that is in two pairs counts twice."""
    of_pairs_B = _on_cpu(weights_B) > 0
    if not of_pairs_B.any():
        return {}
    sums, lengths, parent = (_on_cpu(each)[:, of_pairs_B] for each in (scores.sums, scores.lengths, scores.parent))
    rows = PairScores(sums.requires_grad_(), lengths, parent, _on_cpu(scores.smoothing)[of_pairs_B])
    with torch.enable_grad():
        by_term = [values.sum() for values in objective.pair_terms(rows, settings)]
    totals = _term_totals(by_term, [rows.sums])
    totals["rows"] = float(of_pairs_B.sum())
    p_2B = sums.detach() / lengths
    _add(totals, _pair_totals(p_2B[0] - p_2B[1]))
    _add(totals, _divergence(sums.detach(), parent, lengths))
    return totals


def _on_cpu(values: Tensor) -> Tensor:
    return values.detach().cpu().double()


def _add(totals: Totals, others: Totals) -> None:
    for name, value in others.items():
        totals[name] = totals.get(name, 0.0) + value


def _term_totals(by_term: Sequence[Tensor], leaves: Sequence[Tensor]) -> Totals:
    """Return each term and the sum of its squared gradient by the log-prob sums."""
    totals = {}
    for name, value in zip(TERMS, by_term, strict=True):
        totals[name] = value.item()
        slopes = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True) if value.requires_grad else ()
        totals[f"{name}_gradient"] = sum(float((slope**2).sum()) for slope in slopes if slope is not None)
    return totals


def _pair_totals(margins: Tensor) -> Totals:
    right = (margins > 0).sum() + 0.5 * (margins == 0).sum()
    return {"margin": float(margins.sum()), "right": float(right), "pairs": float(margins.numel())}


def _divergence(sums: Tensor, parent: Tensor, lengths: Tensor) -> Totals:
    known = parent.isfinite()
    kl = kl_from_parent(sums[known], parent[known], lengths[known])
    return {"divergence": float(kl.sum()), "answers": float(known.sum())}
