"""Read a sample of either back end: cut it at its end token, and separate its thought from its answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from transformers import GenerationConfig

from cyclealign.config import PolicySettings
from cyclealign.policy import Answer
from cyclealign.policy.thoughts import PROMPT_TAIL_TOKENS, opened_by_prompt, thought_length, tokens_of_prefix
from cyclealign.policy.tokenizer import configured_end_tokens, load_config
from cyclealign.records import Thought

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class SampleReader:
    """Makes answers from sampled token ids; the same for every back end.

    Attributes:
        end_tokens: ids that end an answer: the model's end tokens, its tokenizer's, and those of `policy.end_tokens`.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", settings: PolicySettings, model: str) -> None:
        self._tokenizer, self._settings = tokenizer, settings
        listed = model_end_tokens(model, settings.revision, settings.remote_code_trusted)
        own = {tokenizer.eos_token_id} - {None}
        self.end_tokens = frozenset(listed | own | configured_end_tokens(tokenizer, settings.end_tokens))

    def answer(
        self,
        prompt_ids: Sequence[int],
        ids: Sequence[int],
        logprobs: Sequence[float],
        adapter_hash: str | None,
        stopped: bool = False,
    ) -> Answer:
        """Return the answer of a sample.

        Args:
            ids, logprobs: the sampled tokens and their log-probs in nats; what follows the first end token is dropped.
            stopped: the engine ended the sample, even if by a token that is not one of ``end_tokens``.
        """
        end = next((position for position, token in enumerate(ids) if token in self.end_tokens), None)
        kept = list(ids if end is None else ids[: end + 1])
        values = [float(value) for value in logprobs[: len(kept)]]
        words = kept if end is None else kept[:-1]  # an end token need not be special, and would then be shown
        thought = self._thought(prompt_ids, kept, words, values) if self._settings.thinking == "strip" else None
        text = str(self._tokenizer.decode(words[thought.tokens if thought else 0 :], skip_special_tokens=True)).strip()
        finish_reason: Literal["stop", "length"] = "length" if end is None and not stopped else "stop"
        return Answer(text, tuple(kept), sum(values), finish_reason, adapter_hash, thought)

    def _thought(
        self, prompt_ids: Sequence[int], kept: Sequence[int], words: Sequence[int], logprobs: Sequence[float]
    ) -> Thought | None:
        """Return the sample's thought; one that was never ended takes all of its tokens, and leaves an empty answer."""
        raw, opened = self._decode(words), opened_by_prompt(self._decode(prompt_ids[-PROMPT_TAIL_TOKENS:]))
        length = thought_length(raw, opened, self._tokenizer.get_added_vocab())
        if length is None:
            return None
        tokens = len(kept) if length == len(raw) else tokens_of_prefix(words, self._decode, raw[:length])
        return Thought(raw[:length].strip(), tokens, sum(logprobs[:tokens]))

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def model_end_tokens(model: str, revision: str | None, trust_remote_code: bool = False) -> set[int]:
    """Return the model's end tokens, from its generation config or else its config."""
    try:
        tokens: Any = GenerationConfig.from_pretrained(model, revision=revision).eos_token_id
    except OSError:
        config = load_config(model, revision, trust_remote_code)
        tokens = getattr(config, "eos_token_id", None) or getattr(config.get_text_config(), "eos_token_id", None)
    return {token for token in (tokens if isinstance(tokens, list) else [tokens]) if isinstance(token, int)}
