"""The TRL trainers: listwise losses in TRL's `SFTTrainer`, pairwise losses in its `DPOTrainer`.

Both train on the token ids of generation; nothing is tokenised again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.errors import TrainingFailed
from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.progress import OnProgress
from cyclealign.training.arguments import common_arguments, on_one_device
from cyclealign.training.collate import (
    collate_lists,
    collate_pairs,
    list_rows,
    padding_row,
    pair_rows,
    rows_of_lists,
    rows_of_pairs,
    take_lists,
    take_pairs,
)
from cyclealign.training.job import TrainingJob
from cyclealign.training.losses import OBJECTIVES, Objective
from cyclealign.training.model import Model, is_sharded, parent_model
from cyclealign.training.passes import (
    DEFAULT_TOKENS_AT_ONCE,
    ModelInPasses,
    passes_of_rows,
    take_rows,
)
from cyclealign.training.ranking_trainer import RankingTrainer


class ListwiseTrainer(RankingTrainer, SFTTrainer):
    """TRL's SFT trainer with a listwise ranking loss in place of cross-entropy."""

    sft_weight: float | None = None

    def rows_by_unit(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """Return the rows of each list of the batch."""
        return rows_of_lists(inputs["sizes"].tolist())

    def take_units(self, inputs: Mapping[str, Tensor], units: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch of these lists, without their weights."""
        return take_lists(inputs, units)

    def loss_sum(self, model: Any, inputs: dict[str, Tensor], weights_B: Tensor) -> Tensor:
        """Return the sum of weight * loss over the lists; TRL's fused head avoids the (A, T, V) logits."""
        sizes = inputs.pop("sizes").tolist()
        flat_by_list = inputs.pop("pairs").split([size * size for size in sizes])
        pairs = [flat.view(size, size) for flat, size in zip(flat_by_list, sizes, strict=True)]
        outputs = model(**inputs, fused_lm_head=True)
        sums = outputs.log_probs.sum(-1).split(sizes)
        lengths = outputs.label_mask.sum(-1).split(sizes)
        losses = [
            self.objective.list_loss(sums_N, lengths_N, pairs_NN, self.sft_weight)
            for sums_N, lengths_N, pairs_NN in zip(sums, lengths, pairs, strict=True)
        ]
        return (weights_B * torch.stack(losses)).sum()


class PairwiseTrainer(RankingTrainer, DPOTrainer):
    """TRL's DPO trainer on pairs of token ids, with label smoothing for each pair: see `losses.dpo_smoothing`."""

    reduces_in_loss = True  # TRL's metrics

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset  # TRL would tokenise it

    def rows_by_unit(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """Return the rows of each pair of the batch."""
        return rows_of_pairs(len(inputs["smoothing"]))

    def take_units(self, inputs: Mapping[str, Tensor], units: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch of these pairs, without their weights."""
        return take_pairs(inputs, units)

    def loss_sum(self, model: Any, inputs: dict[str, Tensor], weights_B: Tensor) -> Tensor:
        """Return the sum of TRL's loss over the pairs.

        A padding row is a pair of equal answers: its loss is log 2 for any weights, and its gradient is 0.
        """
        mean = DPOTrainer.compute_loss(self, model, inputs)
        num_padding = (weights_B == 0).sum()
        return mean * len(weights_B) - num_padding * math.log(2)

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        smoothing_B = inputs.pop("smoothing")
        outputs: list[Any] = []
        self.precompute_ref_logps = isinstance(model, ModelInPasses)
        if isinstance(model, ModelInPasses):
            inputs.update(self._reference_in_passes(inputs, model.max_tokens))

        def recorded(**arguments: Any) -> Any:
            outputs.append(model(**arguments))
            return outputs[-1]

        loss = super()._compute_loss(recorded, inputs, return_outputs=False)
        # TRL calls the policy first, then the reference.
        chosen_B, rejected_B = outputs[0].log_probs.sum(1).chunk(2, dim=0)
        smoothing = self.objective.loss(chosen_B, rejected_B, smoothing_B, self.beta)
        # Adds the gradient alone: without the reference's part, the value of the term means nothing.
        return loss + smoothing - smoothing.detach()

    def _reference_in_passes(self, inputs: Mapping[str, Tensor], max_tokens: int) -> dict[str, Tensor]:
        """Return the reference's log-prob sums, shape (B,) each, under TRL's names for precomputed ones."""
        reference = self.model if self.ref_model is None else self.ref_model
        by_row: dict[int, Tensor] = {}
        for rows in passes_of_rows(inputs, max_tokens):
            sums = torch.cat(self.compute_ref_log_probs(reference, take_rows(inputs, rows)))
            by_row.update(zip(rows, sums, strict=True))
        chosen_B, rejected_B = torch.stack([by_row[row] for row in range(len(by_row))]).chunk(2)
        return {"ref_chosen_logps": chosen_B, "ref_rejected_logps": rejected_B}


class ReportSteps(TrainerCallback):
    """Report progress after each step."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_progress(state.global_step, state.max_steps)


def make_trainer(job: TrainingJob, folder: Path, model: Model) -> RankingTrainer:
    """Return the trainer of the job's objective."""
    objective = OBJECTIVES[job.settings.objective]
    trainer = TRAINERS[objective.trainer](job, folder, model, objective)
    trainer.rows_per_step, trainer.objective = job.settings.prompts_per_step, objective
    if job.settings.tokens_at_once is not None or not is_sharded(trainer):
        trainer.tokens_at_once = tokens_at_once(job)
    return trainer


def tokens_at_once(job: TrainingJob) -> int:
    """Return the maximum number of tokens of a forward pass.

    Raises:
        TrainingFailed: an answer with its prompt is longer than the setting.
    """
    longest = max(len(ranked.prompt_ids) + len(answer) for ranked in job.lists_with_signal for answer in ranked.answers)
    limit = job.settings.tokens_at_once
    if limit is None:
        return max(DEFAULT_TOKENS_AT_ONCE, longest)
    if longest > limit:
        raise TrainingFailed(
            f"training.tokens_at_once is {limit}, and an answer with its prompt has {longest} tokens, which must go "
            f"through the model in one pass. Set it to {longest} or more, or lower policy.max_tokens. The judged lists "
            "are kept: the next start begins at training."
        )
    return limit


def listwise_trainer(job: TrainingJob, folder: Path, model: Model, objective: Objective) -> ListwiseTrainer:
    """Return a trainer on ranked lists."""
    tokenizer = load_tokenizer(job.model, job.revision, job.trust_remote_code)
    rows = list_rows(job.lists_with_signal)
    trainer = ListwiseTrainer(
        model=model,
        args=on_one_device(SFTConfig(**common_arguments(job, folder), dataset_kwargs={"skip_prepare_dataset": True})),
        train_dataset=Dataset.from_list([*rows, padding_row(rows[0])]),
        data_collator=lambda batch: collate_lists(batch, tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    trainer.sft_weight = job.settings.sft_weight
    return trainer


def pairwise_trainer(job: TrainingJob, folder: Path, model: Model, objective: Objective) -> PairwiseTrainer:
    """Return a trainer on preference pairs.

    The reference is the policy at the start of the round: a second model for full weights, TRL's copy of the adapter
    for LoRA.
    """
    tokenizer = load_tokenizer(job.model, job.revision, job.trust_remote_code)
    rows = pair_rows(job.lists_with_signal)
    collator = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    return PairwiseTrainer(
        model=model,
        ref_model=parent_model(job) if objective.needs_reference and job.full_weights else None,
        # No load balancing of experts, as with lists: its term is a mean over a pass, and would depend on the cut.
        args=on_one_device(
            DPOConfig(**common_arguments(job, folder), beta=job.settings.dpo_beta, router_aux_loss_coef=0.0)
        ),
        train_dataset=Dataset.from_list([*rows, padding_row(rows[0])]),
        data_collator=lambda batch: collate_pairs(batch, collator),
        processing_class=tokenizer,
    )


TRAINERS: Mapping[str, Callable[[TrainingJob, Path, Model, Objective], RankingTrainer]] = {
    "listwise": listwise_trainer,
    "pairwise": pairwise_trainer,
}
