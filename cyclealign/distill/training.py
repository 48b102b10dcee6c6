"""The training loop of the jobs, on Accelerate: optimizer, schedule, precision, early stopping and checkpoints."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from transformers import get_scheduler

from cyclealign.distill.early_stopping import BestWeights, Validation
from cyclealign.distill.models.encoders import require_finite
from cyclealign.distill.passes import Passes
from cyclealign.distill.settings import PassSettings, TrainerSettings
from cyclealign.distill.steps import checkpoint_dir
from cyclealign.distill.training_state import (
    NO_CHECKPOINTS,
    Checkpoints,
    Stateful,
    random_states,
    restore_random_states,
)
from cyclealign.errors import DistillError
from cyclealign.files import appearing_folder
from cyclealign.policy.device import device
from cyclealign.progress import OnProgress

T = TypeVar("T")

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
COMPILER = "inductor"
DEFAULTS = TrainerSettings()


@dataclass(frozen=True)
class Loop:
    """The settings of the loop, and where an interrupted training goes on from."""

    settings: TrainerSettings = DEFAULTS
    checkpoints: Checkpoints = NO_CHECKPOINTS

    @property
    def items_at_once(self) -> int | None:
        """Items per pass, where the job offers it; None: the whole batch."""
        return self.settings.items_at_once if isinstance(self.settings, PassSettings) else None


PLAIN = Loop()


@dataclass(frozen=True)
class Plan:
    """How a job trains a student, as far as the settings of the loop do not say otherwise.

    Attributes:
        steps: number of optimizer steps.
        groups: parameters, as torch's optimizers take them.
        learning_rate: of the groups that name none.
        weight_decay: of AdamW.
        rate_share: share of the learning rate at a step, from 0.
        max_norm: gradients are clipped to this norm; None: they are not.
        compiled: modules that torch.compile translates, if the settings ask for it.
        validation: of the first of the trained parts; None: no early stopping.
    """

    steps: int
    groups: Sequence[Mapping[str, Any]]
    learning_rate: float
    weight_decay: float
    rate_share: Callable[[int], float]
    max_norm: float | None = None
    compiled: Sequence[nn.Module] = ()
    validation: tuple[nn.Module, Validation] | None = None


def trained_folder(folder: Path, settings: TrainerSettings, make: Callable[[Path, Loop], object]) -> Path:
    """Return the folder of a trained model, which ``make`` fills unless it exists.

    Args:
        folder: the model's stage, see `Steps.stage_dir`; the checkpoints lie next to it until it is complete.
        settings: of the loop.
        make: trains with the loop that it is given, and writes into the folder that it is given.
    """
    checkpoints = Checkpoints(checkpoint_dir(folder), settings.save_every)
    if not folder.exists():
        with appearing_folder(folder) as unfinished:
            make(unfinished, Loop(settings, checkpoints))
    checkpoints.remove()
    return folder


def train(
    parts: Mapping[str, Stateful],
    batches: Iterable[T],
    loss: Callable[[T], Tensor] | Passes[T],
    plan: Plan,
    on_progress: OnProgress,
    loop: Loop = PLAIN,
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
        loop: settings and checkpoints.

    Raises:
        DistillError: the loss became NaN or infinite, or the device lacks the precision.
    """
    accelerator = accelerator_for(loop.settings)
    optimizer = torch.optim.AdamW(
        [dict(group) for group in plan.groups], plan.learning_rate, weight_decay=plan.weight_decay
    )
    schedule = _schedule(optimizer, plan, loop.settings)
    saved: dict[str, Stateful] = {**parts, "optimizer": optimizer, "schedule": schedule}
    best = BestWeights(*plan.validation) if plan.validation else None
    saved |= {"best": best} if best else {}
    saved |= {"scaler": accelerator.scaler} if accelerator.scaler else {}
    losses = _resume(saved, loop.checkpoints)
    step_of = _stepper(accelerator, optimizer, schedule, loss, plan, loop)
    on_progress(len(losses), plan.steps)
    with _compiled(plan.compiled if loop.settings.compile else ()):
        for step, batch in enumerate(islice(batches, len(losses), plan.steps), len(losses) + 1):
            losses.append(step_of(step, batch))
            stopped = best is not None and best.stops(step)
            if loop.checkpoints.due(step) and step < plan.steps and not stopped:
                _save(step, saved, losses, loop.checkpoints)
            on_progress(plan.steps if stopped else step, plan.steps)
            if stopped:
                break
    if best:
        best.restore()
    return losses


def _stepper(
    accelerator: Accelerator,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loss: Callable[[T], Tensor] | Passes[T],
    plan: Plan,
    loop: Loop,
) -> Callable[[int, T], float]:
    """Return a function that takes one optimizer step on a batch and returns its loss."""
    prepared = accelerator.prepare_optimizer(optimizer, device_placement=False)
    weights = [parameter for group in plan.groups for parameter in group["params"]]
    max_norm = plan.max_norm if loop.settings.max_norm is None else loop.settings.max_norm

    def scaled(value: Tensor) -> Tensor:
        return accelerator.scaler.scale(value) if accelerator.scaler else value

    def gradient(step: int, batch: T) -> Tensor:
        with accelerator.autocast():
            if isinstance(loss, Passes) and loop.items_at_once:
                return require_finite(loss.backward(batch, loop.items_at_once, scaled), step)
            value = require_finite(loss(batch), step)
        scaled(value).backward()
        return value.detach()

    def take(step: int, batch: T) -> float:
        prepared.zero_grad()
        value = gradient(step, batch)
        if max_norm is not None:
            accelerator.clip_grad_norm_(weights, max_norm)
        prepared.step()
        if not prepared.step_was_skipped:  # fp16 skips a step whose gradient is beyond its range
            schedule.step()
        return float(value)

    return take


def _schedule(
    optimizer: torch.optim.Optimizer, plan: Plan, settings: TrainerSettings
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of the learning rate: the job's own, or the one that the settings name."""
    if settings.schedule == "own":
        return torch.optim.lr_scheduler.LambdaLR(optimizer, plan.rate_share)
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    return get_scheduler(name, optimizer, round(settings.warm_up * plan.steps), plan.steps)


def accelerator_for(settings: TrainerSettings) -> Accelerator:
    """Return Accelerate's accelerator of the precision.

    Raises:
        DistillError: the device lacks the precision.
    """
    AcceleratorState._reset_state()  # an earlier training of this process may have had another precision
    try:
        if settings.precision == "fp16" and device() == "cpu":
            raise ValueError("a CPU computes fp16 without the scaling that its gradients need")
        return Accelerator(mixed_precision=PRECISIONS[settings.precision], cpu=device() == "cpu")
    except ValueError as error:
        raise DistillError(
            f"trainer.precision '{settings.precision}' is not available on this machine ({error}). Set it to 'fp32'."
        ) from error


@contextmanager
def _compiled(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Have torch.compile translate the modules within the block; their weights and names stay as they are."""
    for module in modules:
        module.compile(backend=COMPILER)
    try:
        yield
    finally:
        for module in modules:
            module._compiled_call_impl = None


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
