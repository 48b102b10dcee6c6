"""Load a model's tokenizer, its config and the length of its context, without its weights and without torch."""

from collections.abc import Sequence

from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from cyclealign.errors import BadConfig, PolicyError
from cyclealign.policy.load_failures import load_failure
from cyclealign.policy.model_safety import read_config

UNBOUNDED_CONTEXT = 1 << 20  # of models that state no maximum, such as state-space models; in tokens


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
    _ensure_pad_token(tokenizer, vocabulary_size(model, revision))
    tokenizer.padding_side = "left"
    return tokenizer


def vocabulary_size(model: str, revision: str | None) -> int | None:
    """Return the number of rows of the model's embedding, by its config.json; None: it does not say."""
    config = read_config(model, revision)
    size = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    return None if size is None else int(size)


def _ensure_pad_token(tokenizer: PreTrainedTokenizerBase, vocabulary: int | None) -> None:
    """Give the tokenizer a pad token that the model has an embedding for; it is masked, so that any will do."""
    pad = tokenizer.pad_token_id
    if pad is None or (vocabulary is not None and pad >= vocabulary):
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)


def load_config(model: str, revision: str | None, trust_remote_code: bool = False) -> PretrainedConfig:
    """Load a model's config.

    Raises:
        PolicyError: it is missing or cannot be loaded.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            model, revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise PolicyError(load_failure("model", model, error)) from error
    return config


def context_length(model: str, revision: str | None = None, trust_remote_code: bool = False) -> int | None:
    """Return the model's longest context in tokens; None if its config states none.

    Raises:
        PolicyError: the config is missing or cannot be read.
    """
    return context_of(load_config(model, revision, trust_remote_code))


def context_of(config: PretrainedConfig) -> int | None:
    """Return the longest context that a config states, in tokens; for multimodal models that of the language model."""
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) else None


def is_multimodal(config: PretrainedConfig) -> bool:
    """Return whether the config describes a language model beside other parts, such as a vision tower."""
    return config.get_text_config() is not config


def configured_end_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> set[int]:
    """Return the ids of `policy.end_tokens`.

    Raises:
        BadConfig: a text is not one token of this tokenizer.
    """
    ids: set[int] = set()
    for text in texts:
        encoded = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(encoded) != 1:
            raise BadConfig(
                f"policy.end_tokens: {text!r} is {len(encoded)} tokens of {tokenizer.name_or_path}, not one. An answer "
                "can only end with a single token."
            )
        ids.update(encoded)
    return ids
