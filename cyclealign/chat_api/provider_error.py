"""Errors as providers describe them: status, words, code, and the parameter that the endpoint does not take."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FAULT_STATUS = 502  # of an error inside a 200 that names no status
# Codes and types of errors that come without a status.
STATUS_OF = {
    "insufficient_quota": 402,
    "billing_hard_limit_reached": 402,
    "insufficient_credits": 402,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "content_filter": 403,
    "content_policy_violation": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
}
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_credits")
# Parameters that an endpoint may refuse, and the words by which errors name them.
PARAMETERS = {
    "max_tokens": ("max_tokens",),
    "temperature": ("temperature",),
    "reasoning_effort": ("reasoning_effort", "reasoning.effort"),
    "response_format": ("response_format", "json_schema"),
}
# The endpoint does not take the parameter at all, rather than this value of it.
NOT_TAKEN = re.compile(
    r"unsupported|n[o']t support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|deprecated|no longer"
    r"|extra (inputs|fields)|only the default|not available",
    re.IGNORECASE,
)
VALUE_ONLY = re.compile(r"unsupported[ _]value|supported values|invalid[ _]value", re.IGNORECASE)


@dataclass(frozen=True)
class ProviderError:
    """An error of the provider. ``words`` are not yet cleaned; ``parameter`` is the one that it does not take."""

    status: int
    words: str
    code: str = ""
    parameter: str | None = None


def read_error(status: int | None, body: object, raw: str = "") -> ProviderError:
    """Return the error in a response body of any form.

    Args:
        status: of the response; None: from the error's own code.
        body: parsed JSON, or None.
        raw: the body as text, for bodies that are not JSON.
    """
    body = body[0] if isinstance(body, list) and body else body
    error = body.get("error") if isinstance(body, Mapping) and body.get("error") else body
    values: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    code = next((str(values[name]) for name in ("code", "type") if isinstance(values.get(name), str)), "")
    words = "; ".join(dict.fromkeys(_words(error))) or _without_tags(raw) or "no message"
    if status is None:
        status = _status_in(values)
    return ProviderError(status, words, code, refused_parameter(values, words))


def _words(error: object) -> Iterator[str]:
    """Yield the messages in an error, the provider's behind a gateway included."""
    if isinstance(error, str) and error.strip():
        yield error.strip()
    if isinstance(error, list):
        for part in error[:3]:
            yield from _words(part)
    if not isinstance(error, Mapping):
        return
    if isinstance(error.get("loc"), list):  # FastAPI
        yield f"{'.'.join(map(str, error['loc'][:5]))}: {error.get('msg', '')}"
        return
    for name in ("message", "detail", "error", "errors"):
        yield from _words(error.get(name))
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping):
        yield from _words(metadata.get("raw"))


def _status_in(error: Mapping[str, Any]) -> int:
    """Return the HTTP status that an error inside a 200 stands for."""
    for name in ("code", "status", "status_code", "type"):
        value = error.get(name)
        if isinstance(value, int | str) and re.fullmatch(r"[45]\d\d", str(value)):
            return int(value)
        if isinstance(value, str) and value in STATUS_OF:
            return STATUS_OF[value]
    return FAULT_STATUS


def refused_parameter(error: Mapping[str, Any], words: str) -> str | None:
    """Return the parameter that the endpoint does not take, by the first name in the error; None: another reason.

    A value that is refused is another reason, except for the temperature: models that take only their own default say
    it of the value.
    """
    about = f"{error.get('param') or ''} {words}"
    named = [
        (match.start(), parameter)
        for parameter, names in PARAMETERS.items()
        for name in names
        if (match := re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", about.replace("body.", "")))
    ]
    text = f"{error.get('code') or ''} {words}"
    if not named or not NOT_TAKEN.search(text):
        return None
    parameter = min(named)[1]
    return None if parameter != "temperature" and VALUE_ONLY.search(text) else parameter


def _without_tags(raw: str) -> str:
    return re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", raw[:20_000], flags=re.IGNORECASE | re.DOTALL).strip()
