"""Load the trainable weights and save them: a LoRA adapter on the base model, or the full weights of the parent."""

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, Trainer

from cyclealign.policy.adapter_layers import lora_config
from cyclealign.policy.model_loading import language_model_name, load_adapter, load_model
from cyclealign.policy.tokenizer import load_config, load_tokenizer
from cyclealign.training.job import TrainingJob
from cyclealign.training.quantised import quantised_base

Model: TypeAlias = PreTrainedModel | PeftModel
Save: TypeAlias = Callable[[Trainer, Path], None]


def load_trainable(job: TrainingJob) -> tuple[Model, Save]:
    """Return the model that the job trains, and the function that saves its trained weights."""
    return full_model(job) if job.full_weights else (lora_model(job), save_adapter)


def lora_model(job: TrainingJob) -> PeftModel:
    """Load the base model with the parent's adapter, trainable, or with a new one."""
    if job.settings.quantise:
        base = quantised_base(job)
    else:  # on the CPU: the trainer moves it to its process's own device
        base = load_model(job.model, job.revision, "cpu", job.trust_remote_code)
    disable_cache(base)
    if job.parent:
        config = LoraConfig.from_pretrained(job.parent)
        config.lora_dropout, config.inference_mode = job.settings.lora_dropout, False
        return load_adapter(base, job.parent, is_trainable=True, config=config)
    model = get_peft_model(base, lora_config(base, job.settings))
    assert isinstance(model, PeftModel)
    return model


def disable_cache(model: PreTrainedModel) -> None:
    """Turn off the key-value cache, in the config of a multimodal model's language model too."""
    model.config.use_cache = model.config.get_text_config().use_cache = False


def parent_model(job: TrainingJob) -> PreTrainedModel:
    """Load the full weights at the start of the round in float32: the parent's, or the base model's."""
    if job.parent:
        return load_model(job.parent, None, "cpu", job.trust_remote_code, torch.float32)
    return load_model(job.model, job.revision, "cpu", job.trust_remote_code, torch.float32)


def full_model(job: TrainingJob) -> tuple[PreTrainedModel, Save]:
    """Load the parent's model with all weights of the language model trainable, and return it with its save function.

    The weights are trained and stored in float32 whatever the base model's precision: bfloat16 has 8 significant bits,
    and would round most steps of fine-tuning away, in a round or between rounds.
    """
    model = parent_model(job)
    stored = StorageFormat.of(model, job)
    disable_cache(model)
    freeze_all_but_language_model(model)
    return model, stored.save


def freeze_all_but_language_model(model: PreTrainedModel) -> None:
    """Exclude the vision tower of a multimodal model, which text does not pass, from training."""
    language_model = language_model_name(model)
    head = {id(weight) for weight in model.get_output_embeddings().parameters()} if language_model else set()
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(language_model) or id(weight) in head)


@dataclass(frozen=True)
class StorageFormat:
    """Configs of full weights as they were loaded, to store the trained ones alike.

    The weights are stored in float32, and config.json names the base model's precision, in which they are served: who
    loads the folder casts them. Folders of earlier versions hold weights of the served precision; they are parents too.
    """

    job: TrainingJob
    config: PretrainedConfig
    generation_config: GenerationConfig | None

    @classmethod
    def of(cls, model: PreTrainedModel, job: TrainingJob) -> "StorageFormat":
        """Return the format of a freshly loaded model; copied, since trainers change the configs in place."""
        config = deepcopy(model.config)
        set_dtype(config, stored_dtype(job))
        return cls(job, config, deepcopy(model.generation_config))

    def save(self, trainer: Trainer, folder: Path) -> None:
        """Save the model as float32 safetensors (sharded if large), with its configs and tokenizer."""
        state = gathered_state(trainer)
        if not is_main_process():
            return
        model: PreTrainedModel = unwrap(trainer)
        model.generation_config = self.generation_config
        model.save_pretrained(str(folder), state_dict=state)
        self.config.save_pretrained(str(folder))
        load_tokenizer(self.job.model, self.job.revision, self.job.trust_remote_code).save_pretrained(str(folder))


def stored_dtype(job: TrainingJob) -> torch.dtype | None:
    """Return the precision that the config of the parent, or of the base model, names; None: it names none."""
    if job.parent:
        config = load_config(job.parent, None, job.trust_remote_code)
    else:
        config = load_config(job.model, job.revision, job.trust_remote_code)
    dtype: torch.dtype | None = config.dtype or config.get_text_config().dtype
    return dtype


def set_dtype(config: PretrainedConfig, dtype: torch.dtype | None) -> None:
    """Set the precision in a config and in the configs of a multimodal model's parts."""
    config.dtype = dtype
    for part in config.sub_configs:
        if getattr(config, part, None) is not None:
            getattr(config, part).dtype = dtype


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Save the trained adapter as safetensors; only the main process writes."""
    state = gathered_state(trainer)
    if is_main_process():
        # "default" alone: TRL adds a copy of the adapter as DPO's reference.
        unwrap(trainer).save_pretrained(
            str(folder),
            selected_adapters=["default"],
            safe_serialization=True,
            state_dict=state,
            # The default compares vocabularies on the hub, and may add the whole embeddings to the adapter.
            save_embedding_layers=False,
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
