"""The gradient of a loss over a whole batch from passes over its parts (GradCache, arXiv 2101.06983)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from cyclealign.distill.training_state import random_states, restore_random_states

T = TypeVar("T")


@dataclass(frozen=True)
class Passes(Generic[T]):
    """A loss in two halves: the outputs of each item, and a value of all of them together.

    Attributes:
        represent: outputs of items, one row per item; those of an item do not depend on the others.
        loss: of a batch and its outputs; it may compare any of the items, as contrastive losses do.
        split: cuts a batch into parts of at most that many items, in order.
    """

    represent: Callable[[T], tuple[Tensor, ...]]
    loss: Callable[[T, tuple[Tensor, ...]], Tensor]
    split: Callable[[T, int], Sequence[T]]

    def __call__(self, batch: T) -> Tensor:
        """Return the loss of a batch in one pass."""
        return self._value(batch, self.represent(batch))

    def _value(self, batch: T, outputs: tuple[Tensor, ...]) -> Tensor:
        """Return the loss in full precision, whatever the outputs were computed in."""
        with torch.autocast(outputs[0].device.type, enabled=False):
            return self.loss(batch, tuple(output.float() for output in outputs))

    def backward(self, batch: T, size: int, scaled: Callable[[Tensor], Tensor]) -> Tensor:
        """Add the gradient of the loss to that of the weights, in passes over ``size`` items; return the loss.

        Each part is passed twice, with the same draws of dropout: first without gradients, for the outputs that the
        loss compares, then with the gradient of the loss by them.

        Args:
            scaled: scales the loss before its gradient is taken, as fp16 needs.
        """
        parts, draws, outputs = self.split(batch, size), [], []
        with torch.no_grad():
            for part in parts:
                draws.append(random_states())
                outputs.append(self.represent(part))
        torch.clear_autocast_cache()  # casts of the weights without a gradient would be used again below
        whole = tuple(torch.cat(rows).requires_grad_() for rows in zip(*outputs, strict=True))
        value = self._value(batch, whole)
        gradients = torch.autograd.grad(scaled(value), whole)
        after, sizes = random_states(), [len(rows[0]) for rows in outputs]
        of_parts = zip(*(gradient.split(sizes) for gradient in gradients), strict=True)
        for part, draw, gradient in zip(parts, draws, of_parts, strict=True):
            restore_random_states(draw)
            torch.autograd.backward(self.represent(part), gradient)
        restore_random_states(after)
        return value.detach()
