"""The figures of a training step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class TrainingStep:
    """The figures of one optimizer step over all processes, at the weights before its update. None: not measured.

    Attributes:
        step: number of the step, from 1.
        loss: mean loss of the step's lists or pairs.
        ranking_loss, sft_loss, kl_loss: its terms, each with its weight.
        grad_norm: norm of the gradient of the trained weights, before it is scaled down.
        ranking_grad_norm, sft_grad_norm, kl_grad_norm: norm of each term's gradient by the answers' log-prob sums.
        learning_rate: of the next update.
        ranking_margin: mean of p_better - p_worse over decided pairs, in nats per token; p: length-normalised log-prob.
        ranking_accuracy: share of the decided pairs that p ranks as decided; equal p count half.
        kl_from_parent: mean over answers of the estimate of KL(parent || policy), in nats per token.
        tokens: tokens of all sequences of the step, each with its prompt.
        seconds: duration of the step.
    """

    step: int
    loss: float | None = None
    ranking_loss: float | None = None
    sft_loss: float | None = None
    kl_loss: float | None = None
    grad_norm: float | None = None
    ranking_grad_norm: float | None = None
    sft_grad_norm: float | None = None
    kl_grad_norm: float | None = None
    learning_rate: float | None = None
    ranking_margin: float | None = None
    ranking_accuracy: float | None = None
    kl_from_parent: float | None = None
    tokens: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "TrainingStep":
        """Return the figures among the values by name; those that are not finite become None."""
        return cls(**{name: _finite(values.get(name)) for name in STEP_FIGURES}, step=int(values["step"]))

    @property
    def tokens_per_second(self) -> float | None:
        """Return the tokens of a second of the step."""
        return self.tokens / self.seconds if self.tokens is not None and self.seconds else None


STEP_FIGURES = tuple(each.name for each in fields(TrainingStep) if each.name != "step")


def _finite(value: Any) -> Any:
    return value if value is not None and math.isfinite(value) else None
