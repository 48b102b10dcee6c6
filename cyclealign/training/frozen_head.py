"""Log-probs of tokens under a frozen output head, in chunks of tokens, with the gradient computed in the forward pass.

Dimensions: ``N`` tokens, ``H`` hidden size, ``V`` vocabulary, ``C`` tokens of a chunk.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits of a chunk: 220 tokens of a vocabulary of 151,936, 134 MB in float32. Half of it takes 1.2 times as long on a
# CPU, since the head is read once for each chunk.
CHUNK_ELEMENTS = 2**25


class PerToken(NamedTuple):
    """Values of each token, shape (N,), in the order of TRL's function; None: not computed."""

    log_probs: Tensor
    entropy: Tensor | None = None
    log_sum_sq_probs: Tensor | None = None
    mean_logits: Tensor | None = None
    is_top1: Tensor | None = None


def frozen_head_logprobs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    labels_N: Tensor,
    softcap: float | None = None,
    scale: float = 1.0,
    outputs: Collection[str] = ("log_probs",),
) -> PerToken:
    """Return log softmax(z)[label] with z = softcap * tanh(scale * (W h + b) / softcap) for each token.

    TRL's function projects each chunk a second time in the backward pass. The gradient of a log-prob is its slope times
    (W[label] - softmax(z) W), and with a frozen head the second factor is all that is needed: it is computed here while
    the chunk's logits exist. That makes two products with the head instead of three, and (N, H) numbers to keep.

    Args:
        outputs: the values to compute beside the log-probs; these take no gradient.
    """
    apply: Any = _FrozenHead.apply
    return PerToken(*apply(hidden_NH, weight_VH, bias_V, labels_N, softcap, scale, frozenset(outputs)))


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        softcap: float | None,
        scale: float,
        outputs: frozenset[str],
    ) -> tuple[Tensor | None, ...]:
        device = hidden_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NH.dtype
        weight_VH, bias_V = weight_VH.to(dtype), None if bias_V is None else bias_V.to(dtype)
        size = max(1, CHUNK_ELEMENTS // len(weight_VH))
        slopes_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        chunks = []
        for start in range(0, len(hidden_NH), size):
            part = slice(start, start + size)
            slope_CH = None if slopes_NH is None else slopes_NH[part]
            chunks.append(
                _chunk(hidden_NH[part].to(dtype), weight_VH, bias_V, labels_N[part], softcap, scale, outputs, slope_CH)
            )
        precise = torch.promote_types(dtype, torch.float32)
        chunks = chunks or [PerToken(hidden_NH.new_empty(0, dtype=precise))]
        columns = [[value for value in column if value is not None] for column in zip(*chunks, strict=True)]
        values = [torch.cat(column) if column else None for column in columns]
        ctx.save_for_backward(slopes_NH)
        ctx.mark_non_differentiable(*(value for value in values[1:] if value is not None))
        ctx.set_materialize_grads(False)
        return tuple(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        (slopes_NH,) = ctx.saved_tensors
        grad_NH = None if grad_N is None else slopes_NH * grad_N.unsqueeze(-1).to(slopes_NH.dtype)
        return (grad_NH, *[None] * 6)


def _chunk(
    hidden_CH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    labels_C: Tensor,
    softcap: float | None,
    scale: float,
    outputs: frozenset[str],
    slope_CH: Tensor | None,
) -> PerToken:
    """Return the values of one chunk, and write the gradient of each log-prob by the hidden state to ``slope_CH``."""
    logits_CV = hidden_CH @ weight_VH.T if bias_V is None else torch.addmm(bias_V, hidden_CH, weight_VH.T)
    dtype = logits_CV.dtype
    logits_CV = logits_CV.to(torch.promote_types(dtype, torch.float32))
    if scale != 1:
        logits_CV.mul_(scale)
    tanh_CV = None
    if softcap is not None:
        tanh_CV = logits_CV.div_(softcap).tanh_()
        logits_CV = tanh_CV * softcap
    mean_C = logits_CV.mean(-1) if "mean_logits" in outputs else None
    top1_C = logits_CV.argmax(-1) == labels_C if "is_top1" in outputs else None
    # In place from here on: the chunk's logits are the largest tensor of a step.
    labels_C1 = labels_C.unsqueeze(-1)
    exp_CV = logits_CV.sub_(logits_CV.amax(-1, keepdim=True))
    of_label_C = exp_CV.gather(-1, labels_C1).squeeze(-1)
    sum_C = exp_CV.exp_().sum(-1)
    log_sum_C = sum_C.log()
    entropy_C = log_sum_C + torch.special.entr(exp_CV).sum(-1) / sum_C if "entropy" in outputs else None
    if slope_CH is not None:
        weight_CH = weight_VH[labels_C].to(exp_CV.dtype)
        if tanh_CV is not None:
            bend_CV = tanh_CV.square_().neg_().add_(1)  # derivative of the soft-capping
            weight_CH *= bend_CV.gather(-1, labels_C1)
            exp_CV *= bend_CV
        slope_CH.copy_((weight_CH - (exp_CV.to(dtype) @ weight_VH) / sum_C.unsqueeze(-1)) * scale)
    return PerToken(of_label_C - log_sum_C, entropy_C, None, mean_C, top1_C)
