"""Chat requests in logs: plain request and response, batch files, LiteLLM's payloads and Langfuse's exports."""

import json
from collections.abc import Mapping
from typing import Any

from cyclealign.prompt_import.rows import RowRefused

OTHER = "Log records left out: no chat request (embeddings, spans, events ...)"
CUT = "Log records left out: the logger has cut or redacted the text"
# Objects around a request, from the outside: Langfuse's, LiteLLM's proxy, OpenAI's batch files, loggers of one's own.
ENVELOPES = ("request", "body", "proxy_server_request", "input", "kwargs", "payload")
# Kinds of records, by LiteLLM (`call_type`) and Langfuse (`type`), that hold no chat.
CHAT_CALLS = ("completion", "acompletion", "responses", "aresponses", "anthropic_messages", "")
CHAT_TYPES = ("GENERATION", "TRACE", "")
# Written by LiteLLM in place of a text, or of its middle.
MARKS_OF_LOSS = ("litellm_truncated", "redacted-by-litellm")
MAX_DEPTH = 4


class LeftOut(Exception):
    """A record is left out, though nothing is wrong with it; the message is the remark to count."""


def request_of(record: Any) -> dict[str, Any]:
    """Return the chat request in a record, as a row with ``messages``, or ``prompt`` of the Responses API.

    Raises:
        RowRefused: the record is not an object.
        LeftOut: it holds no chat request, or one that the logger has cut.
    """
    if not isinstance(record, dict):
        raise RowRefused("expected an object: a log record.")
    if str(record.get("call_type") or "").lower() not in CHAT_CALLS or _type_of(record) not in CHAT_TYPES:
        raise LeftOut(OTHER)
    request = _find(record, MAX_DEPTH)
    if request is None:
        raise LeftOut(OTHER)
    text = json.dumps(request, ensure_ascii=False)
    if any(mark in text for mark in MARKS_OF_LOSS):
        raise LeftOut(CUT)
    return request


def _type_of(record: Mapping[str, Any]) -> str:
    """Return Langfuse's type of an observation; other loggers use the name for other things."""
    kind = record.get("type")
    known = isinstance(kind, str) and kind.upper() in ("SPAN", "EVENT", "GENERATION", "TRACE", "SCORE", "EMBEDDING")
    return str(kind).upper() if known else ""


def _find(value: Any, depth: int) -> dict[str, Any] | None:
    value = _parsed(value)
    if isinstance(value, list):
        return {"messages": value} if _are_messages(value) else None
    if not isinstance(value, dict) or not depth:
        return None
    messages = _parsed(value.get("messages"))
    if isinstance(messages, dict) and (nested := _find(messages, depth - 1)):  # the request under its own key
        return nested
    if _are_messages(messages):
        return _with_system({"messages": messages}, value.get("system"))
    if isinstance(value.get("input"), str) and not isinstance(_parsed(value["input"]), list | dict):
        if "model" in value and value["input"].strip() and "embedding" not in str(value["model"]):
            turn = {"role": "user", "content": value["input"]}
            return _with_system({"messages": [turn]}, value.get("instructions"))
        return None
    if _are_messages(_parsed(value.get("input"))):
        return _with_system({"messages": _parsed(value["input"])}, value.get("instructions"))
    inner = (_find(value[name], depth - 1) for name in ENVELOPES if value.get(name) is not None)
    return next((request for request in inner if request is not None), None)


def _with_system(request: dict[str, Any], system: Any) -> dict[str, Any]:
    """Return the request with the system text that APIs pass beside the turns, unless the turns have their own."""
    if not isinstance(system, str | list) or not system:
        return request
    if any(isinstance(turn, dict) and turn.get("role") in ("system", "developer") for turn in request["messages"]):
        return request
    return {"messages": [{"role": "system", "content": system}, *request["messages"]]}


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)


def _parsed(value: Any) -> Any:
    """Return the value of a JSON text, as tables have it; other values as they are."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
