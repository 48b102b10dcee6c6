"""Which models may be loaded: weights as safetensors only, and no code of the model's own unless asked for by name."""

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from cyclealign.errors import PolicyError


def refuse_unsafe(model: str, revision: str | None, trust_remote_code: bool = False) -> None:
    """Look at a model's files before anything loads it. Nothing of them is run.

    Raises:
        PolicyError: it names code of its own (``auto_map``) and was not asked for by name, or a folder has no
            safetensors.
    """
    if not trust_remote_code and "auto_map" in _config(model, revision):
        raise PolicyError(
            f"{model} names code of its own (auto_map in its config.json). Models that run their own code are refused. "
            "If you have read that code and trust it, give the model's name once more in policy.trust_remote_code."
        )
    folder = Path(model)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        other = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".gguf"))
        raise PolicyError(
            f"{folder} holds no *.safetensors{f', only {other[0]}' if other else ''}. Other formats can carry code and "
            "are not loaded. Convert the weights: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)."
        )


def _config(model: str, revision: str | None) -> dict[str, Any]:
    """The model's config.json as plain values; {} where there is none, which loading it will complain of."""
    try:
        found, _ = PretrainedConfig.get_config_dict(model, revision=revision)
    except (OSError, ValueError):
        return {}
    return dict(found)
