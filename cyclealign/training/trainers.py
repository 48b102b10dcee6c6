"""The TRL trainers: RRHF and PRO by overriding the loss of `SFTTrainer`, DPO as TRL has it.

All of them take the token ids that generation saw; nothing is tokenised again.
"""

import math
import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.policy.transformers_policy import load_tokenizer
from cyclealign.progress import OnProgress
from cyclealign.training.collate import collate, collate_pairs, filling_up, pair_weights, pairs
from cyclealign.training.job import TrainingJob
from cyclealign.training.losses import LISTWISE
from cyclealign.training.model import Model, parents_model
from cyclealign.training.sampler import SharedSteps, part_of_mean

Config = TypeVar("Config", SFTConfig, DPOConfig)


class SharedStepTrainer(Trainer):
    """A step is ``rows_per_step`` rows of the dataset, shared by all processes; the last row only fills up."""

    rows_per_step: int

    def get_train_dataloader(self) -> DataLoader[Any]:
        # Not prepared by Accelerate, which would deal the batches out once more; the trainer moves them to the device.
        place = (self.args.process_index, self.args.world_size)
        steps = SharedSteps(len(self.train_dataset) - 1, self.rows_per_step, self.args.seed, *place)
        return DataLoader(self.train_dataset, batch_sampler=steps, collate_fn=self.data_collator)

    def mean_over_step(self, sum_of_mine: Tensor, weights_B: Tensor) -> Tensor:
        """This process's part of the mean over the step's rows; those that fill up have the weight 0."""
        count = self.accelerator.reduce((weights_B > 0).sum(), reduction="sum")
        return part_of_mean(sum_of_mine, count, self.accelerator.num_processes)


class RankingTrainer(SharedStepTrainer, SFTTrainer):
    """TRL's SFT trainer with a listwise ranking loss in place of cross-entropy."""

    objective: str = "rrhf"
    sft_weight: float | None = None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Mean over the step's lists of weight * loss. TRL's fused head gives log-probs without (B, T, V) logits."""
        inputs = dict(inputs)
        sizes, weights_B = inputs.pop("sizes").tolist(), inputs.pop("weights")
        flat_by_list = inputs.pop("pairs").split([size * size for size in sizes])
        pairs = [flat.view(size, size) for flat, size in zip(flat_by_list, sizes, strict=True)]
        outputs = model(**inputs, fused_lm_head=True)
        sums_A = outputs.log_probs.sum(-1)
        lengths_A = outputs.label_mask.sum(-1)
        loss_of_list = LISTWISE[self.objective]
        lists = zip(sums_A.split(sizes), lengths_A.split(sizes), pairs, strict=True)
        losses = [loss_of_list(sums_N, lengths_N, self.sft_weight, pairs_NN) for sums_N, lengths_N, pairs_NN in lists]
        return self.mean_over_step((weights_B * torch.stack(losses)).sum(), weights_B)


class TokenisedDPOTrainer(SharedStepTrainer, DPOTrainer):
    """TRL's DPO trainer on pairs that are token ids already, each with the doubt that verdicts left about it.

    A pair that a share s of the verdicts prefers has the loss of conservative DPO (Mitchell, 2023; label smoothing
    1 - s): -s log sigmoid(beta d) - (1 - s) log sigmoid(-beta d) = -log sigmoid(beta d) + (1 - s) beta d. The first
    term is TRL's; the second is added here by its gradient, so the loss that is reported stays TRL's.

    A pair that fills up is two equal answers: its loss is log 2 whatever the weights, and it has no gradient.
    """

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """TRL's loss, a mean over this process's pairs, as its part of the mean over the step's pairs."""
        inputs = dict(inputs)
        weights_B = inputs.pop("weights")
        mean = super().compute_loss(model, inputs)
        filled_up = (weights_B == 0).sum()
        return self.mean_over_step(mean * len(weights_B) - filled_up * math.log(2), weights_B)

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        doubts_B = inputs.pop("doubts")
        seen: list[Any] = []

        def watched(**given: Any) -> Any:
            seen.append(model(**given))
            return seen[-1]

        loss = super()._compute_loss(watched, inputs, return_outputs=False)
        chosen_B, rejected_B = seen[0].log_probs.sum(1).chunk(2, dim=0)
        doubt = self.beta * (doubts_B * (chosen_B - rejected_B)).mean()
        return loss + doubt - doubt.detach()


class ReportSteps(TrainerCallback):
    """Tells the caller how far training is."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_progress(state.global_step, state.max_steps)


def arguments(job: TrainingJob, folder: Path) -> dict[str, Any]:
    """What both kinds of trainer are told."""
    on_accelerator = torch.cuda.is_available()
    return {
        "output_dir": str(folder / "trainer"),
        # For DeepSpeed, which wants to know; the rows of a step come from `SharedSteps`.
        "per_device_train_batch_size": math.ceil(job.settings.prompts_per_step / processes()),
        "num_train_epochs": job.settings.epochs,
        "learning_rate": job.settings.learning_rate,
        "seed": job.seed % 2**32,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "gradient_checkpointing": on_accelerator,
        "use_cpu": not on_accelerator,
        "bf16": on_accelerator and torch.cuda.is_bf16_supported(),
        "max_length": None,
    }


def on_one_device(config: Config) -> Config:
    """Keep the trainer from splitting batches over all GPUs that it sees: several GPUs are several processes."""
    config._n_gpu = min(config.n_gpu, 1)
    return config


def processes() -> int:
    """How many processes share this training, as `accelerate launch` tells them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def ranking_trainer(job: TrainingJob, folder: Path, model: Model) -> SFTTrainer:
    """A trainer for RRHF or PRO."""
    tokenizer = load_tokenizer(job.model, job.revision, job.trust_remote_code)
    rows = [
        {
            "prompt_ids": list(each.prompt_ids),
            "answers": [list(ids) for ids in each.answers],
            "weight": each.weight,
            "pairs": pair_weights(each),
        }
        for each in job.lists
        if each.teaches
    ]
    trainer = RankingTrainer(
        model=model,
        args=on_one_device(SFTConfig(**arguments(job, folder), dataset_kwargs={"skip_prepare_dataset": True})),
        train_dataset=Dataset.from_list([*rows, filling_up(rows[0])]),
        data_collator=lambda lists: collate(lists, tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    trainer.rows_per_step = job.settings.prompts_per_step
    trainer.objective, trainer.sft_weight = job.settings.objective, job.settings.sft_weight
    return trainer


def dpo_trainer(job: TrainingJob, folder: Path, model: Model) -> DPOTrainer:
    """TRL's DPO; the reference is the policy as this round found it: a second model, or TRL's copy of the adapter."""
    tokenizer = load_tokenizer(job.model, job.revision, job.trust_remote_code)
    rows = pairs([each for each in job.lists if each.teaches])
    collator = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    trainer = TokenisedDPOTrainer(
        model=model,
        ref_model=parents_model(job) if job.whole else None,
        args=on_one_device(DPOConfig(**arguments(job, folder), beta=job.settings.dpo_beta)),
        train_dataset=Dataset.from_list([*rows, filling_up(rows[0])]),
        data_collator=lambda batch: collate_pairs(batch, collator),
        processing_class=tokenizer,
    )
    trainer.rows_per_step = job.settings.prompts_per_step
    return trainer
