"""The arguments of transformers' trainers, from the settings of a job."""

import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from transformers.integrations import get_available_reporting_integrations
from trl import DPOConfig, SFTConfig

from cyclealign.config import TrainingSettings
from cyclealign.config.training import BitsAndBytes
from cyclealign.errors import TrainingFailed
from cyclealign.training.job import TrainingJob

Config = TypeVar("Config", SFTConfig, DPOConfig)


def common_arguments(job: TrainingJob, folder: Path) -> dict[str, Any]:
    """Return the training arguments of both trainers.

    Raises:
        TrainingFailed: a setting needs a package or a GPU that is not there.
    """
    settings, on_gpu = job.settings, torch.cuda.is_available()
    check_packages(settings)
    check_precision(settings)
    checkpointing = on_gpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing
    bf16 = on_gpu and torch.cuda.is_bf16_supported() and not settings.fp16 if settings.bf16 is None else settings.bf16
    return {
        "output_dir": str(folder / "trainer"),
        # For DeepSpeed, which needs a batch size; the rows of a step come from `StepBatchSampler`.
        "per_device_train_batch_size": math.ceil(settings.prompts_per_step / num_processes()),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": settings.optim,
        "seed": job.seed % 2**32,  # NumPy's generator takes 32 bits
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": list(settings.report_to) or "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "gradient_checkpointing": checkpointing,
        "use_cpu": not on_gpu,
        "bf16": bf16,
        "fp16": settings.fp16,
        "max_length": None,
    }


def check_packages(settings: TrainingSettings) -> None:
    """Raise TrainingFailed if an optimizer or a tracker needs a package that is not installed."""
    missing = [
        f'training.report_to = ["{name}"] needs the package {name}'
        for name in settings.report_to
        if name not in get_available_reporting_integrations()
    ]
    if settings.optim in get_args(BitsAndBytes) and find_spec("bitsandbytes") is None:
        missing.append(f'training.optim = "{settings.optim}" needs the package bitsandbytes')
    if settings.quantise and find_spec("bitsandbytes") is None:
        missing.append(f'training.quantise = "{settings.quantise}" needs the package bitsandbytes')
    if missing:
        raise TrainingFailed(
            f"{'; '.join(missing)}. Install it in the environment of cyclealign, or change the setting. The judged "
            "lists are kept: the next start begins at training."
        )


def check_precision(settings: TrainingSettings) -> None:
    """Raise TrainingFailed for float16 without a GPU, where its scaled loss has no support."""
    if settings.fp16 and not torch.cuda.is_available():
        raise TrainingFailed(
            "training.fp16 needs a GPU, and there is none. Remove the setting. The judged lists are kept: the next "
            "start begins at training."
        )


def on_one_device(config: Config) -> Config:
    """Restrict the trainer to one GPU per process; otherwise it splits each batch over all visible GPUs."""
    config._n_gpu = min(config.n_gpu, 1)
    return config


def num_processes() -> int:
    """Return the number of training processes, as set by `accelerate launch`."""
    return int(os.environ.get("WORLD_SIZE", "1"))
