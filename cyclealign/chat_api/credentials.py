"""API keys and other secrets in headers: checked before anything is sent, and removed from every text."""

import os
from collections.abc import Iterable, Mapping

from cyclealign.config import JudgeSettings
from cyclealign.errors import BadConfig

# A shorter key is a placeholder for a server without keys; redacting it would damage replies that contain the word.
MIN_KEY_CHARACTERS = 8


def key_source(judge: JudgeSettings) -> str:
    """Return the name of the place that the key comes from: the variable if it is set, else the Secret block."""
    if judge.api_key_block and not os.environ.get(judge.api_key_variable):
        return f"the Secret block '{judge.api_key_block}'"
    return judge.api_key_variable


def check_key(key: str, source: str) -> None:
    """Raise BadConfig, without the key, if no HTTP header can carry it as it is.

    Args:
        source: where the key comes from, for the message.
    """
    if problem := _problem(key):
        raise BadConfig(f"The key in {source} {problem}. Copy it again, as one line of plain characters; then rerun.")


def _problem(key: str) -> str | None:
    if not key.strip():
        return "is empty"
    if any(character in key.rstrip("\r\n") for character in "\r\n"):
        return "contains a line break"
    if key != key.strip():
        return "has spaces or a line break around it"
    if any(character in key for character in "\u2018\u2019\u201c\u201d\"'"):
        return "contains quotation marks"
    if not key.isascii() or not key.isprintable():
        return "contains a character that no key has"
    return None


def resolve_headers(headers: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the headers with the values of environment variables for ``$NAME``, and those values, which are secrets.

    Raises:
        BadConfig: a variable is not set, or no header can carry its value.
    """
    resolved, secrets = dict(headers), []
    for name, value in headers.items():
        if value.startswith("$"):
            variable = value[1:]
            if not (secret := os.environ.get(variable, "")):
                raise BadConfig(f"judge.extra_headers: '{name}' takes the variable {variable}, which is not set.")
            check_key(secret, variable)
            resolved[name] = secret
            secrets.append(secret)
    return resolved, secrets


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets: providers may quote them, and they must reach no database and no log."""
    for secret in secrets:
        if len(secret) >= MIN_KEY_CHARACTERS:
            text = text.replace(secret, "[key]")
    return text
