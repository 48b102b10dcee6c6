"""Log-probs of given tokens: rows in batches of bounded size, and of the logits no more than one chunk in memory.

Dimensions: ``B`` rows of a batch, ``T`` tokens of its longest row, ``H`` hidden size, ``N`` scored tokens, ``V``
vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

MAX_TOKENS = 8192  # of a batch, padding included
MAX_LOGITS = 2**25  # of a chunk: 128 MB in float32


def token_logprobs(
    model: Any,
    rows: Sequence[Sequence[int]],
    starts: Sequence[int] | None = None,
    max_tokens: int = MAX_TOKENS,
    max_logits: int = MAX_LOGITS,
) -> list[list[float]]:
    """Return log P(token | tokens before) in nats of the tokens of each row, from its start on.

    Rows of like length share batches. They are padded at the end, where a causal model's tokens do not see it: no
    position moves, and the results are those of single rows up to rounding.

    Args:
        starts: position of the first scored token of each row, 1 or more. None: 1.
        max_tokens: tokens of a batch, padding included; a longer row is a batch of its own.
        max_logits: size of a chunk of logits.
    """
    starts = [1] * len(rows) if starts is None else starts
    logprobs: list[list[float]] = [[] for _ in rows]
    with torch.inference_mode():
        for batch in batches_by_length([len(row) for row in rows], max_tokens):
            scored = _score(model, [rows[row] for row in batch], [starts[row] for row in batch], max_logits)
            for row, values in zip(batch, scored, strict=True):
                logprobs[row] = values
    return logprobs


def next_token_logprobs(model: Any, row: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Return log P of each of these tokens right after the row, in nats: one pass for all of them."""
    ids_BT = torch.tensor([list(row)], device=model.device)
    causal, backbone = _causal_and_backbone(model)
    with torch.inference_mode():
        outputs = backbone(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=False, return_dict=True)
        if backbone is causal:
            logits_V = outputs.logits[0, -1].float()
        else:
            logits_V = _logits(causal, backbone, outputs, outputs.last_hidden_state[0, -1:])[0]
    logprobs: list[float] = logits_V.log_softmax(-1)[list(tokens)].tolist()
    return logprobs


def batches_by_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Return the rows of each batch, longest first, as positions in ``lengths``."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > max_tokens:
            batches.append([])
        batches[-1].append(row)
    return batches


def _score(model: Any, rows: Sequence[Sequence[int]], starts: Sequence[int], max_logits: int) -> list[list[float]]:
    ids_BT = pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True).to(model.device)
    lengths_B = torch.tensor([len(row) for row in rows], device=model.device)
    positions_T = torch.arange(ids_BT.shape[1], device=model.device)
    starts_B = torch.tensor(list(starts), device=model.device)
    scored_BT = (positions_T >= starts_B[:, None]) & (positions_T < lengths_B[:, None])
    inputs = {"input_ids": ids_BT, "attention_mask": (positions_T < lengths_B[:, None]).long()}
    logprobs_N = _chunked_logprobs(model, inputs, scored_BT, max_logits)
    counts = [len(row) - start for row, start in zip(rows, starts, strict=True)]
    return [values.tolist() for values in torch.split(logprobs_N.cpu(), counts)]


def _chunked_logprobs(model: Any, inputs: dict[str, Tensor], scored_BT: Tensor, max_logits: int) -> Tensor:
    """Return the log-probs of the scored tokens, shape (N,), row after row."""
    causal, backbone = _causal_and_backbone(model)
    outputs = backbone(**inputs, use_cache=False, return_dict=True)
    targets_N = inputs["input_ids"][scored_BT]
    if backbone is causal:  # remote code that names no backbone
        logits_NV: Tensor = outputs.logits[:, :-1][scored_BT[:, 1:]].float()
        return logits_NV.log_softmax(-1).gather(-1, targets_N[:, None])[:, 0]
    hidden_NH = outputs.last_hidden_state[:, :-1][scored_BT[:, 1:]]  # a token's log-prob comes from the one before it
    size = max(1, max_logits // causal.config.get_text_config().vocab_size)
    chunks = [
        _logits(causal, backbone, outputs, hidden_CH).log_softmax(-1).gather(-1, targets_C[:, None])[:, 0]
        for hidden_CH, targets_C in zip(torch.split(hidden_NH, size), torch.split(targets_N, size), strict=True)
    ]
    return torch.cat(chunks) if chunks else hidden_NH.new_zeros(0)


def _causal_and_backbone(model: Any) -> tuple[Any, Any]:
    """Return the language model and the part of it without the output head; the same for code that names no part."""
    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    return causal, causal.base_model


def _logits(causal: Any, backbone: nn.Module, outputs: Any, hidden_CH: Tensor) -> Tensor:
    """Return the model's logits for hidden states, shape (C, V), in float32.

    The model's own forward pass makes them, so that its scale and soft-capping of logits apply, whatever their names.
    """
    chunk = copy(outputs)
    chunk.last_hidden_state = hidden_CH[None]
    token = torch.zeros((1, 1), dtype=torch.long, device=hidden_CH.device)
    with _returning(backbone, chunk):
        logits: Tensor = causal(input_ids=token, use_cache=False, return_dict=True).logits[0].float()
    return logits


@contextmanager
def _returning(module: nn.Module, outputs: Any) -> Iterator[None]:
    """Let the module's forward pass return these outputs for the block."""
    replaced = vars(module).get("forward")  # by a library, such as Accelerate
    module.forward = lambda *_, **__: outputs
    try:
        yield
    finally:
        del module.forward
        if replaced is not None:
            module.forward = replaced
