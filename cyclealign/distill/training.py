"""The training loop of the jobs: AdamW, a learning rate by step, clipped gradients, and checkpoints to go on from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from cyclealign.distill.models.encoders import require_finite
from cyclealign.distill.training_state import (
    NO_CHECKPOINTS,
    Checkpoints,
    Stateful,
    random_states,
    restore_random_states,
)
from cyclealign.progress import OnProgress

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """How a student is trained.

    Attributes:
        steps: number of optimizer steps.
        groups: parameters, as torch's optimizers take them.
        learning_rate: of the groups that name none.
        weight_decay: of AdamW.
        rate_share: share of the learning rate at a step, from 0.
        max_norm: gradients are clipped to this norm; None: they are not.
    """

    steps: int
    groups: Sequence[Mapping[str, Any]]
    learning_rate: float
    weight_decay: float
    rate_share: Callable[[int], float]
    max_norm: float | None = None


def train(
    parts: Mapping[str, Stateful],
    batches: Iterable[T],
    loss: Callable[[T], Tensor],
    plan: Plan,
    on_progress: OnProgress,
    checkpoints: Checkpoints = NO_CHECKPOINTS,
) -> list[float]:
    """Train in place and return the loss of every step.

    A training that was interrupted goes on from its last checkpoint with the batch that was next. On a CPU its weights
    end bit-equal to those of an undisturbed one.

    Args:
        parts: what changes in training, by name: the modules, and other state such as a queue of negatives.
        batches: at least one for each step, the same at every call.
        loss: of a batch. All that it draws must come from torch's generators or be part of the batch.
        plan: number of steps and optimizer.
        on_progress: called with the number of steps done and their total.
        checkpoints: where and how often the state is saved.

    Raises:
        DistillError: the loss became NaN or infinite.
    """
    optimizer = torch.optim.AdamW(
        [dict(group) for group in plan.groups], plan.learning_rate, weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, plan.rate_share)
    saved: dict[str, Stateful] = {**parts, "optimizer": optimizer, "schedule": schedule}
    losses = _resume(saved, checkpoints)
    weights = [parameter for group in plan.groups for parameter in group["params"]]
    on_progress(len(losses), plan.steps)
    for step, batch in enumerate(islice(batches, len(losses), plan.steps), len(losses) + 1):
        optimizer.zero_grad(set_to_none=True)
        value = require_finite(loss(batch), step)
        value.backward()
        if plan.max_norm is not None:
            clip_grad_norm_(weights, plan.max_norm)
        optimizer.step()
        schedule.step()
        losses.append(float(value.detach()))
        if checkpoints.due(step) and step < plan.steps:
            _save(step, saved, losses, checkpoints)
        on_progress(step, plan.steps)
    optimizer.zero_grad(set_to_none=True)
    return losses


def _save(step: int, parts: Mapping[str, Stateful], losses: list[float], checkpoints: Checkpoints) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    checkpoints.save(step, {"parts": state, "losses": losses, "random": random_states()})


def _resume(parts: Mapping[str, Stateful], checkpoints: Checkpoints) -> list[float]:
    """Restore the newest checkpoint, if there is one; return the losses of the steps before it."""
    state = checkpoints.load()
    if state is None:
        return []
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    restore_random_states(state["random"])
    losses: list[float] = state["losses"]
    return losses
