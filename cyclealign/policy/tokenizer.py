"""Load a model's tokenizer and the length of its context, without its weights and without torch."""

from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from cyclealign.errors import PolicyError


def load_tokenizer(model: str, revision: str | None = None, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the hub, with left padding, as generation requires.

    Args:
        trust_remote_code: Python code that comes with the model may run.

    Raises:
        PolicyError: it is missing or cannot be loaded.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            model, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise PolicyError(load_failure("tokenizer", model, error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def context_length(model: str, revision: str | None = None, trust_remote_code: bool = False) -> int | None:
    """Return the model's longest context in tokens; None if its config states none.

    Raises:
        PolicyError: the config is missing or cannot be read.
    """
    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise PolicyError(load_failure("config", model, error)) from error
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) else None


def load_failure(part: str, model: str, error: Exception) -> str:
    """Return the message for a part of a model that cannot be loaded."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not Path(model).is_dir():
        return (
            f"No {part} '{model}': there is no such folder, and no such model could be downloaded. Set policy.model to "
            f"a folder with config.json, tokenizer and *.safetensors, or to a Hugging Face id. ({first_line})"
        )
    return f"The {part} in {model} cannot be loaded: {first_line}"
