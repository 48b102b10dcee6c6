"""Explain why a model cannot be loaded: the causes of a folder and of the Hugging Face hub, each with its remedy."""

import os
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

HUB = constants.ENDPOINT  # HF_ENDPOINT, for a mirror of the hub
UNAUTHORIZED = 401
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
            f"`hf auth login` or set HF_TOKEN to a token that may read it, and run again. {_token_state()}"
        )
    if isinstance(cause, RevisionNotFoundError):
        return f"'{model}' has no such revision. Set policy.revision to a commit, tag or branch of {HUB}/{model}."
    if isinstance(cause, RepositoryNotFoundError):
        return (
            f"No model '{model}': there is no such folder, and the hub has no such model that you may read. {EXPECTED} "
            f"For a private model, log in with `hf auth login` or set HF_TOKEN. {_token_state()}"
        )
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code == UNAUTHORIZED:
        return (
            f"The hub does not accept the token that was sent for '{model}': {_token_source()}. Make a new one at "
            f"{HUB}/settings/tokens, or remove it if the model is public."
        )
    if isinstance(cause, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return (
            f"No model '{model}': there is no such folder, it is not in the hub's cache on this machine, and the hub "
            "could not be asked (no network, HF_HUB_OFFLINE is set, or the hub failed). Connect, or download it "
            f"elsewhere. {EXPECTED}"
        )
    return None


def _token_source() -> str:
    """Return where this process has its token for the hub from; "" without a token."""
    if os.environ.get("HF_TOKEN"):
        return "that of HF_TOKEN"
    return "that of `hf auth login` on this machine" if get_token() else ""


def _token_state() -> str:
    """Return whether the hub was sent a token: a variable set in another shell does not reach this process."""
    if source := _token_source():
        return (
            f"A token reached this process, {source}, and the hub refuses it for this model: accept the terms with the "
            "token's own account, and let a fine-grained token read gated repositories."
        )
    return (
        "No token reached this process: HF_TOKEN is not set in it, and nobody has logged in as this user. A run of a "
        "worker has the environment in which `cyclealign up` was started."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that led to it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
