"""Load the trainable weights and save them: a LoRA adapter on the base model, or the full weights of the parent."""

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, Trainer

from cyclealign.policy.tokenizer import load_tokenizer
from cyclealign.policy.transformers_policy import load_model
from cyclealign.training.job import TrainingJob

Model: TypeAlias = PreTrainedModel | PeftModel
Save: TypeAlias = Callable[[Trainer, Path], None]


def load_trainable(job: TrainingJob) -> tuple[Model, Save]:
    """Return the model that the job trains, and the function that saves its trained weights."""
    return full_model(job) if job.full_weights else (lora_model(job), save_adapter)


def lora_model(job: TrainingJob) -> PeftModel:
    """Load the base model with the parent's adapter, trainable, or with a new one."""
    # On the CPU: the trainer moves it to its process's own device.
    base = load_model(job.model, job.revision, "cpu", job.trust_remote_code)
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


def parent_model(job: TrainingJob) -> PreTrainedModel:
    """Load the full weights at the start of the round: the parent's, or the base model's."""
    if job.parent:
        return load_model(job.parent, None, "cpu", job.trust_remote_code)
    return load_model(job.model, job.revision, "cpu", job.trust_remote_code)


def full_model(job: TrainingJob) -> tuple[PreTrainedModel, Save]:
    """Load the parent's model with all weights trainable, and return it with its save function.

    The weights are trained in float32 whatever their stored precision: bfloat16 has 8 significant bits, and would
    round most steps of fine-tuning away.
    """
    model = parent_model(job)
    stored = StorageFormat.of(model, job)
    model.config.use_cache = False
    for weight in model.parameters():
        weight.data = weight.data.float()
    return model, stored.save


@dataclass(frozen=True)
class StorageFormat:
    """Precision and configs of full weights as they were loaded, to store the trained ones alike.

    Weights are loaded in their stored precision, or in float32 on a machine without an accelerator.
    """

    job: TrainingJob
    config: PretrainedConfig
    generation_config: GenerationConfig | None
    dtypes: Mapping[str, torch.dtype]

    @classmethod
    def of(cls, model: PreTrainedModel, job: TrainingJob) -> "StorageFormat":
        """Return the format of a freshly loaded model; copied, since trainers change the configs in place."""
        dtypes = {name: weight.dtype for name, weight in model.named_parameters()}
        return cls(job, deepcopy(model.config), deepcopy(model.generation_config), dtypes)

    def save(self, trainer: Trainer, folder: Path) -> None:
        """Save the model as safetensors (sharded if large), with its configs and tokenizer."""
        state = gathered_state(trainer)
        if not is_main_process():
            return
        model: PreTrainedModel = unwrap(trainer)
        if state is None:
            for name, weight in model.named_parameters():
                weight.data = weight.data.to(self.dtypes[name])
        else:
            state = {name: weight.to(self.dtypes.get(name)) for name, weight in state.items()}
        model.generation_config = self.generation_config
        model.save_pretrained(str(folder), state_dict=state)
        self.config.save_pretrained(str(folder))
        load_tokenizer(self.job.model, self.job.revision, self.job.trust_remote_code).save_pretrained(str(folder))


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Save the trained adapter as safetensors; only the main process writes."""
    state = gathered_state(trainer)
    if is_main_process():
        # "default" alone: TRL adds a copy of the adapter as DPO's reference.
        unwrap(trainer).save_pretrained(
            str(folder), selected_adapters=["default"], safe_serialization=True, state_dict=state
        )


def gathered_state(trainer: Trainer) -> dict[str, Tensor] | None:
    """Return the weights gathered from all processes if they are sharded, otherwise None.

    Gathering is a collective operation: every process must call this.
    """
    state: dict[str, Tensor] | None = None
    if is_sharded(trainer):
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return state


def is_sharded(trainer: Trainer) -> bool:
    """Return whether each process holds only a part of the weights (FSDP, DeepSpeed)."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def unwrap(trainer: Trainer) -> Any:
    """Return the model without the wrappers of distributed training."""
    return trainer.accelerator.unwrap_model(trainer.model)


def is_main_process() -> bool:
    """Return whether this is the process that reports progress and writes files."""
    return int(os.environ.get("RANK", "0")) == 0
