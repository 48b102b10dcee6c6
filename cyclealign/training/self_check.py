"""A check at the start of a training that prompts computed once give the log-probs and gradients of repeated ones."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from cyclealign.policy.tokenizer import is_multimodal
from cyclealign.training.passes import RowTokens, take_rows
from cyclealign.training.scoring import IGNORED_LABEL, Scoring
from cyclealign.training.shared_prompt import CannotShare, Form

# Largest mean difference of the log-probs, in nats; ten times as much for the gradient, relative to its norm. Models
# compute norms in float32 whatever their precision.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
MAX_ROWS = 4
MAX_ELEMENTS = 2**24  # of the parameters whose gradients are compared
WORDS: Mapping[Form, str] = {
    "cached": "Each prompt is computed once for its answers, which read its key-value cache.",
    "packed": "Each prompt is computed once, in one row with its answers.",
    "repeated": "Each answer is computed with its prompt: ",
}


def choose_form(model: Any, scoring: Scoring, batch: Mapping[str, Tensor], max_tokens: int | None) -> tuple[Form, str]:
    """Return the form in which prompts are computed in this training, and a sentence with the reason.

    Gradient checkpointing excludes a cache. Otherwise the key-value cache is tried first, then packed rows; the form
    that passes the check is used.

    Args:
        model: the model of the training, with `add_scoring`.
        batch: rows of one list or pair.
        max_tokens: of a forward pass; the check keeps to it.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if reason := cannot_share(base):
        return "repeated", WORDS["repeated"] + reason
    forms: tuple[Form, ...] = ("packed",) if is_checkpointing(base) else ("cached", "packed")
    reasons = []
    for form in forms:
        reason = difference(model, base, scoring, form, batch, max_tokens)
        if reason is None:
            return form, WORDS[form]
        reasons.append(f"{form}: {reason}")
    return "repeated", WORDS["repeated"] + "; ".join(reasons)


def is_checkpointing(base: Any) -> bool:
    """Return whether a layer computes its activations again in the backward pass."""
    return any(getattr(module, "gradient_checkpointing", False) for module in base.modules())


def cannot_share(base: Any) -> str | None:
    """Return the reason if a model of this kind cannot compute a prompt once, otherwise None."""
    if is_multimodal(base.config):
        return "the model is multimodal"
    if "position_ids" not in inspect.signature(base.base_model.forward).parameters:
        return "the model takes no positions"
    return None


@dataclass(frozen=True)
class Scored:
    """Log-probs of the scored tokens, and the gradient of a weighted sum of them by some of the parameters."""

    log_probs: Tensor
    gradient: Tensor


def difference(
    model: Any, base: Any, scoring: Scoring, form: Form, batch: Mapping[str, Tensor], max_tokens: int | None
) -> str | None:
    """Return how a form differs from repeated prompts on the first rows of a batch, None if it does not."""
    tokens = RowTokens.of(batch, form)
    sizes = range(2, min(MAX_ROWS, len(batch["input_ids"])) + 1)
    sizes_that_fit = [size for size in sizes if max_tokens is None or tokens(range(size)) <= max_tokens]
    if not sizes_that_fit:
        return "two answers with their prompt exceed training.tokens_at_once"
    rows = list(range(max(sizes_that_fit)))
    tolerance = TOLERANCES.get(_precision(base), TOLERANCES[torch.float32])
    before = scoring.form
    try:
        with without_dropout(base):
            scoring.form = "repeated"
            repeated = scored(model, batch, [[row] for row in rows])
            scoring.form = form
            shared = scored(model, batch, [rows])
    except CannotShare as error:
        return str(error)
    except Exception as error:  # any failure of the form itself: the repeated form needs none of this
        return f"{type(error).__name__}: {error}"
    finally:
        scoring.form = before
    off = (shared.log_probs - repeated.log_probs).abs().mean().item()
    gradient_off = ((shared.gradient - repeated.gradient).norm() / repeated.gradient.norm()).item()
    if off <= tolerance and gradient_off <= 10 * tolerance:  # not of NaN
        return None
    return f"log-probs differ by {off:.1e}, gradients by {gradient_off:.1e} of their norm"


def _precision(base: Any) -> torch.dtype:
    device = base.device.type
    dtype: torch.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else base.dtype
    return dtype


def scored(model: Any, batch: Mapping[str, Tensor], passes: list[list[int]]) -> Scored:
    """Score the rows of each pass, and return the log-probs and gradients of all."""
    parameters = smallest_parameters(model)
    log_probs, gradient = [], torch.zeros(sum(parameter.numel() for parameter in parameters), dtype=torch.float64)
    for rows in passes:
        part = take_rows(batch, rows)
        labels = part.get("labels")
        if labels is None:
            labels = part["input_ids"].masked_fill(part["completion_mask"] == 0, IGNORED_LABEL)
        names = ("input_ids", "attention_mask", "prompt_lengths")
        outputs = model(**{name: part[name] for name in names}, labels=labels, fused_lm_head=True)
        values = [row[mask] for row, mask in zip(outputs.log_probs, outputs.label_mask, strict=True)]
        # A different factor for each row: rows that are mistaken for each other are noticed.
        total = torch.stack([value.sum() / (row + 1) for row, value in zip(rows, values, strict=True)]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        pairs = zip(parameters, gradients, strict=True)
        flat = [(torch.zeros_like(weight) if grad is None else grad).flatten() for weight, grad in pairs]
        gradient += torch.cat(flat).to("cpu", torch.float64)
        log_probs.append(torch.cat(values).detach().double())
    return Scored(torch.cat(log_probs), gradient)


def smallest_parameters(model: Any) -> list[Tensor]:
    """Return trained parameters, the smallest first, up to a total size: factors of an adapter, norms and biases."""
    trained = sorted((weight for weight in model.parameters() if weight.requires_grad), key=torch.Tensor.numel)
    total, chosen = 0, trained[:1]
    for weight in trained[1:]:
        total += weight.numel()
        if total > MAX_ELEMENTS:
            break
        chosen.append(weight)
    return chosen


@contextmanager
def without_dropout(base: Any) -> Iterator[None]:
    """Turn off dropout for the block, and keep gradient checkpointing on, which is off in evaluation mode."""
    training = [module for module in base.modules() if module.training]
    base.eval()
    for module in training:
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True  # its own flag, not those of the modules in it
    try:
        yield
    finally:
        for module in training:
            module.training = True
