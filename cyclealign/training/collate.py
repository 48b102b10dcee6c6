"""Collate ranked lists and preference pairs into padded batches."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.training.job import RankedAnswers
from cyclealign.training.passes import take_rows
from cyclealign.training.scoring import IGNORED_LABEL


def list_rows(lists: Sequence[RankedAnswers]) -> list[dict[str, Any]]:
    """Return the dataset rows of a listwise trainer, one per ranked list."""
    return [
        {
            "prompt_ids": list(ranked.prompt_ids),
            "answers": [list(ids) for ids in ranked.answers],
            "unlearnt": list(ranked.unlearnt),
            "weight": ranked.weight,
            "pairs": pair_weights(ranked),
            "parent_sums": None if ranked.parent_logprobs is None else list(ranked.parent_logprobs),
        }
        for ranked in lists
    ]


def collate_lists(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Flatten ranked lists into one padded batch of A answers, best first within each list.

    Returns:
        ``input_ids``, ``labels`` and ``attention_mask`` (A, T); ``prompt_lengths`` (A,), in tokens; ``sizes`` (B,), the
        answers of each list; ``weights`` (B,); ``pairs``, the pair weights of all lists, flattened (sum of sizes^2,);
        ``parent_sums`` (A,), the parent's log-prob sums as `as_bits`, NaN where they are not known.
    """
    sequences = [
        (row["prompt_ids"], answer, unlearnt)
        for row in rows
        for answer, unlearnt in zip(row["answers"], row.get("unlearnt") or [0] * len(row["answers"]), strict=True)
    ]
    inputs = [torch.tensor([*prompt, *answer]) for prompt, answer, _ in sequences]
    labels = [
        torch.tensor([IGNORED_LABEL] * (len(prompt) + unlearnt) + list(answer[unlearnt:]))
        for prompt, answer, unlearnt in sequences
    ]
    return {
        "input_ids": pad_sequence(inputs, batch_first=True, padding_value=pad_id),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL),
        "attention_mask": pad_sequence([torch.ones_like(ids) for ids in inputs], batch_first=True),
        "prompt_lengths": torch.tensor([len(prompt) for prompt, _, _ in sequences]),
        "sizes": torch.tensor([len(row["answers"]) for row in rows]),
        "weights": torch.tensor([row["weight"] for row in rows], dtype=torch.float32),
        "pairs": torch.tensor([weight for row in rows for better in row["pairs"] for weight in better]),
        "parent_sums": as_bits(
            [value for row in rows for value in row.get("parent_sums") or [math.nan] * len(row["answers"])]
        ),
    }


def as_bits(values: Sequence[float]) -> Tensor:
    """Return the bits of float32 numbers as int32: under DeepSpeed the trainer rounds floats of a batch to bfloat16."""
    return torch.tensor(values, dtype=torch.float32).view(torch.int32)


def from_bits(bits: Tensor) -> Tensor:
    """Return the numbers that `as_bits` packed."""
    return bits.view(torch.float32)


def rows_of_lists(sizes: Sequence[int]) -> list[list[int]]:
    """Return the rows of each list in a batch of lists with these sizes."""
    ends = list(accumulate(sizes))
    return [list(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]


def rows_of_pairs(num_pairs: int) -> list[list[int]]:
    """Return the rows of each pair in a batch of pairs, the chosen answer's first."""
    return [[row, num_pairs + row] for row in range(num_pairs)]


def take_lists(batch: Mapping[str, Tensor], lists: Sequence[int]) -> dict[str, Tensor]:
    """Return a batch of some of the lists, by position, without ``weights``; see `collate_lists`."""
    sizes = batch["sizes"].tolist()
    rows = rows_of_lists(sizes)
    flat_by_list = torch.split(batch["pairs"], [size * size for size in sizes])
    taken = [row for number in lists for row in rows[number]]
    return {
        **take_rows(batch, taken),
        "sizes": batch["sizes"][lists],
        "parent_sums": batch["parent_sums"][taken],
        "pairs": torch.cat([flat_by_list[number] for number in lists]),
    }


def take_pairs(batch: Mapping[str, Tensor], pairs: Sequence[int]) -> dict[str, Tensor]:
    """Return a batch of some of the pairs, by position, without ``weights``; see `collate_pairs`."""
    rows = rows_of_pairs(len(batch["smoothing"]))
    by_side = [rows[number][side] for side in (0, 1) for number in pairs]
    return {**take_rows(batch, by_side), "smoothing": batch["smoothing"][pairs]}


def pair_weights(ranked: RankedAnswers) -> list[list[float]]:
    """Return the weight of each pair, indexed [better, worse]: 2 s - 1 for a share s of the verdicts."""
    weights = [[0.0] * len(ranked.answers) for _ in ranked.answers]
    for better, worse, share in ranked.soft_pairs():
        weights[better][worse] = 2 * share - 1
    return weights


def pair_rows(lists: Sequence[RankedAnswers]) -> list[dict[str, Any]]:
    """Return the dataset rows of a pairwise trainer: one per decided pair, with the label smoothing 1 - s."""
    return [
        {
            "prompt_ids": list(ranked.prompt_ids),
            "chosen_ids": list(ranked.answers[better]),
            "rejected_ids": list(ranked.answers[worse]),
            "chosen_unlearnt": ranked.unlearnt[better],
            "rejected_unlearnt": ranked.unlearnt[worse],
            "weight": 1.0,
            "smoothing": 1 - share,
        }
        for ranked in lists
        for better, worse, share in ranked.soft_pairs()
    ]


def padding_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a list row or pair row that contributes nothing to the loss: weight 0, two equal answers."""
    padding = {**row, "weight": 0.0}
    if "chosen_ids" in row:
        padding["rejected_ids"], padding["rejected_unlearnt"] = row["chosen_ids"], row["chosen_unlearnt"]
    return padding


def collate_pairs(rows: Sequence[Mapping[str, Any]], collator: DataCollatorForPreference) -> dict[str, Tensor]:
    """Return TRL's batch of B pairs, with ``weights`` (B,), ``smoothing`` (B,) and ``prompt_lengths`` (2 B,).

    Its ``completion_mask`` (2 B, T), chosen answers first, leaves out the tokens that are not learnt.
    """
    weights_B = torch.tensor([row["weight"] for row in rows])
    smoothing_B = torch.tensor([row["smoothing"] for row in rows])
    batch = collator(list(rows))
    unlearnt = [row[name] for name in ("chosen_unlearnt", "rejected_unlearnt") for row in rows]
    starts = [len(row["prompt_ids"]) for row in rows] * 2
    for mask_T, start, count in zip(batch["completion_mask"], starts, unlearnt, strict=True):
        mask_T[start : start + count] = 0
    return {**batch, "prompt_lengths": torch.tensor(starts), "weights": weights_B, "smoothing": smoothing_B}
