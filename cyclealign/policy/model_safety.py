"""Refuse unsafe models: weights in formats other than safetensors, and remote code without permission."""

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from cyclealign.errors import PolicyError


def refuse_unsafe(model: str, revision: str | None, trust_remote_code: bool = False) -> None:
    """Check a model's files before they are loaded; runs none of their code.

    Raises:
        PolicyError: config.json refers to remote code (``auto_map``) without ``trust_remote_code``, or a folder has no
            safetensors.
    """
    if not trust_remote_code and "auto_map" in read_config(model, revision):
        raise PolicyError(
            f"{model} comes with code of its own (auto_map in its config.json), which is not run without permission. "
            "If you have read that code and trust it, repeat the model's name in policy.trust_remote_code."
        )
    folder = Path(model)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        other = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".gguf"))
        raise PolicyError(
            f"{folder} holds no *.safetensors{f', only {other[0]}' if other else ''}. Other formats can contain code "
            "and are not loaded. Convert the weights: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)."
        )


def read_config(model: str, revision: str | None) -> dict[str, Any]:
    """Return the values of the model's config.json; {} if there is none, which loading the model will report."""
    try:
        config, _ = PretrainedConfig.get_config_dict(model, revision=revision)
    except (OSError, ValueError):
        return {}
    return dict(config)
