"""TRL's fused head in float64: its own works in float32, and would hide small differences between gradients."""

from typing import Any

import torch
import trl.trainer.utils
from torch import Tensor


class Float64Head:
    """The interface of TRL's ChunkedLogProbFunction on whole logits, without temperature or soft-capping."""

    @staticmethod
    def apply(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *_: Any) -> tuple[Any, ...]:
        """Return log-probs, entropy, None, mean logits and whether the label is the most likely token, for each row."""
        logits = hidden.double() @ weight.double().T + (0 if bias is None else bias)
        logprobs = logits.log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        of_labels = logprobs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        return of_labels, entropy, None, logits.mean(-1), logits.argmax(-1) == labels


def use_float64(model: torch.nn.Module) -> None:
    """Change the model's weights and TRL's head to float64, and LoRA's zeros to values that let both factors learn."""
    trl.trainer.utils._ChunkedLogProbFunction = Float64Head
    model.double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.1)
