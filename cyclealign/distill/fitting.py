"""What the training of every student shares: the device, what its models are known by, and a loss that is a number."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig

from cyclealign.errors import DistillError
from cyclealign.files import hash_of_folder


def device() -> str:
    """The accelerator of this machine, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def identity(model: str, revision: str | None = None) -> str:
    """What labels by a model are kept under: the hash of its folder, or its Hugging Face id with the commit.

    A model that was changed on the hub since has another commit, so its labels are made anew.
    """
    if Path(model).is_dir():
        return hash_of_folder(Path(model))
    try:
        commit = getattr(AutoConfig.from_pretrained(model, revision=revision), "_commit_hash", None)
    except (OSError, ValueError, ImportError):
        commit = None  # the loader of the model says what is wrong with its name
    return f"{model}@{commit or revision}"


def checked(loss: Tensor, step: int) -> Tensor:
    """The loss, if it is a number.

    Raises:
        DistillError: it is not, so that no student of it is kept.
    """
    if not bool(loss.isfinite()):
        raise DistillError(f"The loss became {loss.item()} at step {step}. Lower the learning rate.")
    return loss
