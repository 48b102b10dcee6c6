"""Explain why a model cannot be loaded: the causes of a folder and of the Hugging Face hub, each with its remedy."""

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

HUB = "https://huggingface.co"
EXPECTED = "Set policy.model to a folder with config.json, tokenizer and *.safetensors, or to a Hugging Face id."


def load_failure(part: str, model: str, error: Exception) -> str:
    """Return the message for a model, tokenizer or config ("part") that cannot be loaded."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if Path(model).is_dir():
        return f"The {part} in {model} cannot be loaded: {lines[0]}"
    return next(
        (f"{message} ({lines[0]})" for cause in _causes(error) if (message := _hub_failure(model, cause))),
        f"No {part} '{model}': there is no such folder, and no such model could be downloaded. {EXPECTED} ({lines[0]})",
    )


def _hub_failure(model: str, cause: BaseException) -> str | None:
    """Return the message for one of the hub's errors; None for any other error. A gated model is a missing one too."""
    if isinstance(cause, GatedRepoError):
        return (
            f"'{model}' is gated: its authors ask you to accept terms. Accept them at {HUB}/{model}, then log in with "
            "`hf auth login` or set HF_TOKEN to a token that may read it, and run again."
        )
    if isinstance(cause, RevisionNotFoundError):
        return f"'{model}' has no such revision. Set policy.revision to a commit, tag or branch of {HUB}/{model}."
    if isinstance(cause, RepositoryNotFoundError):
        return (
            f"No model '{model}': there is no such folder, and the hub has no such model that you may read. {EXPECTED} "
            "For a private model, log in with `hf auth login` or set HF_TOKEN."
        )
    if isinstance(cause, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return (
            f"No model '{model}': there is no such folder, it is not in the hub's cache on this machine, and the hub "
            f"could not be asked (no network, or HF_HUB_OFFLINE is set). Connect, or download it elsewhere. {EXPECTED}"
        )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that led to it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
