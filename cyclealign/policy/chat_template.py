"""Apply a tokenizer's chat template. The only place that does: generation, scoring and training get the same ids."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclealign.errors import PolicyError
from cyclealign.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Return the token ids of a conversation, up to the start of the assistant's answer.

    Raises:
        PolicyError: the tokenizer has no chat template, or the template rejects the conversation.
    """
    if not tokenizer.chat_template:
        raise PolicyError(
            f"The tokenizer of {tokenizer.name_or_path} has no chat template. Use an instruction-tuned model, or add a "
            "chat_template.jinja to its folder."
        )
    try:
        encoded = tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, tokenize=True, return_dict=True
        )
    except Exception as error:  # a template is code of the model's authors: it may raise anything
        raise PolicyError(f"The chat template of {tokenizer.name_or_path} rejects a conversation: {error}") from error
    return list(encoded["input_ids"])


def answer_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Return the token ids of a given answer, followed by the end token that generation would add."""
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [*ids, tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else ids
