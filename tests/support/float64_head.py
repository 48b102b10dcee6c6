"""TRL's fused head in float64: its own works in float32, and would hide small differences between gradients."""

from typing import Any

import torch
import trl.trainer.utils
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Float64Head:
    """The interface of TRL's ChunkedLogProbFunction on whole logits, without temperature."""

    @staticmethod
    def apply(
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None = None,
        scale: float = 1.0,
        *_: Any,
    ) -> tuple[Any, ...]:
        """Return log-probs, entropy, None, mean logits and whether the label is the most likely token, for each row."""
        logits = (hidden.double() @ weight.double().T + (0 if bias is None else bias)) * scale
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
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


class KeepFloat64(TorchFunctionMode):
    """Keep float64 where models compute in float32 (norms, softmax): that rounding hides small differences."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, with casts of float64 to float32 left out."""
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float or (func is Tensor.to and torch.float32 in (*args[1:], kwargs.get("dtype"))):
                return args[0]
            if kwargs.get("dtype") == torch.float32:
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
