"""Collate ranked lists and preference pairs into padded batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.training.job import RankedAnswers

IGNORED = -100


def collate(lists: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Flatten ranked lists to one padded batch: rows are answers, best first, list after list."""
    rows = [(each["prompt_ids"], answer) for each in lists for answer in each["answers"]]
    inputs = [torch.tensor([*prompt, *answer]) for prompt, answer in rows]
    labels = [torch.tensor([IGNORED] * len(prompt) + list(answer)) for prompt, answer in rows]
    return {
        "input_ids": pad_sequence(inputs, batch_first=True, padding_value=pad_id),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in inputs], batch_first=True),
        "sizes": torch.tensor([len(each["answers"]) for each in lists]),
        "weights": torch.tensor([each["weight"] for each in lists], dtype=torch.float32),
        "pairs": torch.tensor([weight for each in lists for row in each["pairs"] for weight in row]),
    }


def pair_weights(ranked: RankedAnswers) -> list[list[float]]:
    """Weight of each pair, [better, worse]: 2 s - 1 for a share s of the verdicts; 1 for all, 0 for half of them."""
    weights = [[0.0] * len(ranked.answers) for _ in ranked.answers]
    for better, worse, share in ranked.soft_pairs():
        weights[better][worse] = 2 * share - 1
    return weights


def pairs(lists: Sequence[RankedAnswers]) -> list[dict[str, Any]]:
    """Every decided (better, worse) pair of every list as token ids, and the share of the verdicts against it."""
    return [
        {
            "prompt_ids": list(each.prompt_ids),
            "chosen_ids": list(each.answers[better]),
            "rejected_ids": list(each.answers[worse]),
            "weight": 1.0,
            "doubt": 1 - share,
        }
        for each in lists
        for better, worse, share in each.soft_pairs()
    ]


def filling_up(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row like this one that counts for nothing."""
    empty = {**row, "weight": 0.0}
    if "chosen_ids" in row:
        empty["rejected_ids"] = row["chosen_ids"]
    return empty


def collate_pairs(rows: Sequence[dict[str, Any]], collator: DataCollatorForPreference) -> dict[str, Tensor]:
    """TRL's batch of pairs, their weights and the doubts about them."""
    weights = torch.tensor([each["weight"] for each in rows])
    return {**collator(list(rows)), "weights": weights, "doubts": torch.tensor([each["doubt"] for each in rows])}
