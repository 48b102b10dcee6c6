"""The one user of a tokenizer's chat template, so that generation, scoring and training see the same token ids."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclealign.errors import PolicyError
from cyclealign.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation up to the place where the assistant's answer starts.

    Raises:
        PolicyError: the tokenizer has no chat template, or the template refuses the conversation.
    """
    if not tokenizer.chat_template:
        raise PolicyError(
            f"The tokenizer of {tokenizer.name_or_path} has no chat template. Use an instruction-tuned model, or add "
            "a chat_template.jinja to its folder."
        )
    try:
        encoded = tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, tokenize=True, return_dict=True
        )
    except Exception as error:  # a chat template is foreign code: it may raise anything
        raise PolicyError(f"The chat template of {tokenizer.name_or_path} refuses a conversation: {error}") from error
    return list(encoded["input_ids"])


def answer_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Token ids of an answer that was not generated here, with the end token that generation would have given."""
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [*ids, tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else ids
