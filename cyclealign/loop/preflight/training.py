"""Check the files, packages and GPU that training needs."""

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import yaml

from cyclealign.config import TrainingSettings
from cyclealign.config.training import BitsAndBytes
from cyclealign.errors import BadConfig
from cyclealign.policy.device import device


def check_training(settings: TrainingSettings) -> str:
    """Check all that training needs; see the two functions below for the errors."""
    check_bitsandbytes(settings)
    return check_accelerate_config(settings)


def check_bitsandbytes(settings: TrainingSettings) -> None:
    """Check the package and the GPU that quantised weights and optimizers need.

    Raises:
        BadConfig: one of them is missing; training would fail after the round was paid for.
    """
    if settings.quantise:
        setting = f'training.quantise = "{settings.quantise}"'
    elif settings.optim in get_args(BitsAndBytes):
        setting = f'training.optim = "{settings.optim}"'
    else:
        return
    if device() != "cuda":
        raise BadConfig(f"{setting} needs a GPU, and there is none here. Remove it, or run on a machine with one.")
    if find_spec("bitsandbytes") is None:
        raise BadConfig(
            f"{setting} needs the package bitsandbytes. Install it with `pip install -e '.[qlora]'` in the "
            "environment of cyclealign, or remove the setting."
        )


def check_accelerate_config(settings: TrainingSettings) -> str:
    """Read the file of Accelerate, if one is set.

    Raises:
        BadConfig: it is missing, or not a mapping in YAML or JSON; training would fail after the round was paid for.
    """
    if settings.accelerate_config is None or settings.process == "same":
        return "one process"
    path = Path(settings.accelerate_config)
    advice = "Write it with `accelerate config --config_file FILE`, or remove training.accelerate_config."
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BadConfig(f"training.accelerate_config: {path} cannot be read ({reason}). {advice}") from error
    if not isinstance(values, dict):
        raise BadConfig(f"training.accelerate_config: {path} is not a configuration of Accelerate. {advice}")
    return f"{path}: {values.get('num_processes', 1)} processes"
