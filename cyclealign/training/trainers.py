"""The TRL trainers: listwise losses in TRL's `SFTTrainer`, pairwise losses in its `DPOTrainer`.

Both train on the token ids of generation; nothing is tokenised again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import disable_dropout_in_model

from cyclealign.errors import TrainingFailed
from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.processes import return_large_blocks
from cyclealign.progress import OnProgress
from cyclealign.records import TrainingStep
from cyclealign.training.arguments import common_arguments, on_one_device
from cyclealign.training.collate import (
    collate_lists,
    collate_pairs,
    from_bits,
    list_rows,
    padding_row,
    pair_rows,
    rows_of_lists,
    rows_of_pairs,
    take_lists,
    take_pairs,
)
from cyclealign.training.job import OnStep, TrainingJob
from cyclealign.training.memory import CudaMeter, StepWithinMemory
from cyclealign.training.model import Model, is_sharded, parent_model
from cyclealign.training.objectives import OBJECTIVES, ListScores, Objective, PairScores
from cyclealign.training.passes import (
    DEFAULT_TOKENS_AT_ONCE,
    ModelInPasses,
    passes_of_rows,
    take_rows,
)
from cyclealign.training.ranking_trainer import RankingTrainer
from cyclealign.training.reference import add_parent_logprobs
from cyclealign.training.scoring import Scoring, add_scoring
from cyclealign.training.self_check import WORDS
from cyclealign.training.step_totals import StepTotals, list_totals, pair_totals

logger = logging.getLogger(__name__)


class ListwiseTrainer(StepWithinMemory, SFTTrainer):
    """TRL's SFT trainer with a listwise ranking loss in place of cross-entropy."""

    def rows_by_unit(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """Return the rows of each list of the batch."""
        return rows_of_lists(inputs["sizes"].tolist())

    def take_units(self, inputs: Mapping[str, Tensor], units: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch of these lists, without their weights."""
        return take_lists(inputs, units)

    def loss_sum(self, model: Any, inputs: dict[str, Tensor], weights_B: Tensor) -> Tensor:
        """Return the sum of weight * loss over the lists."""
        scores = self.scored_lists(model, inputs)
        self.totals.add(list_totals(self.objective, self.loss_settings, scores, weights_B))
        losses = [self.objective.list_terms(each, self.loss_settings).loss for each in scores]
        return (weights_B * torch.stack(losses)).sum()

    def scored_lists(self, model: Any, inputs: dict[str, Tensor]) -> list[ListScores]:
        """Return the scores of each list."""
        sizes = inputs.pop("sizes").tolist()
        flat_by_list = inputs.pop("pairs").split([size * size for size in sizes])
        parents = from_bits(inputs.pop("parent_sums")).split(sizes)
        outputs = model(**inputs, fused_lm_head=True)
        sums = outputs.log_probs.sum(-1).split(sizes)
        lengths = outputs.label_mask.sum(-1).split(sizes)
        return [
            ListScores(sums_N, lengths_N, flat.view(size, size), parent_N.to(sums_N.dtype))
            for sums_N, lengths_N, flat, size, parent_N in zip(sums, lengths, flat_by_list, sizes, parents, strict=True)
        ]


class PairwiseTrainer(StepWithinMemory, DPOTrainer):
    """TRL's DPO trainer on pairs of token ids, with label smoothing for each pair and a KL term."""

    reduces_in_loss = True  # TRL's metrics
    _scores: PairScores  # of the last batch

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset  # TRL would tokenise it

    def rows_by_unit(self, inputs: Mapping[str, Tensor]) -> list[list[int]]:
        """Return the rows of each pair of the batch."""
        return rows_of_pairs(len(inputs["smoothing"]))

    def take_units(self, inputs: Mapping[str, Tensor], units: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch of these pairs, without their weights."""
        return take_pairs(inputs, units)

    def loss_sum(self, model: Any, inputs: dict[str, Tensor], weights_B: Tensor) -> Tensor:
        """Return the sum over the pairs of TRL's loss, with label smoothing for each pair, and of the KL term.

        A padding row is a pair of equal answers: its margin is 0 for any weights, and its gradient is 0.
        """
        mean = DPOTrainer.compute_loss(self, model, inputs)  # calls `_compute_loss`
        self.totals.add(pair_totals(self.objective, self.loss_settings, self._scores, weights_B))
        terms = self.objective.pair_terms(self._scores, self.loss_settings)
        unsmoothed = replace(self._scores, smoothing=torch.zeros_like(self._scores.smoothing))
        trl_B = self.objective.ranking(unsmoothed, self.loss_settings)
        of_pairs_B = weights_B > 0
        beyond_trl = torch.where(of_pairs_B, terms.loss - trl_B, 0).sum()
        return mean * len(weights_B) - torch.where(of_pairs_B, 0, trl_B.detach()).sum() + beyond_trl

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        smoothing_B = inputs.pop("smoothing")
        lengths_2B = inputs["completion_mask"].sum(1).clamp(min=1).view(2, -1)
        parent_2B = self._reference(inputs, model.max_tokens if isinstance(model, ModelInPasses) else None)
        inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = parent_2B
        outputs: list[Any] = []

        def recorded(**arguments: Any) -> Any:
            outputs.append(model(**arguments))
            return outputs[-1]

        loss = super()._compute_loss(recorded, inputs, return_outputs=False)
        self._scores = PairScores(outputs[0].log_probs.sum(1).view(2, -1), lengths_2B, parent_2B, smoothing_B)
        return loss

    def _reference(self, inputs: Mapping[str, Tensor], max_tokens: int | None) -> Tensor:
        """Return the reference's log-prob sums of the chosen and of the rejected answers, shape (2, B)."""
        reference = self.model if self.ref_model is None else self.ref_model
        if max_tokens is None:
            return torch.stack(self.compute_ref_log_probs(reference, inputs))
        by_row: dict[int, Tensor] = {}
        for rows in passes_of_rows(inputs, max_tokens, self.scoring.form):
            sums = torch.cat(self.compute_ref_log_probs(reference, take_rows(inputs, rows)))
            by_row.update(zip(rows, sums, strict=True))
        return torch.stack([by_row[row] for row in range(len(by_row))]).view(2, -1)


class ReportFigures(TrainerCallback):
    """Report the figures of each step; on going on from a checkpoint, first those of the steps before it."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for entry in state.log_history:
            if "loss" in entry:
                self._on_step(TrainingStep.of(entry))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._on_step(TrainingStep.of({**logs, "step": state.global_step}))


class ReportSteps(TrainerCallback):
    """Report progress after each step."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_progress(state.global_step, state.max_steps)


def make_trainer(job: TrainingJob, folder: Path, model: Model) -> StepWithinMemory:
    """Return the trainer of the job's objective."""
    return_large_blocks()
    objective = OBJECTIVES[job.settings.objective]
    trainer = TRAINERS[objective.trainer](job, folder, model, objective)
    trainer.rows_per_step, trainer.objective = job.settings.prompts_per_step, objective
    trainer.loss_settings, trainer.totals = objective.settings(job.settings), StepTotals()
    add_scoring_to(trainer, job.settings.shared_prompt == "auto")
    if job.settings.tokens_at_once is not None or not is_sharded(trainer):
        trainer.longest, trainer.tokens_at_once = longest_row(job), tokens_at_once(job)
        if job.settings.tokens_at_once is None and torch.cuda.is_available():
            trainer.meter = CudaMeter()
    if isinstance(trainer, ListwiseTrainer) and (objective.needs_reference or job.settings.kl_weight):
        add_parent_logprobs(trainer)
    return trainer


def add_scoring_to(trainer: RankingTrainer, share_prompts: bool) -> None:
    """Score the trainer's batches in our forward pass, and in TRL's if the weights are sharded over processes."""
    outputs = (
        ("log_probs", "entropy", "mean_logits", "is_top1") if isinstance(trainer, PairwiseTrainer) else ("log_probs",)
    )
    trainer.scoring = Scoring(outputs=outputs, by_library=is_sharded(trainer))
    trainer.share_prompts = share_prompts and not is_sharded(trainer)
    if share_prompts and is_sharded(trainer):
        trainer.scoring.remark = WORDS["repeated"] + "the weights are sharded over processes"
        logger.info(trainer.scoring.remark)
    for model in (trainer.model, getattr(trainer, "ref_model", None)):
        if model is not None:
            add_scoring(model.get_base_model() if isinstance(model, PeftModel) else model, trainer.scoring)


def longest_row(job: TrainingJob) -> int:
    """Return the tokens of the longest answer with its prompt."""
    return max(len(ranked.prompt_ids) + len(answer) for ranked in job.lists_with_signal for answer in ranked.answers)


def tokens_at_once(job: TrainingJob) -> int:
    """Return the maximum number of tokens of a forward pass, on a GPU until its memory is measured.

    Raises:
        TrainingFailed: an answer with its prompt is longer than the setting.
    """
    longest, limit = longest_row(job), job.settings.tokens_at_once
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
    if objective.needs_reference:
        disable_dropout_in_model(model)  # policy and reference would differ by it
    return ListwiseTrainer(
        model=model,
        args=on_one_device(SFTConfig(**common_arguments(job, folder), dataset_kwargs={"skip_prepare_dataset": True})),
        train_dataset=Dataset.from_list([*rows, padding_row(rows[0])]),
        data_collator=lambda batch: collate_lists(batch, tokenizer.pad_token_id),
        processing_class=tokenizer,
    )


def pairwise_trainer(job: TrainingJob, folder: Path, model: Model, objective: Objective) -> PairwiseTrainer:
    """Return a trainer on preference pairs.

    The reference is the policy at the start of the round: a second model for full weights, TRL's copy of the adapter
    for LoRA.
    """
    tokenizer = load_tokenizer(job.model, job.revision, job.trust_remote_code)
    rows = pair_rows(job.lists_with_signal)
    collator = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    trainer = PairwiseTrainer(
        model=model,
        ref_model=parent_model(job) if objective.needs_reference and job.full_weights else None,
        # No load balancing of experts, as with lists: its term is a mean over a pass, and would depend on the cut.
        args=on_one_device(
            DPOConfig(
                **common_arguments(job, folder),
                loss_type=objective.trl_loss,
                beta=objective.settings(job.settings).beta,
                router_aux_loss_coef=0.0,
            )
        ),
        train_dataset=Dataset.from_list([*rows, padding_row(rows[0])]),
        data_collator=lambda batch: collate_pairs(batch, collator),
        processing_class=tokenizer,
    )
    trainer.precompute_ref_logps = True  # each batch brings its own: the KL term needs them, too
    return trainer


TRAINERS: Mapping[str, Callable[[TrainingJob, Path, Model, Objective], StepWithinMemory]] = {
    "listwise": listwise_trainer,
    "pairwise": pairwise_trainer,
}
