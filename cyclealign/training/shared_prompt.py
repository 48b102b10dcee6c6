"""Hidden states of answers that share a prompt, with the prompt computed once. Two exact forms.

Dimensions: ``A`` rows (sequences of prompt and answer), ``G`` distinct prompts, ``P`` tokens of the longest prompt,
``R`` tokens of the longest answer, ``S`` tokens of a packed row, ``N`` scored tokens, ``H`` hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

# "repeated": each answer with its prompt. "cached": the prompt's key-value cache, with gradient, serves its answers.
# "packed": a row of the prompt and all of its answers, which do not attend to each other.
Form = Literal["repeated", "cached", "packed"]
PADDING = -1  # number of the answer in place of padding; 0 is the prompt


class CannotShare(Exception):
    """The model cannot compute a prompt once for its answers; the message has the reason."""


@dataclass(frozen=True)
class PromptRows:
    """The rows of a batch by prompt.

    Attributes:
        prompts: token ids of each distinct prompt.
        answers: token ids of each row's answer without its last token, which predicts nothing.
        prompt_of: the number of each row's prompt.
    """

    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    prompt_of: tuple[int, ...]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], prompt_lengths: Sequence[int]) -> "PromptRows":
        """Group rows of token ids, without padding, by their prompts."""
        numbers: dict[tuple[int, ...], int] = {}
        prompts = [tuple(row[:length]) for row, length in zip(rows, prompt_lengths, strict=True)]
        prompt_of = tuple(numbers.setdefault(prompt, len(numbers)) for prompt in prompts)
        answers = tuple(tuple(row[length:-1]) for row, length in zip(rows, prompt_lengths, strict=True))
        return cls(tuple(numbers), answers, prompt_of)

    @property
    def rows_of(self) -> list[list[int]]:
        """The rows of each prompt."""
        rows: list[list[int]] = [[] for _ in self.prompts]
        for row, prompt in enumerate(self.prompt_of):
            rows[prompt].append(row)
        return rows

    @cached_property
    def lengths(self) -> list[int]:
        """The number of tokens of each row."""
        rows = zip(self.prompt_of, self.answers, strict=True)
        return [len(self.prompts[prompt]) + len(answer) + 1 for prompt, answer in rows]

    def take(self, rows: Sequence[int]) -> "PromptRows":
        """Return some of the rows, with their prompts."""
        numbers: dict[int, int] = {}
        prompt_of = tuple(numbers.setdefault(self.prompt_of[row], len(numbers)) for row in rows)
        prompts = tuple(self.prompts[number] for number in numbers)
        return PromptRows(prompts, tuple(self.answers[row] for row in rows), prompt_of)

    def tokens(self, form: Form) -> int:
        """Return the number of tokens, padding included, that go through the model in this form.

        Rows without a common prompt are computed as they are, in any form.
        """
        longest_prompt, longest_answer = max(map(len, self.prompts)), max(map(len, self.answers))
        if form == "repeated" or len(self.prompts) == len(self.answers):
            return len(self.answers) * max(self.lengths)
        if form == "cached":
            return len(self.prompts) * longest_prompt + len(self.answers) * longest_answer
        by_prompt = zip(self.prompts, self.rows_of, strict=True)
        return len(self.prompts) * max(
            len(prompt) + sum(len(self.answers[row]) for row in rows) for prompt, rows in by_prompt
        )


def shared_states(backbone: Any, rows: PromptRows, form: Form, rows_N: Tensor, tokens_N: Tensor) -> Tensor:
    """Return the hidden states that predict the scored tokens, shape (N, H), with the prompts computed once.

    Args:
        backbone: the model without its head.
        rows_N: row of each scored token.
        tokens_N: its position in the row, at least 1.

    Raises:
        CannotShare: the model has another kind of cache or of mask.
    """
    states = cached_states if form == "cached" else packed_states
    return states(backbone, rows, rows_N, tokens_N)


def cached_states(backbone: Any, rows: PromptRows, rows_N: Tensor, tokens_N: Tensor) -> Tensor:
    """Compute the key-value cache of each prompt, with gradient, and the answers in one batch that reads it.

    Prompts are padded on the left, so that distances in the cache are those of the text (sliding windows).
    """
    device = rows_N.device
    prompt_lengths_G = torch.tensor([len(ids) for ids in rows.prompts], device=device)
    prompt_of_A = torch.tensor(rows.prompt_of, device=device)
    prompt_ids_GP, prompt_mask_GP = padded(rows.prompts, device, "left")
    answer_ids_AR, answer_mask_AR = padded(rows.answers, device, "right")
    outputs = backbone(
        input_ids=prompt_ids_GP,
        attention_mask=prompt_mask_GP,
        position_ids=(prompt_mask_GP.cumsum(-1) - 1).clamp(min=0),
        use_cache=True,
    )
    states = [outputs.last_hidden_state.flatten(0, 1)]
    num_answer_tokens = answer_ids_AR.shape[1]
    if num_answer_tokens:
        positions_R = torch.arange(num_answer_tokens, device=device)
        answers = backbone(
            input_ids=answer_ids_AR,
            attention_mask=torch.cat([prompt_mask_GP[prompt_of_A], answer_mask_AR], dim=-1),
            position_ids=prompt_lengths_G[prompt_of_A].unsqueeze(-1) + positions_R,
            past_key_values=expanded(outputs.past_key_values, prompt_of_A),
            use_cache=True,
        )
        states.append(answers.last_hidden_state.flatten(0, 1))
    prompts_N = prompt_of_A[rows_N]
    width = prompt_ids_GP.shape[1]
    back_N = tokens_N - 1 - prompt_lengths_G[prompts_N]  # distance from the prompt's end; negative within the prompt
    in_prompt_N = prompts_N * width + width + back_N
    in_answer_N = prompt_ids_GP.numel() + rows_N * num_answer_tokens + back_N
    return torch.cat(states).index_select(0, torch.where(back_N < 0, in_prompt_N, in_answer_N))


def expanded(cache: Any, prompt_of_A: Tensor) -> Any:
    """Return the cache with the states of each row's prompt in place of the prompts'; their gradients are summed."""
    layers = getattr(cache, "layers", ())
    if not layers or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        raise CannotShare("its cache holds other states than keys and values")
    for layer in layers:
        layer.keys, layer.values = (states.index_select(0, prompt_of_A) for states in (layer.keys, layer.values))
    return cache


def packed_states(backbone: Any, rows: PromptRows, rows_N: Tensor, tokens_N: Tensor) -> Tensor:
    """Compute one row per prompt: the prompt and its answers, each at the positions that follow the prompt.

    An answer attends to the prompt and to itself.
    """
    device = rows_N.device
    answers_of = [[rows.answers[row] for row in members] for members in rows.rows_of]
    packed = [(prompt, *answers) for prompt, answers in zip(rows.prompts, answers_of, strict=True)]
    ids_GS, mask_GS = padded([[token for part in parts for token in part] for parts in packed], device, "right")
    number_GS = padded([_numbers(parts) for parts in packed], device, "right")[0].masked_fill(mask_GS == 0, PADDING)
    positions_GS = padded([_positions(parts) for parts in packed], device, "right")[0]
    outputs = backbone(
        input_ids=ids_GS,
        attention_mask=attention_masks(backbone, number_GS, positions_GS),
        position_ids=positions_GS,
        use_cache=False,
    )
    prompt_of_A, prompt_lengths_A, starts_A = (
        torch.tensor(values, device=device)
        for values in (rows.prompt_of, [len(rows.prompts[number]) for number in rows.prompt_of], _starts(rows))
    )
    back_N = tokens_N - 1 - prompt_lengths_A[rows_N]
    column_N = torch.where(back_N < 0, tokens_N - 1, starts_A[rows_N] + back_N)
    states: Tensor = outputs.last_hidden_state.flatten(0, 1)
    return states.index_select(0, prompt_of_A[rows_N] * ids_GS.shape[1] + column_N)


def _numbers(parts: Sequence[Sequence[int]]) -> list[int]:
    """Return the number of its part for each token: 0 for the prompt."""
    return [number for number, part in enumerate(parts) for _ in part]


def _positions(parts: Sequence[Sequence[int]]) -> list[int]:
    """Return the position of each token in the text of prompt and answer."""
    length = len(parts[0])
    return [*range(length), *(length + place for answer in parts[1:] for place in range(len(answer)))]


def _starts(rows: PromptRows) -> list[int]:
    """Return the column of each row's first answer token in the packed row."""
    starts = [0] * len(rows.answers)
    for prompt, members in zip(rows.prompts, rows.rows_of, strict=True):
        ends = accumulate((len(rows.answers[row]) for row in members), initial=len(prompt))
        for row, start in zip(members, ends, strict=False):
            starts[row] = start
    return starts


