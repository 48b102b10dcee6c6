"""The TRL trainers: RRHF and PRO by overriding the loss of `SFTTrainer`, DPO as TRL has it.

All of them take the token ids that generation saw; nothing is tokenised again. ``python -m cyclealign.trainers FOLDER``
reads FOLDER/job.json and leaves the adapter in FOLDER.
"""

import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback, set_seed
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from cyclealign.losses import LISTWISE
from cyclealign.policy.transformers import load_model, load_tokenizer
from cyclealign.processes import end_with_parent
from cyclealign.training import OnStep, RankedAnswers, TrainingJob

IGNORED = -100


class RankingTrainer(SFTTrainer):
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
        """Mean over the batch's lists of weight * loss. TRL's fused head gives log-probs without (B, T, V) logits."""
        inputs = dict(inputs)
        sizes, weights_B = inputs.pop("sizes").tolist(), inputs.pop("weights")
        outputs = model(**inputs, fused_lm_head=True)
        sums_A = outputs.log_probs.sum(-1)
        lengths_A = outputs.label_mask.sum(-1)
        loss_of_list = LISTWISE[self.objective]
        lists = zip(sums_A.split(sizes), lengths_A.split(sizes), strict=True)
        losses_B = torch.stack([loss_of_list(sums_N, lengths_N, self.sft_weight) for sums_N, lengths_N in lists])
        return (weights_B * losses_B).mean()


class TokenisedDPOTrainer(DPOTrainer):
    """TRL's DPO trainer on pairs that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: object, **__: object) -> Dataset:
        return dataset


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
    }


def pairs(lists: Sequence[RankedAnswers]) -> list[dict[str, list[int]]]:
    """Every (better, worse) pair of every list, as token ids."""
    return [
        {"prompt_ids": list(each.prompt_ids), "chosen_ids": list(better), "rejected_ids": list(worse)}
        for each in lists
        for better, worse in combinations(each.answers, 2)
    ]


def adapted(job: TrainingJob) -> PeftModel:
    """The base model with the parent's adapter, trainable, or with a new one."""
    base = load_model(job.model, job.revision, where="cpu")
    base.config.use_cache = False
    if job.parent:
        return PeftModel.from_pretrained(base, job.parent, is_trainable=True)
    lora = LoraConfig(
        r=job.settings.lora_rank,
        lora_alpha=job.settings.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, lora)
    assert isinstance(model, PeftModel)
    return model


def arguments(job: TrainingJob, folder: Path) -> dict[str, Any]:
    """What both kinds of trainer are told."""
    on_accelerator = torch.cuda.is_available()
    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": job.settings.prompts_per_step,
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


def ranking_trainer(job: TrainingJob, folder: Path, model: PreTrainedModel | PeftModel) -> SFTTrainer:
    """A trainer for RRHF or PRO."""
    tokenizer = load_tokenizer(job.model, job.revision)
    rows = [
        {"prompt_ids": list(each.prompt_ids), "answers": [list(ids) for ids in each.answers], "weight": each.weight}
        for each in job.lists
        if each.weight > 0
    ]
    trainer = RankingTrainer(
        model=model,
        args=SFTConfig(**arguments(job, folder), dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_list(rows),
        data_collator=lambda lists: collate(lists, tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    trainer.objective, trainer.sft_weight = job.settings.objective, job.settings.sft_weight
    return trainer


def dpo_trainer(job: TrainingJob, folder: Path, model: PreTrainedModel | PeftModel) -> DPOTrainer:
    """TRL's own DPO; the reference is the policy as this round found it (TRL copies the loaded adapter)."""
    return TokenisedDPOTrainer(
        model=model,
        args=DPOConfig(**arguments(job, folder), beta=job.settings.dpo_beta),
        train_dataset=Dataset.from_list(pairs([each for each in job.lists if each.weight > 0])),
        processing_class=load_tokenizer(job.model, job.revision),
    )


def fit(job: TrainingJob, folder: Path, on_step: OnStep) -> float:
    """Train, save the adapter (safetensors) into ``folder`` and return the mean loss."""
    set_seed(job.seed % 2**32)  # before LoRA draws its first weights
    model = adapted(job)
    make = dpo_trainer if job.settings.objective == "dpo" else ranking_trainer
    trainer = make(job, folder, model)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ReportSteps(on_step))
    result = trainer.train()
    if trainer.is_world_process_zero():
        unwrapped = trainer.accelerator.unwrap_model(trainer.model)
        unwrapped.save_pretrained(str(folder), selected_adapters=["default"], safe_serialization=True)
    return float(result.training_loss)


def main(folder: Path) -> None:
    """The process under ``accelerate launch``: steps and the loss go to standard output, one JSON object a line."""
    end_with_parent()
    loss = fit(TrainingJob.load(folder / "job.json"), folder, lambda step, of: _say({"step": step, "of": of}))
    _say({"loss": loss})


def _say(report: dict[str, object]) -> None:
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
