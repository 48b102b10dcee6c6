"""Check the files that training needs."""

from pathlib import Path

import yaml

from cyclealign.config import TrainingSettings
from cyclealign.errors import BadConfig


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
