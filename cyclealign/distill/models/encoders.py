"""What all students share: identity of models, layers that are kept, losses that are numbers."""

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig

from cyclealign.errors import DistillError
from cyclealign.files import hash_of_folder

LAYER_COUNTS = ("num_hidden_layers", "n_layers")  # of most encoders, of DistilBERT and its like


def identity(model: str, revision: str | None = None) -> str:
    """What labels by a model are kept under: the hash of its folder, or its Hugging Face id with the commit.

    A model that was changed on the hub since has another commit, so its labels are made anew.
    """
    if Path(model).is_dir():
        return hash_of_folder(Path(model))
    try:
        commit = getattr(
            AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False), "_commit_hash", None
        )
    except (OSError, ValueError, ImportError):
        commit = None  # the loader of the model says what is wrong with its name
    return f"{model}@{commit or revision}"


def reason(error: Exception) -> str:
    """Why transformers did not load a model, in a line; its advice to allow code of the model's own would not help."""
    if "trust_remote_code" in str(error):
        return "it asks for code of its own to be run, which is refused. Take a model that transformers itself knows."
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def keep_layers(config: Any, layers: int | None, model: str, setting: str) -> None:
    """Set how many layers, the first ones, an encoder of this configuration is loaded with; None changes nothing.

    Raises:
        DistillError: it has fewer, or does not say how many; the message names the setting.
    """
    if layers is None:
        return
    name = next((name for name in LAYER_COUNTS if name in config.to_dict()), None)
    if name is None:
        raise DistillError(f"The encoder '{model}' does not say how many layers it has. Leave out {setting}.")
    if getattr(config, name) < layers:
        raise DistillError(
            f"{setting} is {layers}; '{model}' has {getattr(config, name)} layers. Set it to that or less."
        )
    setattr(config, name, layers)
    if getattr(config, "layer_types", None):  # the kind of each layer, where they differ
        config.layer_types = config.layer_types[:layers]


def checked(loss: Tensor, step: int) -> Tensor:
    """The loss, if it is a number.

    Raises:
        DistillError: it is not, so that no student of it is kept.
    """
    if not bool(loss.isfinite()):
        raise DistillError(f"The loss became {loss.item()} at step {step}. Lower the learning rate.")
    return loss
