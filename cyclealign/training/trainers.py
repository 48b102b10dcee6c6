"""The TRL trainers: listwise losses in TRL's `SFTTrainer`, pairwise losses in its `DPOTrainer`.

Both train on the token ids of generation; nothing is tokenised again.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.progress import OnProgress
from cyclealign.training.collate import collate_lists, collate_pairs, list_rows, padding_row, pair_rows
from cyclealign.training.job import TrainingJob
from cyclealign.training.losses import OBJECTIVES, Objective
from cyclealign.training.model import Model, parent_model
from cyclealign.training.sampler import StepBatchSampler, scale_to_step_mean

Config = TypeVar("Config", SFTConfig, DPOConfig)


class RankingTrainer(Trainer):
    """A trainer whose step is ``rows_per_step`` rows of the dataset, divided among all processes.

    The last row of the dataset is the padding row.
    """

    rows_per_step: int
    objective: Objective

    def get_train_dataloader(self) -> DataLoader[Any]:
        # Not prepared by Accelerate, which would divide the batches once more; the trainer moves them to the device.
        process, num_processes = self.args.process_index, self.args.world_size
        num_rows = len(self.train_dataset) - 1
        sampler = StepBatchSampler(num_rows, self.rows_per_step, self.args.seed, process, num_processes)
        return DataLoader(self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Return this process's part of the mean loss over the step's rows; padding rows have the weight 0."""
        inputs = dict(inputs)
        weights_B = inputs.pop("weights")
        step_count = self.accelerator.reduce((weights_B > 0).sum(), reduction="sum")
        loss_sum = self.loss_sum(model, inputs, weights_B)
        return scale_to_step_mean(loss_sum, step_count, self.accelerator.num_processes)

    def loss_sum(self, model: Any, inputs: dict[str, Tensor], weights_B: Tensor) -> Tensor:
        """Return the sum of weight * loss over this process's rows, a scalar."""
        raise NotImplementedError


class ListwiseTrainer(RankingTrainer, SFTTrainer):
    """TRL's SFT trainer with a listwise ranking loss in place of cross-entropy."""

    sft_weight: float | None = None

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

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset  # TRL would tokenise it

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

        def recorded(**arguments: Any) -> Any:
            outputs.append(model(**arguments))
            return outputs[-1]

        loss = super()._compute_loss(recorded, inputs, return_outputs=False)
        # TRL calls the policy first, then the reference.
        chosen_B, rejected_B = outputs[0].log_probs.sum(1).chunk(2, dim=0)
        smoothing = self.objective.loss(chosen_B, rejected_B, smoothing_B, self.beta)
        # Adds the gradient alone: without the reference's part, the value of the term means nothing.
        return loss + smoothing - smoothing.detach()


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
    return trainer


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
        args=on_one_device(DPOConfig(**common_arguments(job, folder), beta=job.settings.dpo_beta)),
        train_dataset=Dataset.from_list([*rows, padding_row(rows[0])]),
        data_collator=lambda batch: collate_pairs(batch, collator),
        processing_class=tokenizer,
    )


TRAINERS: Mapping[str, Callable[[TrainingJob, Path, Model, Objective], RankingTrainer]] = {
    "listwise": listwise_trainer,
    "pairwise": pairwise_trainer,
}


def common_arguments(job: TrainingJob, folder: Path) -> dict[str, Any]:
    """Return the training arguments of both trainers."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder / "trainer"),
        # For DeepSpeed, which needs a batch size; the rows of a step come from `StepBatchSampler`.
        "per_device_train_batch_size": math.ceil(job.settings.prompts_per_step / num_processes()),
        "num_train_epochs": job.settings.epochs,
        "learning_rate": job.settings.learning_rate,
        "seed": job.seed % 2**32,  # NumPy's generator takes 32 bits
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "gradient_checkpointing": on_gpu,
        "use_cpu": not on_gpu,
        "bf16": on_gpu and torch.cuda.is_bf16_supported(),
        "max_length": None,
    }


def on_one_device(config: Config) -> Config:
    """Restrict the trainer to one GPU per process; otherwise it splits each batch over all visible GPUs."""
    config._n_gpu = min(config.n_gpu, 1)
    return config


def num_processes() -> int:
    """Return the number of training processes, as set by `accelerate launch`."""
    return int(os.environ.get("WORLD_SIZE", "1"))
