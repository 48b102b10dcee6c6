"""Sample answers, and compare the next-token distributions of two models on them.

Dimensions: ``B`` rows of a batch, ``T`` tokens of its longest row, ``N`` answer tokens, ``V`` vocabulary.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedTokenizerBase

from cyclealign.distill.opd.losses import divergence_sum
from cyclealign.policy.sampler import Sampler
from cyclealign.policy.token_logprobs import batches_by_length
from cyclealign.progress import OnProgress
from cyclealign.records import seed_from

PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class Row:
    """Token ids of a prompt and of an answer to it, which is not empty."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Return prompt and answer."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Generation:
    """How answers are generated. ``temperature`` 0: the likeliest tokens."""

    tokenizer: PreTrainedTokenizerBase
    end_tokens: frozenset[int]
    max_new_tokens: int
    temperature: float


def sample(model: Any, prompts: Sequence[Sequence[int]], generation: Generation, seed: int) -> list[Row]:
    """Return one answer to each prompt, as one batch; reproducible by seed. An end token is part of its answer."""
    padded = generation.tokenizer.pad({"input_ids": [list(ids) for ids in prompts]}, return_tensors="pt")
    inputs = {name: padded[name].to(model.device) for name in ("input_ids", "attention_mask")}
    config = GenerationConfig(
        do_sample=False,  # `Sampler` draws
        max_new_tokens=generation.max_new_tokens,
        pad_token_id=generation.tokenizer.pad_token_id,
        eos_token_id=sorted(generation.end_tokens),
    )
    processors = LogitsProcessorList()
    if generation.temperature > 0:
        whole = range(len(prompts))
        processors.append(Sampler(generation.temperature, 1.0, seed, whole, len(prompts), str(model.device)))
    with torch.inference_mode():
        sequences_BT = model.generate(**inputs, generation_config=config, logits_processor=processors)
    answers = sequences_BT[:, inputs["input_ids"].shape[1] :].tolist()
    return [
        Row(tuple(prompt), cut(answer, generation.end_tokens)) for prompt, answer in zip(prompts, answers, strict=True)
    ]


def cut(answer: Sequence[int], end_tokens: frozenset[int]) -> tuple[int, ...]:
    """Return an answer up to and with its first end token."""
    end = next((position for position, token in enumerate(answer) if token in end_tokens), len(answer) - 1)
    return tuple(answer[: end + 1])


def sample_all(
    model: Any,
    prompts: Sequence[Sequence[int]],
    generation: Generation,
    seed: int,
    on_progress: OnProgress = lambda done, of: None,
) -> list[Row]:
    """Return one answer to each prompt, batch by batch; reproducible by seed."""
    rows: list[Row] = []
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        batch = prompts[start : start + PROMPTS_AT_ONCE]
        rows += sample(model, batch, generation, seed_from(seed, start))
        on_progress(len(rows), len(prompts))
    return rows


@dataclass(frozen=True)
class Batch:
    """Rows as tensors, padded at the end, where a causal model's tokens do not see it.

    Attributes:
        keep: number of last positions whose logits are needed.
        answer_BT: of these positions but the last, True where the next token is of the answer.
        targets_N: the answer tokens.
    """

    ids_BT: Tensor  # noqa: N815
    mask_BT: Tensor  # noqa: N815
    keep: int
    answer_BT: Tensor  # noqa: N815
    targets_N: Tensor  # noqa: N815

    @classmethod
    def of(cls, rows: Sequence[Row], device: Any) -> "Batch":
        """Return the batch of rows."""
        ids_BT = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True)
        ends_B = torch.tensor([len(row.ids) for row in rows])[:, None]
        starts_B = torch.tensor([len(row.prompt) for row in rows])[:, None]
        positions_T = torch.arange(ids_BT.shape[1])
        first = int(starts_B.min())  # the token before it predicts it
        answer_BT = ((positions_T >= starts_B) & (positions_T < ends_B))[:, first:]
        targets_N = ids_BT[:, first:][answer_BT]
        tensors = (ids_BT, (positions_T < ends_B).long(), answer_BT, targets_N)
        ids_BT, mask_BT, answer_BT, targets_N = (tensor.to(device) for tensor in tensors)
        return cls(ids_BT, mask_BT, ids_BT.shape[1] - first + 1, answer_BT, targets_N)


def answer_logits(model: Any, batch: Batch) -> Tensor:
    """Return the logits from which each answer token comes, shape (N, V), row after row."""
    logits_BTV: Tensor = model(
        input_ids=batch.ids_BT,
        attention_mask=batch.mask_BT,
        use_cache=False,
        **({"logits_to_keep": batch.keep} if keeps_logits(model) else {}),
    ).logits
    return logits_BTV[:, -batch.keep : -1][batch.answer_BT]


def keeps_logits(model: Any) -> bool:
    """Return whether a model can leave out the logits of the prompt."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return "logits_to_keep" in inspect.signature(type(base).forward).parameters


def same_vocabulary(first_NV: Tensor, second_NV: Tensor) -> tuple[Tensor, Tensor]:
    """Return both logits without the rows that fill one model's vocabulary up beyond the other's."""
    size = min(first_NV.shape[1], second_NV.shape[1])
    return first_NV[:, :size], second_NV[:, :size]


@torch.inference_mode()
def divergences(student: Any, teacher: Any, rows: Sequence[Row], beta: float, max_tokens: int) -> list[float]:
    """Return the mean divergence per answer token of each row, in nats; see `losses.generalised_jsd`."""
    values = [0.0] * len(rows)
    for numbers in batches_by_length([len(row.ids) for row in rows], max_tokens):
        batch = Batch.of([rows[number] for number in numbers], student.device)
        student_NV, teacher_NV = same_vocabulary(answer_logits(student, batch), answer_logits(teacher, batch))
        counts = [len(rows[number].answer) for number in numbers]
        parts = zip(numbers, student_NV.split(counts), teacher_NV.split(counts), strict=True)
        for number, own_NV, other_NV in parts:
            values[number] = float(divergence_sum(own_NV, other_NV, beta, 1.0)) / len(rows[number].answer)
    return values
