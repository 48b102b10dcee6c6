"""Identity, layers and load errors of pretrained encoders; a check on their losses."""

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig

from cyclealign.errors import DistillError
from cyclealign.files import hash_of_folder

LAYER_COUNTS = ("num_hidden_layers", "n_layers")  # the second name is that of DistilBERT and its relatives


def model_identity(model: str, revision: str | None = None) -> str:
    """Return the key of a model's labels: the hash of its folder, or its Hugging Face id with the commit.

    A model that changed on the hub has another commit, so its labels are computed anew.
    """
    if Path(model).is_dir():
        return hash_of_folder(Path(model))
    try:
        commit = getattr(
            AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False), "_commit_hash", None
        )
    except (OSError, ValueError, ImportError):
        commit = None  # loading the model reports the reason later
    return f"{model}@{commit or revision}"


def load_failure(error: Exception) -> str:
    """Return in one line why transformers could not load a model.

    Its advice to pass trust_remote_code is replaced: code of a model's repository is never run.
    """
    if "trust_remote_code" in str(error):
        return "it requires its own code to be run, which is refused. Use a model that transformers supports."
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def limit_layers(config: Any, layers: int | None, model: str, setting: str) -> None:
    """Make an encoder of this configuration load with its first ``layers`` layers only; None changes nothing.

    Raises:
        DistillError: the encoder has fewer layers, or its configuration does not count them; the message names the
            setting.
    """
    if layers is None:
        return
    name = next((name for name in LAYER_COUNTS if name in config.to_dict()), None)
    if name is None:
        raise DistillError(f"The configuration of '{model}' does not give its number of layers. Leave {setting} empty.")
    if getattr(config, name) < layers:
        raise DistillError(f"{setting} is {layers}, but '{model}' has {getattr(config, name)} layers. Lower it.")
    setattr(config, name, layers)
    if getattr(config, "layer_types", None):  # one entry per layer, for encoders that mix kinds of attention
        config.layer_types = config.layer_types[:layers]


def require_finite(loss: Tensor, step: int) -> Tensor:
    """Return the loss if it is finite.

    Raises:
        DistillError: it is NaN or infinite; a student trained on it must not be saved.
    """
    if not bool(loss.isfinite()):
        raise DistillError(f"The loss became {loss.item()} at step {step}. Lower the learning rate.")
    return loss
