"""Tokens of a forward pass that fit into a GPU: measured at the first step, and halved if memory runs out after all."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cyclealign.policy.out_of_memory import halve_until_it_fits, is_out_of_memory
from cyclealign.training.passes import DEFAULT_TOKENS_AT_ONCE, RandomState
from cyclealign.training.ranking_trainer import RankingTrainer

logger = logging.getLogger(__name__)

SHARE = 0.8  # of the free memory. The rest is for fragments, and for passes with more overhead than those measured.
PROBE_ROWS = 4  # of the larger of the two passes that are measured


class MemoryMeter(Protocol):
    """Measures a device's memory, in bytes."""

    def reset(self) -> None:
        """Begin to measure a peak."""
        ...

    def peak_bytes(self) -> int:
        """Return the most that was allocated at once since the reset, beyond what was allocated then."""
        ...

    def free_bytes(self) -> int:
        """Return what this process can still allocate."""
        ...


class CudaMeter:
    """The memory of this process's GPU."""

    def __init__(self) -> None:
        self._before = 0

    def reset(self) -> None:
        """Begin to measure a peak."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()

    def peak_bytes(self) -> int:
        """Return the most that was allocated at once since the reset, beyond what was allocated then."""
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - self._before

    def free_bytes(self) -> int:
        """Return the GPU's free memory, and that which PyTorch keeps without using it."""
        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


@dataclass(frozen=True)
class Measurement:
    """Peak memory of one forward and backward pass."""

    tokens: int
    peak_bytes: int


def fitting_tokens(small: Measurement, large: Measurement, available_bytes: float) -> int | None:
    """Return the tokens of a pass whose peak is ``available_bytes``, by the line through two measurements.

    0 if the part that does not depend on tokens (gradients, workspaces) is as large already; None if the peak does not
    grow with the tokens.
    """
    per_token = (large.peak_bytes - small.peak_bytes) / (large.tokens - small.tokens)
    if per_token <= 0:
        return None
    fixed = max(0.0, small.peak_bytes - per_token * small.tokens)
    return max(0, int((available_bytes - fixed) / per_token))


def measured_tokens(run_pass: Callable[[int], int], meter: MemoryMeter, reserved_bytes: int) -> int | None:
    """Return the tokens of a pass that fits into `SHARE` of the free memory, None if that cannot be measured.

    Args:
        run_pass: a forward and backward pass over so many of the longest rows; returns its tokens. The gradients are
            dropped afterwards, so that both measurements hold them.
        reserved_bytes: what the optimizer will allocate.
    """
    measurements: dict[int, Measurement] = {}

    def measure(num_rows: int) -> None:
        meter.reset()
        tokens = run_pass(num_rows)
        measurements[num_rows] = Measurement(tokens, meter.peak_bytes())

    run_pass(1)  # workspaces of libraries are allocated once
    measure(1)
    try:
        num_rows = halve_until_it_fits(measure, PROBE_ROWS, 2, "rows")
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 0
    return fitting_tokens(measurements[1], measurements[num_rows], SHARE * meter.free_bytes() - reserved_bytes)


class StepWithinMemory(RankingTrainer):
    """Chooses ``tokens_at_once`` by a probe at the first step, and repeats a step that has run out of memory.

    Neither changes the training: a step's gradient does not depend on its cut, and the random generators go back to
    their state before. With several processes a step is not repeated, since the others wait in an exchange.

    Attributes:
        meter: for the probe; None: there is none.
        longest: tokens of the longest answer with its prompt, which is the least that a pass must hold.
        memory_remark: a sentence on the choice and its changes; None: ``tokens_at_once`` is as it was set.
    """

    meter: MemoryMeter | None = None
    longest = 1
    memory_remark: str | None = None

    def training_step(
        self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Add the gradient of a step and return its loss; see `RankingTrainer.training_step`."""
        if self.meter is not None:
            meter, self.meter = self.meter, None
            with RandomState.now(self.accelerator.device).restored():
                self._probe(meter, inputs["input_ids"])
        if self.tokens_at_once is None or self.accelerator.num_processes > 1:
            return super().training_step(model, inputs, num_items_in_batch)
        return self._repeated_step(model, inputs, num_items_in_batch)

    def _repeated_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None) -> Tensor:
        losses: list[Tensor] = []
        before, state = self.tokens_at_once, RandomState.now(self.accelerator.device)
        step = super().training_step

        def attempt(max_tokens: int) -> None:
            self.tokens_at_once = max_tokens
            self.model.zero_grad()  # of an attempt that ran out of memory on its way
            state.restore()
            losses.append(step(model, inputs, num_items_in_batch))

        first = min(before or 0, max(self.longest, inputs["input_ids"].numel()))
        fitting = halve_until_it_fits(attempt, first, self.longest, "tokens")
        self.tokens_at_once = before if fitting == first else fitting
        if fitting != first:
            self.memory_remark = f"Memory ran out; passes of at most {fitting:,} tokens (training.tokens_at_once) fit."
        return losses[-1]

    def _probe(self, meter: MemoryMeter, ids_AT: Tensor) -> None:
        """Set ``tokens_at_once`` to what fits, on all processes to what fits on each."""
        ids_T = ids_AT[0].repeat(-(-self.longest // ids_AT.shape[1]))[: self.longest].to(self.accelerator.device)

        def run_pass(num_rows: int) -> int:
            batch = ids_T.expand(num_rows, -1).contiguous()
            self.model.train()
            with self.compute_loss_context_manager():
                outputs = self.model(
                    input_ids=batch, attention_mask=torch.ones_like(batch), labels=batch, fused_lm_head=True
                )
            outputs.log_probs.sum().backward()
            self.model.zero_grad()
            return batch.numel()

        # Both moments of Adam. Optimizers of 8 bits, or without moments, need less.
        trained = sum(
            weight.numel() * weight.element_size() for weight in self.model.parameters() if weight.requires_grad
        )
        tokens = measured_tokens(run_pass, meter, reserved_bytes=2 * trained)
        chosen = max(self.longest, DEFAULT_TOKENS_AT_ONCE if tokens is None else tokens)
        on_each = self.accelerator.gather(torch.tensor([chosen], device=self.accelerator.device))
        self.tokens_at_once = int(on_each.min())
        self.memory_remark = (
            f"Forward passes of at most {self.tokens_at_once:,} tokens (training.tokens_at_once), which fit into "
            f"{SHARE:.0%} of the free memory."
        )
        logger.info(self.memory_remark)
