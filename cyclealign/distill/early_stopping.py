"""Early stopping on a validation measure; the best weights are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Validation:
    """When a training is validated, and when it stops.

    Attributes:
        every: steps between two validations.
        patience: validations without a better value before training stops.
        measure: returns the validation measure of the module as it is; higher is better.
    """

    every: int
    patience: int
    measure: Callable[[], float]


class BestWeights:
    """The weights with the best measure so far, as a part of a training's state."""

    def __init__(self, module: nn.Module, validation: Validation) -> None:
        self._module, self._validation = module, validation
        self._best: float | None = None
        self._weights: dict[str, Tensor] = {}
        self._without_better = 0

    def stops(self, step: int) -> bool:
        """Validate if it is due after ``step`` steps; return whether to stop."""
        if step % self._validation.every:
            return False
        was_training = self._module.training
        value = self._validation.measure()
        self._module.train(was_training)
        if self._best is None or value > self._best:
            self._best, self._without_better = value, 0
            self._weights = {name: weights.detach().clone() for name, weights in self._module.state_dict().items()}
        else:
            self._without_better += 1
        return self._without_better >= self._validation.patience

    def restore(self) -> None:
        """Give the module its best weights; those of the last step stay if it was never validated."""
        if self._weights:
            self._module.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights and the count, for a checkpoint."""
        return {"best": self._best, "weights": self._weights, "without_better": self._without_better}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint."""
        self._best, self._weights = state_dict["best"], state_dict["weights"]
        self._without_better = state_dict["without_better"]
