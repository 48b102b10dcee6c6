"""What training changes, and leaves in a folder: a LoRA adapter on the base model, or all weights of the parent."""

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

from cyclealign.policy.transformers_policy import load_model, load_tokenizer
from cyclealign.training.job import TrainingJob

Model: TypeAlias = PreTrainedModel | PeftModel
Save: TypeAlias = Callable[[Trainer, Path], None]


def trainable(job: TrainingJob) -> tuple[Model, Save]:
    """What the job trains, and how it is saved afterwards."""
    return whole(job) if job.whole else (adapted(job), save_adapter)


def adapted(job: TrainingJob) -> PeftModel:
    """The base model with the parent's adapter, trainable, or with a new one."""
    base = load_model(job.model, job.revision, where="cpu", trust_remote_code=job.trust_remote_code)
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


def parents_model(job: TrainingJob) -> PreTrainedModel:
    """All weights that the round began with: those of the parent, or of the base model."""
    if job.parent:
        return load_model(job.parent, None, where="cpu", trust_remote_code=job.trust_remote_code)
    return load_model(job.model, job.revision, where="cpu", trust_remote_code=job.trust_remote_code)


def whole(job: TrainingJob) -> tuple[PreTrainedModel, Save]:
    """The parent's model, all of it trainable, and how it is saved.

    In float32 whatever it is stored in: bfloat16 has 8 bits, and a step of fine-tuning is smaller than it can add.
    """
    model = parents_model(job)
    form = StoredForm.of(model, job)
    model.config.use_cache = False
    for weight in model.parameters():
        weight.data = weight.data.float()
    return model, form.save


@dataclass(frozen=True)
class StoredForm:
    """How whole weights are stored: as the parent's were loaded, with its settings, whatever a trainer made of them.

    They are loaded as they are stored, but on a machine without an accelerator in float32.
    """

    job: TrainingJob
    config: PretrainedConfig
    generation: GenerationConfig | None
    dtypes: Mapping[str, torch.dtype]

    @classmethod
    def of(cls, model: PreTrainedModel, job: TrainingJob) -> "StoredForm":
        """The form of a model that was just loaded."""
        dtypes = {name: weight.dtype for name, weight in model.named_parameters()}
        return cls(job, deepcopy(model.config), deepcopy(model.generation_config), dtypes)

    def save(self, trainer: Trainer, folder: Path) -> None:
        """Save the model as safetensors, in several files where it is large, with its settings and tokenizer."""
        collected = state_to_save(trainer)
        if not is_first():
            return
        model: PreTrainedModel = unwrapped(trainer)
        if collected is None:
            for name, weight in model.named_parameters():
                weight.data = weight.data.to(self.dtypes[name])
        else:
            collected = {name: weight.to(self.dtypes.get(name)) for name, weight in collected.items()}
        model.generation_config = self.generation
        model.save_pretrained(str(folder), state_dict=collected)
        self.config.save_pretrained(str(folder))
        load_tokenizer(self.job.model, self.job.revision, self.job.trust_remote_code).save_pretrained(str(folder))


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Save the trained adapter once, as safetensors."""
    collected = state_to_save(trainer)
    if is_first():
        unwrapped(trainer).save_pretrained(
            str(folder), selected_adapters=["default"], safe_serialization=True, state_dict=collected
        )


def state_to_save(trainer: Trainer) -> dict[str, Tensor] | None:
    """The weights where they are spread over processes: all of these help to collect them. None elsewhere."""
    found: dict[str, Tensor] | None = None
    if is_spread(trainer):
        found = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return found


def is_spread(trainer: Trainer) -> bool:
    """Whether each process holds a part of the weights only."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def unwrapped(trainer: Trainer) -> Any:
    """The model itself."""
    return trainer.accelerator.unwrap_model(trainer.model)


def is_first() -> bool:
    """Whether this process is the one that speaks and saves."""
    return int(os.environ.get("RANK", "0")) == 0
