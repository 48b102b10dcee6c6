"""A chat completion as plain values, read from a response body of any provider."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cyclealign.chat_api.provider_error import ProviderError, read_error

# Beyond the context of any model: a larger count is an error of the provider.
MAX_TOKENS = 10_000_000
CUT = ("length", "max_tokens", "max_output_tokens")  # reasons to finish of a reply that reached its limit
THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")


@dataclass(frozen=True)
class Completion:
    """The first choice of a chat completion.

    Args:
        text: the answer; thoughts that come in a field of their own are left out.
        refusal: the words of a refusal.
        thoughts: whether there are thoughts in a field of their own.
        tool: the name of a tool that the model called.
        usage: tokens of prompt, reply and cached prompt; None for a count that is missing or cannot be believed.
    """

    text: str
    refusal: str
    thoughts: bool
    tool: str | None
    finish_reason: str
    model: str
    usage: tuple[int | None, int | None, int]


def parse_json(content: bytes | str) -> Any:
    """Return the JSON value; None if there is none, or if it is nested too deeply to be read."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def error_in(body: object) -> ProviderError | None:
    """Return the error that a body with status 200 reports, instead of or inside its first choice; None: none."""
    if not isinstance(body, Mapping):
        return None
    choice = _first_choice(body)
    if choice and (choice.get("error") or choice.get("finish_reason") == "error"):
        return read_error(None, {"error": choice.get("error") or body.get("error") or "error without a message"})
    answered = choice and _text(_message(choice).get("content")).strip()
    return read_error(None, body) if body.get("error") and not answered else None


def read_completion(body: object) -> Completion | None:
    """Return the completion in a body; None if it is anything else."""
    choice = _first_choice(body) if isinstance(body, Mapping) else None
    if not choice or not isinstance(choice.get("message"), Mapping):
        return None
    assert isinstance(body, Mapping)
    message = _message(choice)
    content = message.get("content")
    refusal = message.get("refusal") or _text(content, "refusal")
    finish_reason = _word(choice.get("finish_reason"))
    return Completion(
        text=_text(content),
        refusal=refusal if isinstance(refusal, str) else "refusal without words",
        thoughts=any(message.get(name) for name in THOUGHTS) or (isinstance(content, list) and bool(content)),
        tool=_tool(message),
        finish_reason="length" if finish_reason.lower() in CUT else finish_reason,
        model=_word(body.get("model")),
        usage=_usage(body.get("usage")),
    )


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, Mapping) else {}


def _text(content: object, name: str = "text") -> str:
    """Return the text of a content: a text, a part, or a list of parts; parts of other types, such as thoughts, do not
    count.
    """
    return "".join(_texts(content, name))


def _texts(content: object, name: str) -> Iterator[str]:
    if isinstance(content, str) and name == "text":
        yield content
    elif isinstance(content, list):
        for part in content:
            if not isinstance(part, list):
                yield from _texts(part, name)
    elif isinstance(content, Mapping) and content.get("type", name) in (name, f"output_{name}"):
        text = content.get(name)
        if isinstance(text, str):
            yield text


def _tool(message: Mapping[str, Any]) -> str | None:
    """Return the name of the first tool that the message calls; None: it calls none."""
    calls = message.get("tool_calls") or ([{"function": call}] if (call := message.get("function_call")) else [])
    if not isinstance(calls, list) or not calls:
        return None
    function = calls[0].get("function") if isinstance(calls[0], Mapping) else None
    return _word(function.get("name")) if isinstance(function, Mapping) else ""


def _usage(usage: object) -> tuple[int | None, int | None, int]:
    counts = usage if isinstance(usage, Mapping) else {}
    details = counts.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")), cached or 0


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else None


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
