"""The TRL trainers: RRHF and PRO by overriding the loss of `SFTTrainer`, DPO as TRL has it.

All of them take the token ids that generation saw; nothing is tokenised again. ``python -m cyclealign.trainers FOLDER``
reads FOLDER/job.json and leaves the adapter, or the whole weights, in FOLDER.
"""

import gc
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, set_seed
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.batching import SharedSteps, part_of_mean
from cyclealign.losses import LISTWISE
from cyclealign.policy.measuring import from_folders, measured, probe_rows
from cyclealign.policy.probing import Logprobs, Probe, Rows
from cyclealign.policy.transformers import device, load_tokenizer
from cyclealign.processes import end_with_input, end_with_parent
from cyclealign.trainable import Model, is_first, is_spread, parents_model, trainable, unwrapped
from cyclealign.training import OnStep, RankedAnswers, TrainingJob

IGNORED = -100
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

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._on_step(state.global_step, state.max_steps)


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


def fit(job: TrainingJob, folder: Path, on_step: OnStep) -> float:
    """Train, save what was trained (safetensors) into ``folder`` with its probe, and return the mean loss."""
    done = trained(job, folder, on_step)
    if is_first():
        (done.probe or probe_of_folders(job, folder, done)).save(folder)
    return done.loss


@dataclass(frozen=True)
class Trained:
    """What is left of a training; ``probe`` where the model in memory could tell it. ``spread``: over processes."""

    loss: float
    rows: Rows
    probe: Probe | None
    spread: bool


def trained(job: TrainingJob, folder: Path, on_step: OnStep) -> Trained:
    """Train and save; model, optimizer and reference go out of reach on return, so that their memory can be had."""
    set_seed(job.seed % 2**32)  # before LoRA draws its first weights
    model, save = trainable(job)
    make = dpo_trainer if job.settings.objective == "dpo" else ranking_trainer
    trainer = make(job, folder, model)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ReportSteps(on_step))
    rows = probe_rows([(*each.prompt_ids, *each.answers[0]) for each in job.lists], model)
    here = not (is_spread(trainer) or job.whole)
    parent = measured(unwrapped(trainer), rows) if here else ()
    result = trainer.train()
    save(trainer, folder)
    probe = probe_of_adapter(unwrapped(trainer), rows, parent) if here and is_first() else None
    return Trained(float(result.training_loss), rows, probe, is_spread(trainer))


def probe_of_adapter(model: Model, rows: Rows, parent: Logprobs) -> Probe:
    """What tells the new adapter from its parent's, by the model in memory."""
    return Probe(rows, measured(model, rows), parent, base=measured(model, rows, adapted=False))


def probe_of_folders(job: TrainingJob, folder: Path, done: Trained) -> Probe:
    """The same by the folders that will be loaded, one after another.

    Where no process has the whole model, and for whole weights, of which only one set was in memory.
    """
    gc.collect()  # trainers hold themselves by their callbacks
    torch.cuda.empty_cache()
    where = "cpu" if done.spread else device()
    return from_folders(job.model, job.revision, job.trust_remote_code, folder, job.parent, done.rows, where)


def main(folder: Path) -> None:
    """The process under ``accelerate launch``: steps and the loss go to standard output, one JSON object a line."""
    end_with_parent()
    end_with_input()
    loss = fit(TrainingJob.load(folder / "job.json"), folder, lambda step, of: _say({"step": step, "of": of}))
    _say({"loss": loss})


def _say(report: dict[str, object]) -> None:
    if is_first():
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
