"""The arguments of transformers' trainers, from the settings of a job."""

import math
import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from trl import DPOConfig, SFTConfig

from cyclealign.training.job import TrainingJob

Config = TypeVar("Config", SFTConfig, DPOConfig)


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
