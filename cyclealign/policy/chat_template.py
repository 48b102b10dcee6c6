"""Apply a model's chat template. The only place that does: generation, scoring and training get the same ids.

Templates differ in the conversations that they accept: many have no system role, many demand turns that alternate. A
conversation is adapted to its template by `versions`, as little as possible, and each adaptation is logged once.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cyclealign.config import PolicySettings
from cyclealign.errors import BadConfig, PolicyError
from cyclealign.records import Message, Prompt, turn_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

NO_SYSTEM_ROLE = "has no system role: the system text is put before the first user turn"
NO_REPEATED_ROLES = "takes only alternating turns: consecutive turns of one role are joined by an empty line"
NO_TOOLS = "has no form for tool calls: a call is shown as name(arguments), a tool's result as a turn of the user"
_logged: set[str] = set()

Conversation = list[dict[str, Any]]


class ChatTemplate:
    """A tokenizer's chat template, or the one of `policy.chat_template`, with the settings of `policy`."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", settings: PolicySettings | None = None) -> None:
        self._tokenizer = tokenizer
        self._settings = settings or PolicySettings()

    @cached_property
    def source(self) -> str:
        """Return the template's Jinja text.

        Raises:
            BadConfig: the file in policy.chat_template cannot be read, or policy.chat_template_kwargs has a name that
                the template does not use.
            PolicyError: the tokenizer has no chat template, and none is configured.
        """
        text = self._file() if self._settings.chat_template else self._own()
        for name in self._settings.chat_template_kwargs:
            if not re.search(rf"\b{re.escape(name)}\b", text):
                raise BadConfig(
                    f"policy.chat_template_kwargs: '{name}' is not used by the chat template of {self._name} and would "
                    "change nothing. Remove it, or correct its name."
                )
        return text

    def _file(self) -> str:
        path = Path(self._settings.chat_template or "")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"policy.chat_template: {path} cannot be read as text: {error}") from error

    def _own(self) -> str:
        try:
            return str(self._tokenizer.get_chat_template())
        except ValueError as error:
            if self._tokenizer.chat_template:  # several templates, none of them the default
                raise PolicyError(f"The chat template of {self._name} cannot be chosen: {error}") from error
            raise PolicyError(
                f"The tokenizer of {self._name} has no chat template. Use an instruction-tuned model, or set "
                "policy.chat_template to a Jinja file with the format of its conversations."
            ) from error

    @property
    def _name(self) -> str:
        return str(self._tokenizer.name_or_path)

    def ids(self, prompt: Prompt) -> list[int]:
        """Return the prompt's token ids up to the start of the answer: those stored with its round, or a rendering.

        Raises:
            BadConfig, PolicyError: see `source` and `render`.
        """
        if prompt.token_ids is not None:
            return list(prompt.token_ids)
        return self.render_ids(prompt.messages)

    def render_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a conversation, up to the start of the assistant's answer."""
        return self.text_ids(self.render(messages))  # the template writes BOS itself

    def text_ids(self, text: str) -> list[int]:
        """Return the token ids of a text; none are added."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def render(self, messages: Sequence[Message]) -> str:
        """Return the conversation as text, in the first of its `versions` that the template accepts and shows.

        Raises:
            PolicyError: the template rejects every version.
        """
        source, conversation = self.source, with_system_prompt(messages, self._settings.system_prompt)
        rejection: Exception | None = None
        for version, adaptation in versions(conversation):
            try:
                text = self._apply(source, version)
            except Exception as error:  # a template is code of the model's authors: it may raise anything
                rejection = rejection or error
                continue
            if shows_system(version, text) and shows_results(version, text) and self._shows_calls(version, text):
                self._log_once(adaptation)
                return text
        if rejection is None:
            raise PolicyError(
                f"The chat template of {self._name} leaves out the system text or tool calls. Set policy.chat_template."
            )
        raise PolicyError(
            f"The chat template of {self._name} rejects a conversation: {rejection}. It begins: "
            f"'{conversation[-1]['content'][:60]}'"
        ) from rejection

    def _shows_calls(self, conversation: Conversation, text: str) -> bool:
        """Return whether tool calls change the text: many templates drop them without an error."""
        plain = [{key: turn[key] for key in ("role", "content")} for turn in conversation]
        if all("tool_calls" not in turn for turn in conversation):
            return True
        try:
            return self._apply(self.source, plain) != text
        except Exception:  # as in `render`: a template may demand the call before a result
            return True

    def _apply(self, source: str, conversation: Conversation) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                conversation,
                chat_template=source,
                add_generation_prompt=True,
                tokenize=False,
                **self._settings.chat_template_kwargs,
            )
        )

    def _log_once(self, adaptation: str) -> None:
        message = f"The chat template of {self._name} {adaptation}."
        if adaptation and message not in _logged:
            _logged.add(message)
            logger.warning(message)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[int]:
    """Return the token ids of a conversation in the tokenizer's own template, up to the start of the answer."""
    return ChatTemplate(tokenizer).render_ids(messages)


