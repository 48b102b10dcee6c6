"""Forward passes of bounded size: the rows of each pass, and a model that scores a batch in passes, with gradient.

Dimensions: ``A`` rows (sequences of prompt and answer), ``T`` tokens of a padded row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import FusedCausalLMOutput

from cyclealign.training.scoring import prompt_rows
from cyclealign.training.shared_prompt import Form, PromptRows

# Tokens of a pass without `training.tokens_at_once`. With gradient checkpointing about 4 GB for 7 B parameters.
DEFAULT_TOKENS_AT_ONCE = 8192
_PER_TOKEN = ("log_probs", "entropy", "mean_logits", "is_top1", "label_mask")


@dataclass(frozen=True)
class RowTokens:
    """Number of tokens of a forward pass over some rows of a batch, padding included, with prompts shared or not."""

    rows: PromptRows
    form: Form = "repeated"

    @classmethod
    def of(cls, batch: Mapping[str, Any], form: Form) -> "RowTokens":
        """Count the tokens of the batch's rows in this form."""
        lengths = batch.get("prompt_lengths")
        if lengths is None or int(lengths.min()) < 1:
            form, lengths = "repeated", torch.zeros(len(batch["input_ids"]), dtype=torch.long)
        return cls(prompt_rows(batch["input_ids"], batch["attention_mask"], lengths), form)

    def __call__(self, rows: Sequence[int]) -> int:
        """Return the tokens of a pass with these rows."""
        chosen = self.rows.take(rows)
        return min(chosen.tokens("repeated"), chosen.tokens(self.form))

    def order(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Return a key that sorts units for little padding, widest first; with shared prompts, by prompt."""
        longest = max(self.rows.lengths[row] for row in rows)
        if self.form == "repeated":
            return (-longest,)
        prompt = self.rows.prompt_of[rows[0]]
        return (-len(self.rows.prompts[prompt]), prompt, -longest)


def share_passes(units: Sequence[Sequence[int]], tokens: RowTokens, max_tokens: int) -> list[list[int]]:
    """Return the units of each pass, as positions in ``units``; a pass has at most ``max_tokens`` tokens.

    A unit that is larger gets a pass of its own.

    Args:
        units: rows of each unit (a list or a pair), which stay together.
    """
    passes: list[list[int]] = []
    rows: list[int] = []
    for unit in sorted(range(len(units)), key=lambda unit: tokens.order(units[unit])):
        if not passes or tokens([*rows, *units[unit]]) > max_tokens:
            passes.append([])
            rows = []
        passes[-1].append(unit)
        rows = [*rows, *units[unit]]
    return passes


def passes_of_rows(batch: Mapping[str, Any], max_tokens: int, form: Form = "repeated") -> list[list[int]]:
    """Return the rows of each pass if rows need not stay together."""
    rows = range(len(batch["input_ids"]))
    return share_passes([[row] for row in rows], RowTokens.of(batch, form), max_tokens)


def take_rows(batch: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Return a batch of these rows, as wide as the longest; values of neither a token nor a row of tokens stay."""
    shape = batch["input_ids"].shape
    width = int(batch["attention_mask"][rows].sum(-1).max())

    def taken(name: str, value: Any) -> Any:
        if isinstance(value, Tensor) and value.shape == shape:
            return value[rows][:, :width]
        return value[rows] if name == "prompt_lengths" else value

    return {name: taken(name, value) for name, value in batch.items()}


@dataclass(frozen=True)
class RandomState:
    """State of the random generators of the CPU and of a GPU, for equal dropout in both passes of the same rows."""

    cpu: Tensor
    gpu: Tensor | None
    device: torch.device

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        """Return the current state."""
        gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), gpu, device)

    def restore(self) -> None:
        """Go back to this state."""
        torch.set_rng_state(self.cpu)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, self.device)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Go back to this state for the block, and afterwards to the state before the block."""
        with torch.random.fork_rng([self.device] if self.gpu is not None else []):
            self.restore()
            yield


class ModelInPasses:
    """A model with a fused head that scores a batch in passes of at most ``max_tokens`` tokens.

    The construction of GradCache (Gao et al., 2021, arXiv 2101.06983): the call computes the log-probs without a
    gradient, pass by pass, and returns them as a leaf of the graph. The loss of all rows is taken on that small tensor,
    and its gradient there flows back by a second forward pass of each part. The result is the gradient of the whole
    batch, for about a third more work: one more forward pass.
    """

    def __init__(self, model: Callable[..., Any], max_tokens: int, form: Form = "repeated") -> None:
        self._model, self.max_tokens, self._form = model, max_tokens, form
        self._parts: list[tuple[list[int], RandomState, dict[str, Any]]] = []
        self._log_probs: Tensor | None = None

    def __call__(self, **batch: Any) -> FusedCausalLMOutput:
        """Return the per-token outputs of the batch, shape (A, T - 1), of which ``log_probs`` takes a gradient."""
        num_rows, width = batch["input_ids"].shape
        whole: dict[str, Tensor] = {}
        for rows in passes_of_rows(batch, self.max_tokens, self._form):
            part = take_rows(batch, rows)
            self._parts.append((rows, RandomState.now(part["input_ids"].device), part))
            with torch.no_grad():
                outputs = self._model(**part)
            for name in _PER_TOKEN:
                value = getattr(outputs, name, None)
                if value is not None:
                    place = whole.setdefault(name, value.new_zeros(num_rows, width - 1))
                    place[rows, : value.shape[1]] = value
        self._log_probs = whole["log_probs"].requires_grad_()
        return FusedCausalLMOutput(**whole)

    def backward(self, backward: Callable[[Tensor], object], last_model: Callable[..., Any]) -> None:
        """Add the gradient of a loss, whose ``backward`` was called, to the parameters.

        Args:
            backward: computes the gradients of a scalar.
            last_model: the model of the last pass; with data parallelism the one that averages over processes.
        """
        assert self._log_probs is not None
        assert self._log_probs.grad is not None
        for number, (rows, state, part) in enumerate(self._parts, 1):
            with state.restored():
                outputs = (last_model if number == len(self._parts) else self._model)(**part)
            slope = self._log_probs.grad[rows, : outputs.log_probs.shape[1]]
            backward((outputs.log_probs * slope).sum())
