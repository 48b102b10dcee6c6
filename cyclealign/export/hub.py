"""Upload a written folder to a hub; the token comes from the environment alone."""

import os
from pathlib import Path

from cyclealign.errors import BadConfig, NotUploaded

TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 - the name of a variable
MAX_WORDS = 400  # characters of the hub's message


def require_token() -> str:
    """Return the hub's token.

    Raises:
        BadConfig: HF_TOKEN is not set, or HF_HUB_OFFLINE is.
    """
    from huggingface_hub import constants

    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise BadConfig(f"--push needs a token that may write: set {TOKEN_VARIABLE} in the environment.")
    if constants.is_offline_mode():
        raise BadConfig("--push needs the hub, and HF_HUB_OFFLINE is set. Remove it, or leave out --push.")
    return token


def push(folder: Path, repository: str, public: bool) -> str:
    """Upload the files of a folder to a repository, made if it is new; return the address of the repository.

    Args:
        repository: ``NAME`` or ``OWNER/NAME``.
        public: a new repository is open to everyone; otherwise it is private.

    Raises:
        BadConfig: there is no token, or the name is not one of a repository.
        NotUploaded: the hub refuses or does not answer; the folder stays.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    token = require_token()
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        address = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            commit_message="Upload by cyclealign export model",
        )
    except HFValidationError as error:
        raise BadConfig(f"--push: '{repository}' does not name a repository: {error}") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        words = " ".join(str(error).replace(token, "***").split())[:MAX_WORDS] or type(error).__name__
        raise NotUploaded(
            f"The hub did not take '{repository}': {words} The files are in {folder}: run again "
            "with --overwrite, or upload them with `hf upload`."
        ) from error
    return str(address)