def answer_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Return the token ids of a given answer, followed by the end token that generation would add."""
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [*ids, tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else ids


def with_system_prompt(messages: Sequence[Message], system_prompt: str | None) -> Conversation:
    """Return the conversation with the system prompt first, unless it has a system message of its own."""
    conversation: Conversation = [dict(message) for message in messages]
    if system_prompt is None or conversation[0]["role"] == "system":
        return conversation
    return [{"role": "system", "content": system_prompt}, *conversation]


def versions(conversation: Conversation) -> Iterator[tuple[Conversation, str]]:
    """Yield the conversation and adapted versions of it, the least adapted first, with a note on the adaptation."""
    yield from _with_adapted_roles(conversation)
    if any(turn["role"] == "tool" or "tool_calls" in turn for turn in conversation):
        for version, note in _with_adapted_roles(with_written_tools(conversation)):
            yield version, f"{NO_TOOLS}. It {note}" if note else NO_TOOLS


def _with_adapted_roles(conversation: Conversation) -> Iterator[tuple[Conversation, str]]:
    yield conversation, ""
    joined = with_joined_turns(conversation)
    if joined != conversation:
        yield joined, NO_REPEATED_ROLES
    if conversation[0]["role"] == "system" and any(turn["role"] == "user" for turn in conversation):
        folded = with_folded_system(conversation)
        yield folded, NO_SYSTEM_ROLE
        if with_joined_turns(folded) != folded:
            yield with_joined_turns(folded), f"{NO_SYSTEM_ROLE}. It {NO_REPEATED_ROLES}"


def with_joined_turns(conversation: Conversation) -> Conversation:
    """Return the conversation with consecutive turns of one role joined by an empty line, except tool calls."""
    joined: Conversation = []
    for turn in conversation:
        before = joined[-1] if joined else {}
        if before.keys() == turn.keys() == {"role", "content"} and before["role"] == turn["role"] != "tool":
            joined[-1] = {**turn, "content": f"{before['content']}\n\n{turn['content']}"}
        else:
            joined.append(turn)
    return joined


def with_folded_system(conversation: Conversation) -> Conversation:
    """Return the conversation with its first, system message put before the text of the first user turn."""
    system, *turns = conversation
    first = next(number for number, turn in enumerate(turns) if turn["role"] == "user")
    folded = {"role": "user", "content": f"{system['content']}\n\n{turns[first]['content']}"}
    return [*turns[:first], folded, *turns[first + 1 :]]


def with_written_tools(conversation: Conversation) -> Conversation:
    """Return the conversation with tool calls and their results as text, in turns of the assistant and the user."""

    def written(turn: dict[str, Any]) -> dict[str, Any]:
        if turn["role"] == "tool":
            return {"role": "user", "content": f"Result of the tool:\n{turn['content']}"}
        return {"role": turn["role"], "content": turn_text(cast(Message, turn))}

    return [written(turn) for turn in conversation]


def shows_results(conversation: Sequence[Mapping[str, Any]], text: str) -> bool:
    """Return whether the rendered text has the results of tools, as text or as JSON."""
    results = [str(turn["content"]).strip() for turn in conversation if turn["role"] == "tool"]
    return all(result in text or json.dumps(result, ensure_ascii=False)[1:-1] in text for result in results)


def shows_system(conversation: Sequence[Mapping[str, Any]], text: str) -> bool:
    """Return whether the rendered text has the system message, which some templates drop without an error."""
    return conversation[0]["role"] != "system" or str(conversation[0]["content"]).strip() in text