def attention_masks(backbone: Any, number_GS: Tensor, positions_GS: Tensor) -> Any:
    """Return the dense mask of packed rows as the model takes it; one for each kind of layer if it mixes them.

    Raises:
        CannotShare: the attention takes no dense mask, or a layer has another pattern.
    """
    config = backbone.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    if other := kinds - {"full_attention", "sliding_attention"}:
        raise CannotShare(f"it has layers of {', '.join(sorted(other))}")
    masks = {
        kind: _for_attention(
            config,
            backbone.dtype,
            packed_mask(number_GS, positions_GS, window if kind == "sliding_attention" else None),
        )
        for kind in kinds
    }
    return masks if len(masks) > 1 else next(iter(masks.values()))


def packed_mask(number_GS: Tensor, positions_GS: Tensor, window: int | None = None) -> Tensor:
    """Return whether a token attends to another one, shape (G, 1, S, S); padding to the prompt and itself.

    Args:
        number_GS: 0 for a token of the prompt, the answer's number from 1 on, or `PADDING`.
        window: of a sliding attention, in tokens.
    """
    query, key = number_GS.unsqueeze(-1), number_GS.unsqueeze(-2)
    order_S = torch.arange(number_GS.shape[-1], device=number_GS.device)
    before_SS = order_S.unsqueeze(-1) >= order_S
    mask = ((key == 0) | (key == query)) & before_SS & (key != PADDING)
    if window is not None:
        mask &= positions_GS.unsqueeze(-1) - positions_GS.unsqueeze(-2) < window
    return (mask | (order_S.unsqueeze(-1) == order_S)).unsqueeze(1)


def _for_attention(config: Any, dtype: torch.dtype, mask: Tensor) -> Tensor:
    if config._attn_implementation == "sdpa":
        return mask
    if config._attn_implementation == "eager":  # added to the attention's logits
        return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    raise CannotShare(f"the attention {config._attn_implementation!r} takes no dense mask")


def padded(rows: Sequence[Sequence[int]], device: torch.device, side: str) -> tuple[Tensor, Tensor]:
    """Return rows of numbers, padded with 0, and the mask of those that are no padding."""
    values = [torch.tensor(row, dtype=torch.long) for row in rows]
    ones = [torch.ones_like(row) for row in values]
    ids, mask = (pad_sequence(parts, batch_first=True, padding_side=side).to(device) for parts in (values, ones))
    return ids, mask
