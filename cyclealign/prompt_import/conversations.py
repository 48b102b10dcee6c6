"""Turns of conversations, in the forms of chat APIs, chat templates and ShareGPT."""

import json
import re
from typing import Any

from cyclealign.prompt_import.rows import Row, RowRefused, check_texts, kind_of, text_of
from cyclealign.records import Message, Messages

# The names of roles in common data sets, by the chat templates' role.
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bard", "bing", "claude", "model", "bot"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
    "function_call": "assistant",
}
TURN_KEYS = {"role", "from", "content", "value", "tool_calls", "function_call"}
TURNS_AS_TEXT = re.compile(r"""\s*\[\s*\{\s*["'](role|from|content|value)["']\s*:.*\}\s*\]\s*""", re.DOTALL)
DROPPED_ANSWER = "Answers of the assistant at the end dropped (the policy writes its own)"
DROPPED_SYSTEM = "Empty system turns dropped"


def are_turns(value: Any) -> bool:
    """Return whether a column holds turns, as a list or as the text of one (as tables have it), and not a text."""
    return isinstance(value, list) or (isinstance(value, str) and TURNS_AS_TEXT.fullmatch(value) is not None)


def read_turns(value: Any, row: Row, name: str) -> Messages:
    """Return the turns of a column: a list of them, or its JSON text (as CSV files have it).

    Raises:
        RowRefused: a turn cannot be used.
    """
    if isinstance(value, str):
        value = _parsed(value, name)
    if not isinstance(value, list) or not value:
        raise RowRefused(f"'{name}' must be a non-empty list of turns; found {kind_of(value) if value else 'none'}.")
    return tuple(_turn(turn, row, name) for turn in value)


def to_answer(turns: Messages, row: Row) -> Messages:
    """Return the turns that the policy answers: without empty system turns and the answers at the end.

    Raises:
        RowRefused: no turn of the user, or of a tool, is left at the end.
    """
    kept = [turn for turn in turns if turn["role"] != "system" or turn["content"].strip()]
    if len(kept) < len(turns):
        row.remark(DROPPED_SYSTEM)
    if kept and kept[-1]["role"] == "assistant":
        row.remark(DROPPED_ANSWER)
    while kept and kept[-1]["role"] == "assistant":
        kept.pop()
    if not kept or kept[-1]["role"] not in ("user", "tool") or not kept[-1]["content"].strip():
        raise RowRefused("the last turn must be a non-empty turn of the user (or of a tool), which the policy answers.")
    return tuple(kept)


def _turn(turn: Any, row: Row, name: str) -> Message:
    if not isinstance(turn, dict):
        raise RowRefused(f"each turn of '{name}' must be an object with 'role' and 'content'; found {kind_of(turn)}.")
    given = {key: part for key, part in turn.items() if part is not None}
    speaker = given.get("role", given.get("from"))
    role = ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        known = ", ".join(sorted(ROLES))
        shown = f"the role {speaker!r}" if speaker is not None else "no role"
        raise RowRefused(f"each turn of '{name}' needs a 'role' (or 'from') of: {known}; found {shown}.")
    calls = _tool_calls(given, speaker)
    content = given.get("content", given.get("value", "" if calls else None))
    read = Message(role=role, content="" if speaker == "function_call" and calls else _content(content, role, name))
    if calls:
        read["tool_calls"] = calls
    kept = TURN_KEYS | ({"tool_call_id", "name"} if role == "tool" else set())
    if role == "tool":
        if "tool_call_id" in given:
            read["tool_call_id"] = text_of(given["tool_call_id"], "tool_call_id")
        if "name" in given:
            read["name"] = text_of(given["name"], "name")
    for key in sorted(set(map(str, given)) - kept):
        row.remark(f"Turns with '{key}', which is not read")
    return read


def _content(content: Any, role: str, name: str) -> str:
    """Return the text of a turn; content parts of the type text are joined by line feeds."""
    if content is None:
        raise RowRefused(f"a turn of the {role} in '{name}' has no content. Give its text, or leave the turn out.")
    if isinstance(content, list):
        return "\n".join(_part(part, name) for part in content)
    return text_of(content, f"content of '{name}'")


def _part(part: Any, name: str) -> str:
    if isinstance(part, str):
        return text_of(part, f"content of '{name}'")
    kind = part.get("type", "text") if isinstance(part, dict) else kind_of(part)
    if kind not in ("text", "input_text", "output_text") or not isinstance(part, dict):
        raise RowRefused(
            f"a turn of '{name}' has content of the type '{kind}'; only text is read. Leave out the row, or describe "
            "the content in words."
        )
    return text_of(part.get("text"), f"content of '{name}'")


def _tool_calls(turn: dict[str, Any], speaker: Any) -> list[dict[str, Any]]:
    """Return the calls of a turn with their arguments as objects, which chat templates take.

    OpenAI's form has the arguments as JSON text; older forms have one ``function_call`` without a type.
    """
    calls = turn.get("tool_calls", [])
    if speaker == "function_call":
        calls = [_parsed(text_of(turn.get("value", turn.get("content")), "function_call"), "function_call")]
    elif "function_call" in turn:
        calls = [turn["function_call"]]
    if not isinstance(calls, list):
        raise RowRefused(f"'tool_calls' must be a list of calls; found {kind_of(calls)}.")
    return [_tool_call(call) for call in calls]


def _tool_call(call: Any) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowRefused("each of 'tool_calls' needs a 'function' with a 'name' and 'arguments'.")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _parsed(arguments, "arguments") if arguments.strip() else {}
    if not isinstance(arguments, dict | None):
        raise RowRefused(f"the 'arguments' of a tool call must be an object; found {kind_of(arguments)}.")
    check_texts([function["name"], arguments], "tool_calls")
    named = {"id": text_of(call["id"], "id")} if isinstance(call.get("id"), str) else {}
    return {"type": "function", **named, "function": {"name": function["name"], "arguments": arguments or {}}}


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowRefused(f"'{name}' is a text that is not JSON. Write it as JSON, in double quotes.") from None
