"""Checks of the settings that add to the judge's requests: no secrets, since settings are stored, and no doubles."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

# Parts of a request that have settings of their own, or that would change the form of the reply.
RESERVED_IN_BODY = {
    "model": "judge.model",
    "messages": "the templates",
    "max_tokens": "judge.max_tokens",
    "max_completion_tokens": "judge.max_tokens, which is sent under the name that the endpoint takes",
    "temperature": "judge.temperature",
    "reasoning_effort": "judge.reasoning_effort",
    "response_format": "judge.structured",
    "stream": None,
    "n": None,
}
RESERVED_HEADERS = ("authorization", "content-type", "content-length", "accept-encoding", "idempotency-key", "host")
SECRET_HEADER = re.compile(r"api[-_]?key|token|secret|password|cookie|auth", re.IGNORECASE)
# The known forms of keys, and long runs of letters and digits mixed.
KEY_LIKE = re.compile(
    r"\b(sk|pk|rk|gsk|xai|hf|r8|nvapi|AIza|ya29|ghp|github_pat|pplx|fw|csk)[-_.]?[A-Za-z0-9_\-]{16,}|\beyJ[\w-]{10,}"
    r"|^(Bearer|Basic|Token)\s"
)
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")


def looks_like_key(text: str) -> bool:
    """Return whether the text holds an API key of a known form, or a long random word."""
    if KEY_LIKE.search(text):
        return True
    words = re.findall(r"[A-Za-z0-9_]{32,}", text)
    return any(re.search(r"\d", word) and re.search(r"[A-Za-z]", word) for word in words)


def check_extra_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers; raise ValueError, without the value, if one may hold a secret or cannot be sent."""
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise ValueError(f"judge.extra_headers: '{name}' is no name of a header")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"judge.extra_headers: '{name}' is set by the client (key: judge.api_key_variable)")
        if VARIABLE.fullmatch(value):
            continue
        if SECRET_HEADER.search(name) or looks_like_key(value):
            raise ValueError(
                f"judge.extra_headers: the value of '{name}' may be a secret, and settings are stored: put it into an "
                "environment variable and write '$NAME_OF_THE_VARIABLE'"
            )
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"judge.extra_headers: the value of '{name}' holds characters that no header can carry")
    return headers


def check_extra_body(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters; raise ValueError if one has a setting of its own or holds a key."""
    for name, value in body.items():
        if name in RESERVED_IN_BODY:
            instead = RESERVED_IN_BODY[name]
            reason = f"set by {instead}" if instead else "fixed: the reply is read as one completion"
            raise ValueError(f"judge.extra_body: '{name}' is {reason}")
        if looks_like_key(str(value)):
            raise ValueError(f"judge.extra_body: the value of '{name}' may be a secret, and settings are stored")
    return body


def check_base_url(address: str | None) -> str | None:
    """Return the address; raise ValueError, without it, if its path holds a key."""
    # Known forms only: gateways have long random account names in their paths.
    if address is not None and KEY_LIKE.search(urlsplit(address).path):
        raise ValueError(
            "the address seems to hold an API key in its path, and settings are stored: remove it, and name the "
            "variable that holds the key in judge.api_key_variable or, as '$NAME', in judge.extra_headers"
        )
    return address


def none_for_word(value: object) -> object:
    """Return None for the word "none": TOML has no empty value."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value
